/*
 * Highly expressed genes of a matrix in a file: those that exceed a share of a cell's total in
 * any cell. The totals are known from the pass before; columns are read only of units in
 * which a value exceeds.
 */
#include "stream.h"
#include "type_lists.h"

#include <stdlib.h>

typedef struct marking {
  csrn_stream_matrix *matrix;
  const double *totals;
  double max_fraction;
  uint8_t *mask;
} marking;

/* The places, among the n values of a row, of those above the limit: how many, and into places. */
#define EXCEEDING(DTYPE, TYPE, NAME)                                                                         \
  static int64_t exceeding_##NAME(const TYPE *values, int64_t begin, int64_t end, double limit,              \
                                  int64_t *places) {                                                         \
    int64_t n = 0;                                                                                           \
    for (int64_t i = begin; i < end; i++)                                                                    \
      if ((double)values[i] > limit)                                                                         \
        places[n++] = i;                                                                                     \
    return n;                                                                                                \
  }

DATA_TYPES(EXCEEDING)

static int64_t exceeding(const void *values, csrn_dtype type, int64_t begin, int64_t end, double limit,
                         int64_t *places) {
  switch (type) {
#define CASE(DTYPE, TYPE, NAME)                                                                              \
  case DTYPE:                                                                                                \
    return exceeding_##NAME(values, begin, end, limit, places);
    DATA_TYPES(CASE)
#undef CASE
  default:
    return 0;
  }
}

static csrn_io_status mark_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  const marking *m = arg;
  void *values = NULL;
  csrn_dtype type = CSRN_NONE;
  int64_t n, first, n_rows, found = 0;
  csrn_stream_unit(m->matrix, unit, &n);
  const int64_t *starts = csrn_stream_starts(worker, m->matrix, unit, &first, &n_rows);
  int64_t *places =
      starts ? csrn_stream_buffer(worker, CSRN_STREAM_RESULT, (size_t)n * sizeof *places) : NULL;
  if (!places || csrn_stream_load(worker, m->matrix, unit, &values, &type))
    return CSRN_IO_FAILED;
  for (int64_t i = 0; i < n_rows; i++)
    found += exceeding(values, type, starts[i], starts[i + 1], m->max_fraction * m->totals[first + i],
                       places + found);
  int32_t *columns = NULL;
  if (found > 0 && csrn_stream_columns(worker, m->matrix, unit, &columns))
    return CSRN_IO_FAILED;
  for (int64_t i = 0; i < found; i++)
    __atomic_store_n(&m->mask[columns[places[i]]], 1, __ATOMIC_RELAXED);
  return CSRN_IO_OK;
}

csrn_io_status csrn_stream_highly_expressed(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                            const double *totals, double max_fraction, uint8_t *mask,
                                            const csrn_io_progress *progress, csrn_io_error *error) {
  marking m = {matrix, totals, max_fraction, mask};
  return csrn_stream_run(pool, matrix->cut.n_units, mark_unit, &m, "marking",
                         matrix->rows.nnz * (int64_t)csrn_dtype_size(matrix->data.type), progress, error);
}
