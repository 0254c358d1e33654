/*
 * A matrix of some of the columns of a file, such as the genes of a 10x file that also has
 * antibodies: which of its values belong to it is found out in a pass over the indices,
 * and from then on units are units of the selected values, which are taken out of the file's
 * as they are read.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- Counting ------------------------------------------------------------------ */

typedef struct counting {
  csrn_stream_matrix *matrix;
  int64_t *of_row;  /* [n_rows + 1]; that of a row is behind it */
  int64_t *of_unit; /* [n_units + 1] */
} counting;

static int64_t count(const int32_t *columns, int64_t n, const int64_t *column_of) {
  int64_t selected = 0;
  for (int64_t i = 0; i < n; i++)
    selected += column_of[columns[i]] >= 0;
  return selected;
}

/* A row may have parts in several units. */
static csrn_io_status count_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  const counting *c = arg;
  int64_t first, n_rows;
  int32_t *columns = NULL;
  csrn_io_status status = csrn_stream_columns(worker, c->matrix, unit, &columns);
  const int64_t *starts = status ? NULL : csrn_stream_starts(worker, c->matrix, unit, &first, &n_rows);
  if (!starts)
    return CSRN_IO_FAILED;
  for (int64_t i = 0; i < n_rows; i++) {
    const int64_t n = count(columns + starts[i], starts[i + 1] - starts[i], c->matrix->selection.column_of);
    __atomic_fetch_add(&c->of_row[first + i + 1], n, __ATOMIC_RELAXED);
    c->of_unit[unit + 1] += n;
  }
  return CSRN_IO_OK;
}

static void accumulate(int64_t *counts, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    counts[i + 1] += counts[i];
}

csrn_io_status csrn_stream_select(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                  const csrn_hdf5_input *input, int64_t n_selected,
                                  const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_stream_selection *selection = &matrix->selection;
  const csrn_stream_rows *rows = &matrix->rows;
  *selection = (csrn_stream_selection){
      .column_of = input->column_of, .n_cols = rows->n_cols, .nnz = rows->nnz, .cut = matrix->cut};
  const counting c = {matrix, calloc((size_t)rows->n_rows + 1, sizeof(int64_t)),
                      calloc((size_t)matrix->cut.n_units + 1, sizeof(int64_t))};
  csrn_io_status status = CSRN_IO_OK;
  if (!c.of_row || !c.of_unit)
    status = csrn_hdf5_no_memory(&input->file, "the list of rows", (uint64_t)rows->n_rows * sizeof(int64_t));
  if (!status)
    status = csrn_stream_run(pool, matrix->cut.n_units, count_unit, (void *)(uintptr_t)&c, "selecting",
                             rows->nnz * (int64_t)csrn_dtype_size(matrix->indices.type), progress, error);
  if (status) {
    free(c.of_row);
    free(c.of_unit);
    return status;
  }
  accumulate(c.of_row, rows->n_rows);
  accumulate(c.of_unit, matrix->cut.n_units);
  selection->before = c.of_unit;
  status = csrn_stream_rows_replace(&matrix->rows, input, c.of_row, n_selected);
  matrix->cut = csrn_stream_cut_of(matrix->rows.nnz, matrix->cut.unit);
  return status;
}

/* ---- Taking out ----------------------------------------------------------------- */

static inline void move_value(void *to, int64_t i, const void *from, int64_t k, size_t size) {
  switch (size) {
  case 1:
    ((uint8_t *)to)[i] = ((const uint8_t *)from)[k];
    break;
  case 2:
    ((uint16_t *)to)[i] = ((const uint16_t *)from)[k];
    break;
  case 4:
    ((uint32_t *)to)[i] = ((const uint32_t *)from)[k];
    break;
  default:
    ((uint64_t *)to)[i] = ((const uint64_t *)from)[k];
  }
}

/* A place for n selected values; `at` is where the next goes, if it is in [0, n). */
typedef struct taking {
  int64_t at, n;
  void *values; /* or NULL */
  size_t size;
  int32_t *columns; /* or NULL */
} taking;

/* One unit of the file. */
static csrn_io_status take(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                           taking *t) {
  const csrn_stream_selection *s = &matrix->selection;
  const int64_t begin = unit * s->cut.unit, left = s->nnz - begin;
  const int64_t n = left < s->cut.unit ? left : s->cut.unit;
  int32_t *stored = NULL;
  void *source = NULL;
  csrn_io_status status =
      csrn_stream_stored_columns(worker, matrix, begin, n, s->n_cols, CSRN_STREAM_SOURCE_COLUMNS, &stored);
  if (!status && t->values)
    status = csrn_stream_elements(worker, &matrix->data, begin, n, n, CSRN_STREAM_SOURCE, &source);
  for (int64_t k = 0; k < n && !status; k++) {
    const int64_t column = s->column_of[stored[k]];
    if (column < 0)
      continue;
    if (t->at >= 0 && t->at < t->n && source)
      move_value(t->values, t->at, source, k, t->size);
    if (t->at >= 0 && t->at < t->n && t->columns)
      t->columns[t->at] = (int32_t)column;
    t->at++;
  }
  return status;
}

csrn_io_status csrn_stream_read_selected(csrn_stream_worker *worker, const csrn_stream_matrix *matrix,
                                         int64_t unit, void **values, int32_t **columns) {
  const csrn_stream_selection *s = &matrix->selection;
  taking t = {.size = csrn_dtype_size(matrix->data.type)};
  const int64_t begin = csrn_stream_unit(matrix, unit, &t.n);
  if (values)
    *values = t.values = csrn_stream_buffer(worker, CSRN_STREAM_VALUES, (size_t)t.n * t.size);
  if (columns)
    *columns = t.columns = csrn_stream_buffer(worker, CSRN_STREAM_COLUMNS, (size_t)t.n * sizeof *t.columns);
  if ((values && !t.values) || (columns && !t.columns))
    return CSRN_IO_FAILED;
  int64_t source = csrn_stream_find(s->before, s->cut.n_units + 1, begin + 1) - 1;
  t.at = s->before[source] - begin;
  csrn_io_status status = CSRN_IO_OK;
  for (; t.at < t.n && !status; source++)
    status = take(worker, matrix, source, &t);
  return status;
}
