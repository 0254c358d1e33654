/*
 * Totals of the columns of a matrix in a file: of the cells of a CSC matrix. Counts are integers
 * (docs/numerics.md): each worker adds them up for itself, and any order gives the same. What
 * values are no counts goes to stream_reals.c: their fixed point is one for the whole matrix, which a device
 * that is given a piece does not know. Of counts a device sums the pieces. Where a sum of integers leaves 64
 * bits on the way, the caller is told, who then needs the matrix whole.
 */
#include "stream.h"
#include "type_lists.h"

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

#define IS_INTEGER_CSRN_F32 IS_INTEGER
#define IS_INTEGER_CSRN_F64 IS_INTEGER
#define ALWAYS(x)           true
#define IS_INTEGER_CSRN_U8  ALWAYS
#define IS_INTEGER_CSRN_U16 ALWAYS
#define IS_INTEGER_CSRN_U32 ALWAYS
#define IS_INTEGER_CSRN_I32 ALWAYS
#define IS_INTEGER_CSRN_I64 ALWAYS

/* For each type: adds n values to the sums of their columns, false if that cannot be done; and whether one is
 * above the limit of its column. */
#define COLUMN_LOOPS(DTYPE, TYPE, NAME)                                                                      \
  static bool add_##NAME(const TYPE *values, const int32_t *columns, int64_t n, int64_t *sums) {             \
    bool done = sums != NULL;                                                                                \
    for (int64_t i = 0; i < n && done; i++)                                                                  \
      done = IS_INTEGER_##DTYPE(values[i]) &&                                                                \
             !__builtin_add_overflow(sums[columns[i]], (int64_t)values[i], &sums[columns[i]]);               \
    return done;                                                                                             \
  }                                                                                                          \
  static bool exceeds_##NAME(const TYPE *values, const int32_t *columns, int64_t n, const double *limits) {  \
    bool found = false;                                                                                      \
    for (int64_t i = 0; i < n; i++)                                                                          \
      found |= (double)values[i] > limits[columns[i]];                                                       \
    return found;                                                                                            \
  }
DATA_TYPES(COLUMN_LOOPS)

static bool add(const void *values, csrn_dtype type, const int32_t *columns, int64_t first, int64_t n,
                int64_t *sums) {
  switch (type) {
#define CASE(DTYPE, TYPE, NAME)                                                                              \
  case DTYPE:                                                                                                \
    return add_##NAME((const TYPE *)values + first, columns + first, n, sums);
    DATA_TYPES(CASE)
#undef CASE
  default:
    return false;
  }
}

static bool exceeds(const void *values, csrn_dtype type, const int32_t *columns, int64_t first, int64_t n,
                    const double *limits) {
  switch (type) {
#define CASE(DTYPE, TYPE, NAME)                                                                              \
  case DTYPE:                                                                                                \
    return exceeds_##NAME((const TYPE *)values + first, columns + first, n, limits);
    DATA_TYPES(CASE)
#undef CASE
  default:
    return false;
  }
}

static bool is_real(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

/* ---- By a device ------------------------------------------------------------------- */

#define ARE_INTEGERS(DTYPE, TYPE, NAME)                                                                      \
  static bool integers_##NAME(const TYPE *values, int64_t n) {                                               \
    bool all = true;                                                                                         \
    for (int64_t i = 0; i < n; i++)                                                                          \
      all &= IS_INTEGER_##DTYPE(values[i]);                                                                  \
    return all;                                                                                              \
  }
ARE_INTEGERS(CSRN_F32, float, f32)
ARE_INTEGERS(CSRN_F64, double, f64)

/* So many, of 31 bits at most, have sums below 2^53. */
enum { DEVICE_COUNTS = 1 << 22 };

static bool are_counts(const csrn_csr *A) {
  return A->data_type == CSRN_F32   ? integers_f32(A->data, A->nnz)
         : A->data_type == CSRN_F64 ? integers_f64(A->data, A->nnz)
                                    : true;
}

/* Adds the columns of a unit of counts, as the device has summed them, exactly. *counts is false if there are
 * others, or they do not fit. */
static csrn_io_status add_on_device(csrn_stream_worker *worker, const columns_pass *pass, const csrn_csr *A,
                                    const uint8_t *excluded, int64_t *sums, bool *counts) {
  const bool real = is_real(A->data_type);
  void *piece = csrn_stream_buffer(worker, CSRN_STREAM_SUMS, (size_t)A->n_cols * sizeof(int64_t));
  *counts = sums != NULL && are_counts(A);
  if (!piece || !*counts)
    return piece ? CSRN_IO_OK : CSRN_IO_FAILED;
  csrn_context *ctx = csrn_stream_take_context(worker);
  csrn_status status =
      csrn_axis_sum_excluding(ctx, A, CSRN_PER_COLUMN, excluded, piece, real ? CSRN_F64 : CSRN_I64);
  *counts = status != CSRN_OVERFLOW;
  if (csrn_stream_give_back(worker, ctx, *counts ? status : CSRN_OK, pass->matrix->data.file))
    return CSRN_IO_FAILED;
  for (int64_t c = 0; c < A->n_cols && *counts; c++)
    *counts = !__builtin_add_overflow(
        sums[c], real ? (int64_t)((const double *)piece)[c] : ((const int64_t *)piece)[c], &sums[c]);
  return CSRN_IO_OK;
}

/* ---- Units -------------------------------------------------------------------------- */

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
  if (worker->lane && !pass->limits && (n <= DEVICE_COUNTS || !is_real(type))) {
    const csrn_csr A = {n_rows, matrix->rows.n_cols, n, starts, columns, values, CSRN_I64, CSRN_I32, type};
    if (add_on_device(worker, pass, &A, first_pass ? NULL : pass->excluded + first, sums, &counts))
      return CSRN_IO_FAILED;
    n_rows = 0;
  } else if (first_pass)
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

/* Reals that are no counts are summed in 128 bits. */
int64_t csrn_stream_column_bytes(csrn_dtype data_type, int64_t n_cols) {
  return n_cols * (int64_t)(is_real(data_type) ? sizeof(__int128) : sizeof(int64_t));
}

static bool combine(const columns_pass *pass, int n_workers, void *totals, csrn_dtype sums_type) {
  const csrn_dtype type = pass->matrix->data.type;
  bool fits = true;
  for (int64_t c = 0; c < pass->matrix->rows.n_cols; c++) {
    __int128 sum = 0;
    for (int w = 0; w < n_workers; w++)
      sum += pass->sums[w][c];
    if (is_real(type))
      ((double *)totals)[c] = (double)sum;
    else
      fits &= csrn_stream_store_sum(sum, type, sums_type, totals, c);
  }
  return fits;
}

/* Integers: *exact is false, and nothing set, if there are others, or a sum is too large. */
static csrn_io_status sum_counts(csrn_stream_pool *pool, columns_pass *pass, void *totals,
                                 csrn_dtype sums_type, bool *exact, const csrn_io_progress *progress,
                                 csrn_io_error *error) {
  const csrn_stream_matrix *matrix = pass->matrix;
  const int64_t n_cols = matrix->rows.n_cols;
  csrn_io_status status = CSRN_IO_OK;
  pass->sums = calloc((size_t)pool->n_workers, sizeof *pass->sums);
  for (int w = 0; pass->sums && w < pool->n_workers && !status; w++) {
    pass->sums[w] = calloc((size_t)n_cols + 1, sizeof **pass->sums);
    status = pass->sums[w] ? CSRN_IO_OK : CSRN_IO_FAILED;
  }
  if (status || !pass->sums)
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for the totals", matrix->data.file);
  if (!status)
    status = csrn_stream_run(pool, matrix->cut.n_units, do_unit, pass, pass->excluded ? "summing" : "reading",
                             matrix->rows.nnz * (int64_t)csrn_dtype_size(matrix->data.type), progress, error);
  *exact = !status && !pass->no_counts && combine(pass, pool->n_workers, totals, sums_type);
  for (int w = 0; pass->sums && w < pool->n_workers; w++)
    free(pass->sums[w]);
  free(pass->sums);
  return status;
}

csrn_io_status csrn_stream_column_totals(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                         const uint8_t *excluded, void *totals, csrn_dtype sums_type,
                                         bool *exact, const csrn_io_progress *progress,
                                         csrn_io_error *error) {
  columns_pass pass = {.matrix = matrix, .excluded = excluded};
  csrn_io_status status = sum_counts(pool, &pass, totals, sums_type, exact, progress, error);
  if (status || *exact || !is_real(matrix->data.type))
    return status;
  *exact = pool->columns_on_cpu = true;
  return csrn_stream_column_reals(pool, matrix, excluded, totals, progress, error);
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
