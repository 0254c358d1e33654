/*
 * Sums of columns of reals that are no counts, to the bit as csrn_axis_sum() has them
 * (docs/numerics.md): in fixed point relative to the largest magnitude of the matrix, which a
 * pass finds first. Where a value is not finite, one more pass finds the columns of those.
 */
#include "stream.h"

#include "numerics.h"

#include <math.h>
#include <stdlib.h>

/* What is not finite in a column. */
enum { HAS_INF = 1, HAS_MINUS_INF = 2, HAS_NAN = 4 };

typedef struct reals_pass {
  csrn_stream_matrix *matrix;
  const uint8_t *excluded; /* rows, or NULL */
  double unit[2];          /* of the fixed point */
  __int128 **sums;         /* [n_workers][n_cols], in quanta of the low limb */
  double *largest;         /* [n_workers] */
  int nonfinite;
  uint8_t *specials; /* [n_cols] of HAS_*; NULL while finite values are added */
} reals_pass;

static inline double value_at(const void *values, csrn_dtype type, int64_t i) {
  return type == CSRN_F32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

/* ---- The largest magnitude ------------------------------------------------------- */

static double largest_of(const void *values, csrn_dtype type, int64_t n, int *nonfinite) {
  double largest = 0;
  for (int64_t i = 0; i < n; i++) {
    const double magnitude = fabs(value_at(values, type, i));
    if (!isfinite(magnitude))
      *nonfinite = 1;
    else if (magnitude > largest)
      largest = magnitude;
  }
  return largest;
}

/* All rows count, left out or not. The values may have come by here when they seemed to be counts. */
static csrn_io_status search_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  reals_pass *pass = arg;
  csrn_stream_matrix *matrix = pass->matrix;
  double *largest = &pass->largest[worker - worker->pool->workers];
  void *values = NULL;
  int64_t n;
  int nonfinite = 0;
  csrn_stream_unit(matrix, unit, &n);
  if (csrn_stream_read(worker, matrix, unit, &values))
    return CSRN_IO_FAILED;
  const double found = largest_of(values, matrix->data.type, n, &nonfinite);
  *largest = found > *largest ? found : *largest;
  if (nonfinite)
    __atomic_store_n(&pass->nonfinite, 1, __ATOMIC_RELAXED);
  if (!matrix->kept[unit].values)
    csrn_stream_keep(worker->pool, matrix, unit, values, n);
  return CSRN_IO_OK;
}

/* The largest exponent E, by which the fixed point is set. */
static int set_fixed_point(reals_pass *pass, int n_workers) {
  double largest = 0;
  for (int w = 0; w < n_workers; w++)
    largest = pass->largest[w] > largest ? pass->largest[w] : largest;
  int exponent = 1;
  if (largest > 0)
    frexp(largest, &exponent);
  exponent--; /* frexp counts from 0.5 */
  const int up = CSRN_HIGH_BITS - exponent;
  pass->unit[0] = ldexp(1.0, up / 2);
  pass->unit[1] = ldexp(1.0, up - up / 2);
  return exponent;
}

/* ---- Sums ------------------------------------------------------------------------ */

static void add(const reals_pass *pass, const void *values, const int32_t *columns, int64_t begin,
                int64_t end, __int128 *sums) {
  const csrn_dtype type = pass->matrix->data.type;
  for (int64_t i = begin; i < end; i++) {
    const double value = value_at(values, type, i);
    int64_t high, low;
    if (!isfinite(value))
      continue;
    csrn_split_limbs(value, pass->unit, &high, &low);
    sums[columns[i]] += (__int128)high * ((__int128)1 << CSRN_LIMB_BITS) + low;
  }
}

static void note_specials(const reals_pass *pass, const void *values, const int32_t *columns, int64_t begin,
                          int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    const double value = value_at(values, pass->matrix->data.type, i);
    const uint8_t flag = isnan(value) ? HAS_NAN : value > 0 ? HAS_INF : HAS_MINUS_INF;
    if (!isfinite(value))
      __atomic_fetch_or(&pass->specials[columns[i]], flag, __ATOMIC_RELAXED);
  }
}

static csrn_io_status sum_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  const reals_pass *pass = arg;
  __int128 *sums = pass->sums[worker - worker->pool->workers];
  int32_t *columns = NULL;
  void *values = NULL;
  int64_t first, n_rows;
  if (csrn_stream_columns(worker, pass->matrix, unit, &columns) ||
      csrn_stream_read(worker, pass->matrix, unit, &values))
    return CSRN_IO_FAILED;
  const int64_t *starts = csrn_stream_starts(worker, pass->matrix, unit, &first, &n_rows);
  for (int64_t i = 0; starts && i < n_rows; i++) {
    if (pass->excluded && pass->excluded[first + i])
      continue;
    if (pass->specials)
      note_specials(pass, values, columns, starts[i], starts[i + 1]);
    else
      add(pass, values, columns, starts[i], starts[i + 1], sums);
  }
  return starts ? CSRN_IO_OK : CSRN_IO_FAILED;
}

static void combine(const reals_pass *pass, int n_workers, int exponent, double *totals) {
  for (int64_t c = 0; c < pass->matrix->rows.n_cols; c++) {
    __int128 sum = 0;
    for (int w = 0; w < n_workers; w++)
      sum += pass->sums[w][c];
    totals[c] = ldexp((double)sum, exponent - CSRN_HIGH_BITS - CSRN_LIMB_BITS);
  }
}

static double special_sum(uint8_t special, double sum) {
  if ((special & HAS_NAN) || special == (HAS_INF | HAS_MINUS_INF))
    return NAN;
  return special == HAS_INF ? INFINITY : special == HAS_MINUS_INF ? -INFINITY : sum;
}

/* ---- The passes ------------------------------------------------------------------ */

static bool allocate(reals_pass *pass, int n_workers) {
  const size_t n_cols = (size_t)pass->matrix->rows.n_cols;
  pass->largest = calloc((size_t)n_workers, sizeof *pass->largest);
  pass->sums = calloc((size_t)n_workers, sizeof *pass->sums);
  bool done = pass->largest && pass->sums;
  for (int w = 0; done && w < n_workers; w++)
    done = (pass->sums[w] = calloc(n_cols + 1, sizeof **pass->sums)) != NULL;
  return done;
}

/* Sums that have something that is not finite are that. */
static csrn_io_status find_specials(csrn_stream_pool *pool, reals_pass *pass, double *totals, int64_t bytes,
                                    const csrn_io_progress *progress, csrn_io_error *error) {
  const csrn_stream_matrix *matrix = pass->matrix;
  pass->specials = calloc((size_t)matrix->rows.n_cols + 1, 1);
  if (!pass->specials)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for the totals", matrix->data.file);
  csrn_io_status status =
      csrn_stream_run(pool, matrix->cut.n_units, sum_unit, pass, "summing", bytes, progress, error);
  for (int64_t c = 0; c < matrix->rows.n_cols && !status; c++)
    totals[c] = special_sum(pass->specials[c], totals[c]);
  free(pass->specials);
  return status;
}

csrn_io_status csrn_stream_column_reals(csrn_stream_pool *pool, csrn_stream_matrix *matrix,
                                        const uint8_t *excluded, double *totals,
                                        const csrn_io_progress *progress, csrn_io_error *error) {
  const int64_t bytes = matrix->rows.nnz * (int64_t)csrn_dtype_size(matrix->data.type);
  const int n_workers = pool->n_workers;
  reals_pass pass = {.matrix = matrix, .excluded = excluded};
  int exponent = 0;
  csrn_io_status status = CSRN_IO_OK;
  if (!allocate(&pass, n_workers))
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for the totals", matrix->data.file);
  if (!status)
    status =
        csrn_stream_run(pool, matrix->cut.n_units, search_unit, &pass, "reading", bytes, progress, error);
  if (!status) {
    exponent = set_fixed_point(&pass, n_workers);
    status = csrn_stream_run(pool, matrix->cut.n_units, sum_unit, &pass, "summing", bytes, progress, error);
  }
  if (!status) {
    combine(&pass, n_workers, exponent, totals);
    if (pass.nonfinite)
      status = find_specials(pool, &pass, totals, bytes, progress, error);
  }
  for (int w = 0; pass.sums && w < n_workers; w++)
    free(pass.sums[w]);
  free(pass.sums);
  free(pass.largest);
  return status;
}
