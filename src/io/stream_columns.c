/*
 * Totals of the columns of a matrix in a file: of the cells of a CSC matrix. Sums of columns
 * depend on the whole matrix unless all values are integers (docs/numerics.md), which counts
 * are; each worker adds them up for itself, and any order gives the same. Where values are
 * no integers, or a sum leaves 64 bits, the caller is told, who then needs the matrix whole.
 */
#include "stream.h"

#include <math.h>
#include <stdlib.h>

typedef struct columns_pass {
  csrn_stream_matrix *matrix;
  const uint8_t *excluded; /* rows, or NULL */
  const double *limits;    /* of marking: of each column; or NULL */
  uint8_t *mask;           /* of marking: of the rows */
  int64_t **sums;          /* [n_workers][n_cols] */
  int no_counts;           /* a value, or a sum, was none of 64 bits */
} columns_pass;

/* Whether x is an integer of at most 31 bits, which are what column sums take for counts. */
#define IS_INTEGER(x) (fabs((double)(x)) < 0x1p31 && (double)(int32_t)(x) == (double)(x))

/* For each type: adds n values to the sums of their columns, false if that cannot be done; and whether one is
 * above the limit of its column. */
#define COLUMN_LOOPS(NAME, TYPE, IS_COUNT)                                                                   \
  static bool add_##NAME(const TYPE *values, const int32_t *columns, int64_t n, int64_t *sums) {             \
    bool done = sums != NULL;                                                                                \
    for (int64_t i = 0; i < n && done; i++)                                                                  \
      done = IS_COUNT(values[i]) &&                                                                          \
             !__builtin_add_overflow(sums[columns[i]], (int64_t)values[i], &sums[columns[i]]);               \
    return done;                                                                                             \
  }                                                                                                          \
  static bool exceeds_##NAME(const TYPE *values, const int32_t *columns, int64_t n, const double *limits) {  \
    bool found = false;                                                                                      \
    for (int64_t i = 0; i < n; i++)                                                                          \
      found |= (double)values[i] > limits[columns[i]];                                                       \
    return found;                                                                                            \
  }

#define ANY(x) true
#define VALUE_TYPES(DO)                                                                                      \
  DO(f32, float, IS_INTEGER, CSRN_F32)                                                                       \
  DO(f64, double, IS_INTEGER, CSRN_F64)                                                                      \
  DO(u8, uint8_t, ANY, CSRN_U8)                                                                              \
  DO(u16, uint16_t, ANY, CSRN_U16)                                                                           \
  DO(u32, uint32_t, ANY, CSRN_U32)                                                                           \
  DO(i32, int32_t, ANY, CSRN_I32)                                                                            \
  DO(i64, int64_t, ANY, CSRN_I64)

#define DEFINE(NAME, TYPE, IS_COUNT, DTYPE) COLUMN_LOOPS(NAME, TYPE, IS_COUNT)
VALUE_TYPES(DEFINE)

static bool add(const void *values, csrn_dtype type, const int32_t *columns, int64_t first, int64_t n,
                int64_t *sums) {
  switch (type) {
#define CASE(NAME, TYPE, IS_COUNT, DTYPE)                                                                    \
  case DTYPE:                                                                                                \
    return add_##NAME((const TYPE *)values + first, columns + first, n, sums);
    VALUE_TYPES(CASE)
#undef CASE
  default:
    return false;
  }
}

static bool exceeds(const void *values, csrn_dtype type, const int32_t *columns, int64_t first, int64_t n,
                    const double *limits) {
  switch (type) {
#define CASE(NAME, TYPE, IS_COUNT, DTYPE)                                                                    \
  case DTYPE:                                                                                                \
    return exceeds_##NAME((const TYPE *)values + first, columns + first, n, limits);
    VALUE_TYPES(CASE)
#undef CASE
  default:
    return false;
  }
}

/* Adds the values of a unit, or marks the rows that have one above its column's limit. */
static csrn_io_status do_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  columns_pass *pass = arg;
  csrn_stream_matrix *matrix = pass->matrix;
  const bool first_pass = !pass->excluded && !pass->limits;
  int64_t *sums = pass->sums ? pass->sums[worker - worker->pool->workers] : NULL;
  void *values = NULL;
  csrn_dtype type = matrix->data.type;
  int32_t *columns = NULL;
  int64_t n, first, n_rows;
  if (__atomic_load_n(&pass->no_counts, __ATOMIC_RELAXED))
    return CSRN_IO_OK; /* nothing of this pass will be used */
  csrn_stream_unit(matrix, unit, &n);
  if (csrn_stream_columns(worker, matrix, unit, &columns) ||
      (first_pass ? csrn_stream_read(worker, matrix, unit, &values)
                  : csrn_stream_load(worker, matrix, unit, &values, &type)))
    return CSRN_IO_FAILED;
  const int64_t *starts = csrn_stream_starts(worker, matrix, unit, &first, &n_rows);
  if (!starts)
    return CSRN_IO_FAILED;
  bool counts = true;
  if (first_pass)
    counts = add(values, type, columns, 0, n, sums);
  for (int64_t i = 0; i < n_rows && !first_pass && counts; i++) {
    const int64_t begin = starts[i], length = starts[i + 1] - begin;
    if (pass->limits && exceeds(values, type, columns, begin, length, pass->limits))
      __atomic_store_n(&pass->mask[first + i], 1, __ATOMIC_RELAXED);
    else if (!pass->limits && !pass->excluded[first + i])
      counts = add(values, type, columns, begin, length, sums);
  }
  if (!counts)
    __atomic_store_n(&pass->no_counts, 1, __ATOMIC_RELAXED);
  else if (first_pass)
    csrn_stream_keep(worker->pool, matrix, unit, values, n);
  return CSRN_IO_OK;
}

static bool combine(const columns_pass *pass, int n_workers, int64_t n_cols, double *totals) {
  for (int64_t c = 0; c < n_cols; c++) {
    int64_t sum = 0;
    for (int w = 0; w < n_workers; w++)
      if (__builtin_add_overflow(sum, pass->sums[w][c], &sum))
        return false;
    totals[c] = (double)sum;
  }
  return true;
}

csrn_io_status csrn_stream_column_totals(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                         const uint8_t *excluded, double *totals, bool *exact,
                                         const csrn_io_progress *progress, csrn_io_error *error) {
  const int64_t n_cols = matrix->rows.n_cols;
  columns_pass pass = {.matrix = matrix, .excluded = excluded};
  csrn_io_status status = CSRN_IO_OK;
  pass.sums = calloc((size_t)pool->n_workers, sizeof *pass.sums);
  for (int w = 0; pass.sums && w < pool->n_workers && !status; w++) {
    pass.sums[w] = calloc((size_t)n_cols + 1, sizeof **pass.sums);
    status = pass.sums[w] ? CSRN_IO_OK : CSRN_IO_FAILED;
  }
  if (status || !pass.sums)
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for the totals", matrix->data.file);
  if (!status)
    status = csrn_stream_run(pool, matrix->cut.n_units, do_unit, &pass, excluded ? "summing" : "reading",
                             matrix->rows.nnz * (int64_t)csrn_dtype_size(matrix->data.type), progress, error);
  *exact = !status && !pass.no_counts && combine(&pass, pool->n_workers, n_cols, totals);
  for (int w = 0; pass.sums && w < pool->n_workers; w++)
    free(pass.sums[w]);
  free(pass.sums);
  return status;
}

csrn_io_status csrn_stream_highly_expressed_rows(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                                 const double *totals, double max_fraction, uint8_t *mask,
                                                 const csrn_io_progress *progress, csrn_io_error *error) {
  const int64_t n_cols = matrix->rows.n_cols;
  double *limits = malloc((size_t)n_cols * sizeof *limits + 1);
  if (!limits)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for the limits", matrix->data.file);
  for (int64_t c = 0; c < n_cols; c++)
    limits[c] = max_fraction * totals[c];
  columns_pass pass = {.matrix = matrix, .limits = limits, .mask = mask};
  csrn_io_status status =
      csrn_stream_run(pool, matrix->cut.n_units, do_unit, &pass, "marking",
                      matrix->rows.nnz * (int64_t)csrn_dtype_size(matrix->data.type), progress, error);
  free(limits);
  return status;
}
