/*
 * Is a result what it must be? Vectors are compared whole, values in sampled rows; sums,
 * factors and scaled values to the bit, logarithms within the 1 ulp that csrnorm.h
 * promises. A wrong result gives the sentence that voids its timing.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Comparisons --------------------------------------------------------- */

static bool same(double a, double b) {
  if (isnan(a) || isnan(b))
    return isnan(a) && isnan(b);
  return a == b && !signbit(a) == !signbit(b);
}

/* Distance between neighbouring numbers of `type` at x. */
static long double ulp_at(long double x, csrn_dtype type) {
  int digits = type == CSRN_F32 ? 24 : 53, lowest = type == CSRN_F32 ? -126 : -1022;
  int exponent = x == 0 ? lowest : ilogbl(x);
  return ldexpl(1, (exponent < lowest ? lowest : exponent) - (digits - 1));
}

static bool within_one_ulp(double got, long double exact, csrn_dtype type) {
  if (isnan(exact) || isnan(got))
    return isnan(exact) && isnan(got);
  if (isinf(exact) || isinf(got))
    return isinf(got) && (long double)got == exact;
  return fabsl((long double)got - exact) <= ulp_at(exact, type);
}

/* One IEEE division in `type`; a divisor of zero counts as 1. */
static double divide(double x, double by, csrn_dtype type) {
  if (by == 0)
    by = 1;
  return type == CSRN_F32 ? (double)((float)x / (float)by) : x / by;
}

static double convert(long double x, csrn_dtype type) {
  return type == CSRN_F32 ? (double)(float)x : (double)x;
}

static bool complain(char why[BENCH_DETAIL], const char *what, int64_t i, double got, double expected) {
  snprintf(why, BENCH_DETAIL, "%s %lld is %.17g, expected %.17g", what, (long long)i, got, expected);
  return false;
}

/* A copy in host memory, from malloc(); NULL with the sentence. */
static void *fetch(bench_run *run, const void *from, size_t bytes, char why[BENCH_DETAIL]) {
  void *copy = malloc(bytes + 1);
  if (copy && !bench_run_fetch(run, from, bytes, copy))
    return copy;
  snprintf(why, BENCH_DETAIL, "cannot copy %zu bytes of the result", bytes);
  free(copy);
  return NULL;
}

/* ---- Vectors ------------------------------------------------------------- */

static bool check_doubles(bench_run *run, const double *result, const double *expected, const double *slack,
                          int64_t n, const char *what, char why[BENCH_DETAIL]) {
  double *got = fetch(run, result, (size_t)n * sizeof *got, why);
  bool right = got != NULL;
  for (int64_t i = 0; right && i < n; i++)
    if (!same(got[i], expected[i]) && !(slack && fabs(got[i] - expected[i]) <= slack[i]))
      right = complain(why, what, i, got[i], expected[i]);
  free(got);
  return right;
}

bool bench_check_row_sums(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  return check_doubles(run, run->row_sums, e->totals, NULL, run->A.n_rows, "sum of row", why);
}

bool bench_check_column_sums(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  return check_doubles(run, run->column_sums, e->column_sums, e->column_slack, run->A.n_cols, "sum of column",
                       why);
}

bool bench_check_median(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  return check_doubles(run, run->median, &e->median, NULL, 1, "median", why);
}

bool bench_check_mask(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  uint8_t *got = fetch(run, run->mask, (size_t)run->A.n_cols, why);
  bool right = got != NULL;
  for (int64_t j = 0; right && j < run->A.n_cols; j++)
    if (got[j] != e->mask[j])
      right = complain(why, "mask of gene", j, got[j], e->mask[j]);
  free(got);
  return right;
}

/* ---- Values -------------------------------------------------------------- */

typedef struct value_check {
  const bench_run *run;
  const bench_expected *expected;
  const void *factors; /* of normalization, as the library has returned them */
  void *row;           /* the values of one row */
} value_check;

static double normalization_factor(const bench_run *run, const bench_expected *e, int64_t i) {
  const bench_operation *op = run->op;
  double total = op->per_column ? e->column_sums[i] : op->exclude ? e->totals_excluding[i] : e->totals[i];
  double target = op->target == CSRN_TARGET_FIXED ? run->target_sum
                  : op->per_column                ? e->column_median
                  : op->exclude                   ? e->median_excluding
                                                  : e->median;
  if (isnan(target)) /* no positive total: nothing is divided */
    return 0;
  return run->out_type == CSRN_F32 ? (double)((float)total / (float)target) : total / target;
}

/* All factors: to the bit, but for columns of reals, whose sums may be off by the slack. */
static bool check_factors(const value_check *c, char why[BENCH_DETAIL]) {
  const bench_run *run = c->run;
  int64_t n = run->op->per_column ? run->A.n_cols : run->A.n_rows;
  for (int64_t i = 0; i < n; i++) {
    double got = (double)bench_get_value(c->factors, run->out_type, i);
    double expected = normalization_factor(run, c->expected, i);
    double slack = run->op->per_column && c->expected->column_slack[i] > 0
                       ? 8 * (double)ulp_at(expected, run->out_type)
                       : 0;
    if (!same(got, expected) && !(fabs(got - expected) <= slack))
      return complain(why, "factor", i, got, expected);
  }
  return true;
}

/* What entry (i, j) of value x must have become before a logarithm is taken. */
static double scaled(const value_check *c, int64_t i, int64_t j, long double x) {
  const bench_run *run = c->run;
  csrn_dtype type = run->out_type;
  double y = convert(x, type);
  if (run->op->input == BENCH_INPUT_REALS)
    y = divide(y, bench_row_factor(c->expected, i, type), type);
  switch (run->op->divide) {
  case BENCH_DIVIDE_BY_ROW:
    return divide(y, bench_row_factor(c->expected, i, type), type);
  case BENCH_DIVIDE_BY_COLUMN:
    return divide(y, bench_column_factor(j), type);
  case BENCH_DIVIDE_BY_TOTAL:
    return divide(y, (double)bench_get_value(c->factors, type, run->op->per_column ? j : i), type);
  case BENCH_DIVIDE_NOT:
    break;
  }
  return y;
}

static bool check_row(const value_check *c, int64_t i, int64_t begin, int64_t end, char why[BENCH_DETAIL]) {
  const csrn_csr *A = &c->expected->matrix->csr;
  csrn_dtype type = c->run->out_type;
  for (int64_t k = begin; k < end; k++) {
    int64_t j = bench_get_index(A->indices, A->indices_type, k);
    double got = (double)bench_get_value(c->row, type, k - begin);
    double before = scaled(c, i, j, bench_get_value(A->data, A->data_type, k));
    long double exact = c->run->op->log1p ? log1pl((long double)before) : (long double)before;
    bool right = c->run->op->log1p ? within_one_ulp(got, exact, type) : same(got, before);
    if (!right)
      return complain(why, "value", k, got, (double)exact);
  }
  return true;
}

static bool check_rows(const value_check *c, bench_run *run, char why[BENCH_DETAIL]) {
  const csrn_csr *A = &c->expected->matrix->csr;
  size_t size = csrn_dtype_size(run->out_type);
  int64_t n = run->op->cached ? run->A.n_rows : c->expected->n_sample;
  for (int64_t s = 0; s < n; s++) {
    int64_t i = run->op->cached ? s : c->expected->sample[s];
    int64_t begin = bench_get_index(A->indptr, A->indptr_type, i);
    int64_t end = bench_get_index(A->indptr, A->indptr_type, i + 1);
    const char *from = (const char *)run->out + (size_t)begin * size;
    if (bench_run_fetch(run, from, (size_t)(end - begin) * size, c->row)) {
      snprintf(why, BENCH_DETAIL, "cannot copy row %lld of the result", (long long)i);
      return false;
    }
    if (!check_row(c, i, begin, end, why))
      return false;
  }
  return true;
}

bool bench_check_values(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  size_t size = csrn_dtype_size(run->out_type);
  int64_t n = run->op->per_column ? run->A.n_cols : run->A.n_rows;
  void *factors = fetch(run, run->factors, (size_t)n * size, why);
  value_check c = {run, e, factors, malloc((size_t)e->matrix->row_max * size + 1)};
  bool right = factors && c.row;
  if (factors && !c.row)
    snprintf(why, BENCH_DETAIL, "not enough memory to check");
  if (right && run->op->divide == BENCH_DIVIDE_BY_TOTAL)
    right = check_factors(&c, why);
  right = right && check_rows(&c, run, why);
  free(factors);
  free(c.row);
  return right;
}

/* For operations that must leave the values as they are. */
bool bench_check_unchanged(bench_run *run, const bench_expected *e, char why[BENCH_DETAIL]) {
  const csrn_csr *A = &e->matrix->csr;
  size_t size = csrn_dtype_size(A->data_type);
  char *row = malloc((size_t)e->matrix->row_max * size + 1);
  bool right = row != NULL;
  snprintf(why, BENCH_DETAIL, "not enough memory to check");
  for (int64_t s = 0; right && s < e->n_sample; s++) {
    int64_t begin = bench_get_index(A->indptr, A->indptr_type, e->sample[s]);
    size_t bytes = (size_t)(bench_get_index(A->indptr, A->indptr_type, e->sample[s] + 1) - begin) * size;
    size_t offset = (size_t)begin * size;
    right = !bench_run_fetch(run, (const char *)run->A.data + offset, bytes, row) &&
            memcmp(row, (const char *)A->data + offset, bytes) == 0;
    if (!right)
      snprintf(why, BENCH_DETAIL, "row %lld has changed", (long long)e->sample[s]);
  }
  free(row);
  return right;
}
