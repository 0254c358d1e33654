/* Units of a matrix in a file: their values, columns and rows, as the passes of the streaming engine want
 * them. */
#include "stream.h"
#include "type_lists.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { INDICES = 5 }; /* a buffer of a worker */

void csrn_stream_matrix_free(csrn_stream_matrix *matrix) {
  for (int64_t i = 0; matrix->kept && i < matrix->cut.n_units; i++)
    free(matrix->kept[i].values);
  free(matrix->data.places);
  free(matrix->kept);
  free(matrix->selection.before);
  csrn_stream_rows_free(&matrix->rows);
}

csrn_stream_cut csrn_stream_cut_of(int64_t nnz, int64_t unit) {
  return (csrn_stream_cut){unit, nnz / unit + (nnz % unit > 0)};
}

int64_t csrn_stream_unit(const csrn_stream_matrix *matrix, int64_t unit, int64_t *n) {
  const int64_t begin = unit * matrix->cut.unit, left = matrix->rows.nnz - begin;
  *n = left < matrix->cut.unit ? left : matrix->cut.unit;
  return begin;
}

/* ---- Values -------------------------------------------------------------------- */

csrn_io_status csrn_stream_elements(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t begin,
                                    int64_t n, int64_t room, int buffer, void **elements) {
  const int64_t padded = csrn_stream_padded(array, n);
  *elements = csrn_stream_buffer(worker, buffer,
                                 (size_t)(padded > room ? padded : room) * csrn_dtype_size(array->type));
  if (!*elements)
    return CSRN_IO_FAILED;
  if (array->member)
    return csrn_npz_elements(worker, array, begin, n, *elements);
  const bool locks = !array->places;
  if (locks)
    csrn_stream_lock(worker);
  csrn_io_status status = csrn_stream_fetch(worker, array, begin, n, *elements);
  if (locks)
    csrn_stream_unlock(worker);
  return status ? status : csrn_stream_decode(worker, array, begin, n, *elements);
}

csrn_io_status csrn_stream_read(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                void **values) {
  int64_t n;
  const int64_t begin = csrn_stream_unit(matrix, unit, &n);
  const csrn_stream_kept *kept = &matrix->kept[unit];
  if (!kept->values && matrix->selection.before)
    return csrn_stream_read_selected(worker, matrix, unit, values, NULL);
  if (!kept->values)
    return csrn_stream_elements(worker, &matrix->data, begin, n, n, CSRN_STREAM_VALUES, values);
  *values = csrn_stream_buffer(worker, CSRN_STREAM_VALUES, (size_t)n * csrn_dtype_size(matrix->data.type));
  if (*values)
    csrn_stream_unpack(kept, n, matrix->data.type, *values);
  return *values ? CSRN_IO_OK : CSRN_IO_FAILED;
}

csrn_io_status csrn_stream_load(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                void **values, csrn_dtype *type) {
  const csrn_stream_kept *kept = &matrix->kept[unit];
  *values = kept->values;
  *type = kept->values ? kept->type : matrix->data.type;
  return kept->values ? CSRN_IO_OK : csrn_stream_read(worker, matrix, unit, values);
}

/* ---- Columns ------------------------------------------------------------------- */

/* The first of n indices of a type that is none of n_cols columns, or n; the others go to columns. */
#define CONVERT(DTYPE, TYPE, NAME)                                                                           \
  static int64_t convert_##NAME(const TYPE *indices, int64_t n, int64_t n_cols, int32_t *columns) {          \
    bool bad = false;                                                                                        \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      bad |= (uint64_t)indices[i] >= (uint64_t)n_cols;                                                       \
      columns[i] = (int32_t)indices[i];                                                                      \
    }                                                                                                        \
    for (int64_t i = 0; bad && i < n; i++)                                                                   \
      if ((uint64_t)indices[i] >= (uint64_t)n_cols)                                                          \
        return i;                                                                                            \
    return n;                                                                                                \
  }
INDEX_TYPES(CONVERT)

static int64_t convert(const void *indices, csrn_dtype type, int64_t n, int64_t n_cols, int32_t *columns) {
  switch (type) {
#define CASE(DTYPE, TYPE, NAME)                                                                              \
  case DTYPE:                                                                                                \
    return convert_##NAME(indices, n, n_cols, columns);
    INDEX_TYPES(CASE)
#undef CASE
  default:
    return 0;
  }
}

static csrn_io_status refuse_index(csrn_stream_worker *worker, const csrn_stream_matrix *matrix,
                                   int64_t n_cols, int64_t place, int64_t found) {
  const int64_t row = csrn_stream_find(matrix->rows.indptr, matrix->rows.n_rows + 1, place + 1) - 1;
  return csrn_io_fail(&worker->error, CSRN_IO_FAILED,
                      "%s: %s is not valid: element %" PRId64 ", in row %" PRId64 ", is %" PRId64
                      "; expected 0 to n_cols - 1 = %" PRId64,
                      matrix->indices.file, matrix->indices.path, place, row, found, n_cols - 1);
}

static csrn_io_status make_columns(csrn_stream_worker *worker, int64_t n_cols, int64_t begin, int64_t n,
                                   int32_t **columns) {
  *columns = csrn_stream_buffer(worker, CSRN_STREAM_COLUMNS, (size_t)n * sizeof **columns);
  for (int64_t i = 0; *columns && i < n; i++)
    (*columns)[i] = (int32_t)((begin + i) % n_cols);
  return *columns ? CSRN_IO_OK : CSRN_IO_FAILED;
}

/* The chunks of the indices need not be those of the values: reading begins with the chunk that has the
 * first. */
csrn_io_status csrn_stream_stored_columns(csrn_stream_worker *worker, const csrn_stream_matrix *matrix,
                                          int64_t begin, int64_t n, int64_t n_cols, int buffer,
                                          int32_t **columns) {
  const csrn_stream_array *array = &matrix->indices;
  const int64_t ahead = array->chunk > 0 ? begin % array->chunk : 0;
  void *indices = NULL;
  csrn_io_status status = csrn_stream_elements(worker, array, begin - ahead, n + ahead, 0, INDICES, &indices);
  *columns = status ? NULL : csrn_stream_buffer(worker, buffer, (size_t)n * sizeof **columns);
  if (!*columns)
    return CSRN_IO_FAILED;
  const char *first = (const char *)indices + (size_t)ahead * csrn_dtype_size(array->type);
  const int64_t good = convert(first, array->type, n, n_cols, *columns);
  return good == n ? CSRN_IO_OK
                   : refuse_index(worker, matrix, n_cols, begin + good,
                                  csrn_io_integer_at(first, array->type, good));
}

/* Chunks that were never written are not decoded, and stand for zeros. */
csrn_io_status csrn_stream_check_raw(csrn_stream_worker *worker, const csrn_stream_matrix *matrix,
                                     int64_t begin, int64_t n) {
  const csrn_stream_array *array = &matrix->indices;
  const size_t bytes = (size_t)csrn_stream_padded(array, n) * csrn_dtype_size(array->type);
  const int64_t n_cols = matrix->rows.n_cols;
  void *indices = csrn_stream_buffer(worker, INDICES, bytes);
  int32_t *columns = csrn_stream_buffer(worker, CSRN_STREAM_COLUMNS, (size_t)n * sizeof *columns);
  if (!indices || !columns)
    return CSRN_IO_FAILED;
  memset(indices, 0, bytes);
  if (csrn_stream_decode(worker, array, begin, n, indices))
    return CSRN_IO_FAILED;
  const int64_t good = convert(indices, array->type, n, n_cols, columns);
  return good == n ? CSRN_IO_OK
                   : refuse_index(worker, matrix, n_cols, begin + good,
                                  csrn_io_integer_at(indices, array->type, good));
}

csrn_io_status csrn_stream_columns(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                                   int32_t **columns) {
  int64_t n;
  const int64_t begin = csrn_stream_unit(matrix, unit, &n);
  if (matrix->rows.dense)
    return make_columns(worker, matrix->rows.n_cols, begin, n, columns);
  if (matrix->selection.before)
    return csrn_stream_read_selected(worker, matrix, unit, NULL, columns);
  return csrn_stream_stored_columns(worker, matrix, begin, n, matrix->rows.n_cols, CSRN_STREAM_COLUMNS,
                                    columns);
}

/* ---- Rows ---------------------------------------------------------------------- */

int64_t *csrn_stream_starts(csrn_stream_worker *worker, const csrn_stream_matrix *matrix, int64_t unit,
                            int64_t *first, int64_t *n_rows) {
  const csrn_stream_rows *rows = &matrix->rows;
  int64_t n;
  const int64_t begin = csrn_stream_unit(matrix, unit, &n);
  *first = csrn_stream_find(rows->indptr, rows->n_rows + 1, begin + 1) - 1;
  *n_rows = csrn_stream_find(rows->indptr, rows->n_rows, begin + n) - *first;
  int64_t *starts = csrn_stream_buffer(worker, CSRN_STREAM_STARTS, (size_t)(*n_rows + 1) * sizeof *starts);
  for (int64_t i = 0; starts && i <= *n_rows; i++) {
    const int64_t start = rows->indptr[*first + i] - begin;
    starts[i] = start < 0 ? 0 : start < n ? start : n;
  }
  return starts;
}
