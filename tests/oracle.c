/*
 * The oracle: see oracle.h. Slow and obvious on purpose; compiled without contraction
 * like the library, so that each operation here is one IEEE operation.
 */
#include "oracle.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Sums ----------------------------------------------------------------- */

#define LANES 32
#define BLOCK 4096

double oracle_lane_sum(const double *terms, int64_t n) {
  double total = 0.0;
  for (int64_t begin = 0; begin < n; begin += BLOCK) {
    double lanes[LANES] = {0.0};
    for (int64_t i = begin; i < n && i < begin + BLOCK; i++)
      lanes[(i - begin) % LANES] += terms[i];
    for (int width = LANES / 2; width > 0; width /= 2)
      for (int k = 0; k < width; k++)
        lanes[k] += lanes[k + width];
    total += lanes[0];
  }
  return total;
}

static bool is_excluded(const sample *m, csrn_axis axis, const uint8_t *excluded, int64_t row, int64_t j) {
  return excluded && excluded[axis == CSRN_PER_ROW ? m->indices[j] : row];
}

void oracle_integer_sums(const sample *m, csrn_axis axis, const uint8_t *excluded, int128 *sums) {
  int64_t n = axis == CSRN_PER_ROW ? m->n_rows : m->n_cols;
  for (int64_t i = 0; i < n; i++)
    sums[i] = 0;
  for (int64_t row = 0; row < m->n_rows; row++)
    for (int64_t j = m->indptr[row]; j < m->indptr[row + 1]; j++)
      if (!is_excluded(m, axis, excluded, row, j))
        sums[axis == CSRN_PER_ROW ? row : m->indices[j]] += load_int(m->type, m->data, j);
}

void oracle_row_sums(const sample *m, const uint8_t *excluded, double *sums) {
  for (int64_t row = 0; row < m->n_rows; row++) {
    int64_t begin = m->indptr[row], n = m->indptr[row + 1] - begin;
    double *terms = malloc((size_t)(n + 1) * sizeof *terms);
    assert_non_null(terms);
    for (int64_t k = 0; k < n; k++)
      terms[k] = is_excluded(m, CSRN_PER_ROW, excluded, row, begin + k)
                     ? 0.0
                     : load_f64(m->type, m->data, begin + k);
    sums[row] = oracle_lane_sum(terms, n);
    free(terms);
  }
}

void oracle_totals(const sample *m, csrn_axis axis, const uint8_t *excluded, double *totals) {
  if (is_real(m->type)) {
    assert_int_equal(axis, CSRN_PER_ROW); /* real columns have a bound, not an order */
    oracle_row_sums(m, excluded, totals);
    return;
  }
  int64_t n = axis == CSRN_PER_ROW ? m->n_rows : m->n_cols;
  int128 *sums = calloc((size_t)n + 1, sizeof *sums);
  assert_non_null(sums);
  oracle_integer_sums(m, axis, excluded, sums);
  for (int64_t i = 0; i < n; i++)
    totals[i] = (double)sums[i];
  free(sums);
}

void oracle_column_sums(const sample *m, const uint8_t *excluded, oracle_column *columns) {
  memset(columns, 0, (size_t)m->n_cols * sizeof *columns);
  for (int64_t i = 0; i < m->n_cols; i++)
    columns[i].integers = true;
  for (int64_t row = 0; row < m->n_rows; row++) {
    for (int64_t j = m->indptr[row]; j < m->indptr[row + 1]; j++) {
      if (is_excluded(m, CSRN_PER_COLUMN, excluded, row, j))
        continue;
      oracle_column *column = &columns[m->indices[j]];
      double x = load_f64(m->type, m->data, j);
      if (!isfinite(x)) {
        column->special = true;
        column->value += x;
        continue;
      }
      exact_add(&column->sum, x);
      column->n++;
      column->magnitude += fabs(x);
      column->integers = column->integers && x == floor(x) && column->magnitude < 0x1p62;
    }
  }
}

double oracle_largest(const sample *m) {
  double largest = 0.0;
  for (int64_t j = m->indptr[0]; j < m->indptr[m->n_rows]; j++) {
    double x = fabs(load_f64(m->type, m->data, j));
    if (isfinite(x) && x > largest)
      largest = x;
  }
  return largest;
}

/* ---- Scaling -------------------------------------------------------------- */

static double apply_f64(double x, double factor, csrn_scale_op op, csrn_zero_policy zeros) {
  if (op == CSRN_MULTIPLY)
    return x * factor;
  return x / (factor == 0.0 && zeros == CSRN_ZERO_AS_ONE ? 1.0 : factor);
}

static float apply_f32(float x, float factor, csrn_scale_op op, csrn_zero_policy zeros) {
  if (op == CSRN_MULTIPLY)
    return x * factor;
  return x / (factor == 0.0f && zeros == CSRN_ZERO_AS_ONE ? 1.0f : factor);
}

void oracle_scale(const sample *m, csrn_axis axis, csrn_scale_op op, const void *factors,
                  csrn_dtype factors_type, csrn_zero_policy zeros, void *out, csrn_dtype out_type) {
  bool wide = factors_type == CSRN_F64 || out_type == CSRN_F64;
  for (int64_t row = 0; row < m->n_rows; row++) {
    for (int64_t j = m->indptr[row]; j < m->indptr[row + 1]; j++) {
      int64_t i = axis == CSRN_PER_ROW ? row : m->indices[j];
      if (wide)
        store_f64(out_type, out, j,
                  apply_f64(load_f64(m->type, m->data, j), load_f64(factors_type, factors, i), op, zeros));
      else
        ((float *)out)[j] = apply_f32(load_f32(m->type, m->data, j), ((const float *)factors)[i], op, zeros);
    }
  }
}

/* ---- Selection ------------------------------------------------------------ */

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double oracle_median(const double *values, int64_t n) {
  double *positive = malloc((size_t)(n + 1) * sizeof *positive);
  assert_non_null(positive);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++)
    if (values[i] > 0.0 && values[i] <= DBL_MAX)
      positive[count++] = values[i];
  qsort(positive, (size_t)count, sizeof *positive, compare_doubles);
  double median = NAN;
  if (count % 2 == 1)
    median = positive[count / 2];
  else if (count > 0) /* halved first where their sum would overflow */
    median = positive[count / 2] > DBL_MAX / 2 ? positive[count / 2 - 1] / 2 + positive[count / 2] / 2
                                               : (positive[count / 2 - 1] + positive[count / 2]) / 2;
  free(positive);
  return median;
}

double oracle_mean(const double *values, int64_t n) {
  double *terms = calloc((size_t)n + 1, sizeof *terms);
  assert_non_null(terms);
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) {
    if (values[i] > 0.0 && values[i] <= DBL_MAX) {
      terms[i] = values[i];
      count++;
    }
  }
  double mean = count ? oracle_lane_sum(terms, n) / (double)count : NAN;
  free(terms);
  return mean;
}

void oracle_highly_expressed(const sample *m, csrn_axis axis, const double *totals, double max_fraction,
                             uint8_t *mask) {
  memset(mask, 0, (size_t)(axis == CSRN_PER_ROW ? m->n_cols : m->n_rows));
  for (int64_t row = 0; row < m->n_rows; row++) {
    for (int64_t j = m->indptr[row]; j < m->indptr[row + 1]; j++) {
      int64_t cell = axis == CSRN_PER_ROW ? row : m->indices[j];
      int64_t gene = axis == CSRN_PER_ROW ? m->indices[j] : row;
      if (load_f64(m->type, m->data, j) > max_fraction * totals[cell])
        mask[gene] = 1;
    }
  }
}

/* ---- Normalization -------------------------------------------------------- */

static void store_factor(csrn_dtype type, void *factors, int64_t i, double total, double target) {
  if (isnan(target))
    store_f64(type, factors, i, 0.0);
  else if (type == CSRN_F32)
    ((float *)factors)[i] = (float)total / (float)target;
  else
    ((double *)factors)[i] = total / target;
}

void oracle_normalize(const sample *m, csrn_axis axis, const double *totals, double target, void *out,
                      csrn_dtype out_type, void *factors, csrn_normalize_report *report) {
  *report = (csrn_normalize_report){.target = target};
  int64_t n = axis == CSRN_PER_ROW ? m->n_rows : m->n_cols;
  for (int64_t i = 0; i < n; i++) {
    store_factor(out_type, factors, i, totals[i], target);
    report->n_zero += totals[i] == 0.0;
    report->n_negative += totals[i] < 0.0; /* -Inf too: it is both */
    report->n_nonfinite += !isfinite(totals[i]);
  }
  oracle_scale(m, axis, CSRN_DIVIDE, factors, out_type, CSRN_ZERO_AS_ONE, out, out_type);
}

/* ---- log1p ---------------------------------------------------------------- */

/* 2^(exponent of `truth` - digits), not below the smallest subnormal. */
static double unit_in_last_place(double truth, int digits, int smallest) {
  int exponent = truth == 0.0 ? smallest : ilogb(truth) - digits;
  return ldexp(1.0, exponent < smallest ? smallest : exponent);
}

static double special_error(double truth, double got) {
  bool same = (isnan(truth) && isnan(got)) || truth == got;
  return same ? 0.0 : INFINITY;
}

double oracle_log1p_error_f32(float x, float got) {
  double truth = log1p((double)x);
  if (!isfinite(truth) || !isfinite(got))
    return special_error(truth, (double)got);
  return fabs((double)got - truth) / unit_in_last_place(truth, FLT_MANT_DIG - 1, -149);
}

double oracle_log1p_error_f64(double x, double got) {
  long double truth = log1pl((long double)x);
  if (!isfinite(truth) || !isfinite(got))
    return special_error((double)truth, got);
  double unit = unit_in_last_place((double)truth, DBL_MANT_DIG - 1, -1074);
  return (double)(fabsl((long double)got - truth) / (long double)unit);
}
