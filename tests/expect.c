/*
 * Calls against the oracle: see expect.h. Each expectation leaves no buffer behind, so
 * that a test can run through thousands of them.
 */
#include "expect.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Comparing ------------------------------------------------------------ */

bool same_value(csrn_dtype type, const void *a, const void *b, int64_t i) {
  size_t size = csrn_dtype_size(type);
  if (memcmp((const char *)a + (size_t)i * size, (const char *)b + (size_t)i * size, size) == 0)
    return true;
  return is_real(type) && isnan(load_f64(type, a, i)) && isnan(load_f64(type, b, i));
}

static void print_element(const char *label, csrn_dtype type, const void *array, int64_t i) {
  uint64_t bits = 0;
  size_t size = csrn_dtype_size(type);
  memcpy(&bits, (const char *)array + (size_t)i * size, size);
  print_error("  %s %.17g = 0x%0*" PRIx64 "\n", label, load_f64(type, array, i), (int)(2 * size), bits);
}

void expect_values(csrn_dtype type, const void *got, const void *expected, int64_t n, const char *what) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < n; i++) {
    if (same_value(type, got, expected, i))
      continue;
    if (wrong++ == 0) {
      print_error("%s: element %" PRId64 " of %" PRId64 " (%s)\n", what, i, n, csrn_dtype_name(type));
      print_element("got     ", type, got, i);
      print_element("expected", type, expected, i);
    }
  }
  if (wrong)
    fail_msg("%s: %" PRId64 " of %" PRId64 " elements differ", what, wrong, n);
}

/* ---- Outputs -------------------------------------------------------------- */

bool can_be_in_place(csrn_dtype data_type, csrn_dtype out_type) {
  return csrn_dtype_size(data_type) == csrn_dtype_size(out_type);
}

void *place_out(const csrn_csr *A, layout how, csrn_dtype out_type) {
  return how.in_place ? A->data : place_output(A->nnz, csrn_dtype_size(out_type));
}

void *initial_out(const sample *m, layout how, csrn_dtype out_type) {
  size_t bytes = (size_t)m->nnz * csrn_dtype_size(out_type);
  void *out = malloc(bytes + 1);
  assert_non_null(out);
  if (how.in_place)
    memcpy(out, m->data, bytes);
  else
    memset(out, BUFFER_FILL, bytes);
  return out;
}

/* Compares the array at `placed` with `expected` and frees the latter. */
static void expect_array(csrn_dtype type, const void *placed, void *expected, int64_t n, const char *what) {
  size_t bytes = (size_t)n * csrn_dtype_size(type);
  void *got = malloc(bytes + 1);
  assert_non_null(got);
  fetch(got, placed, bytes);
  expect_values(type, got, expected, n, what);
  free(got);
  free(expected);
}

static int64_t axis_length(const sample *m, csrn_axis axis) {
  return axis == CSRN_PER_ROW ? m->n_rows : m->n_cols;
}

static int64_t other_length(const sample *m, csrn_axis axis) {
  return axis == CSRN_PER_ROW ? m->n_cols : m->n_rows;
}

/* ---- Sums ----------------------------------------------------------------- */

static void *expected_integer_sums(const sample *m, csrn_axis axis, const uint8_t *excluded,
                                   csrn_dtype sums_type) {
  int64_t n = axis_length(m, axis);
  int128 *sums = calloc((size_t)n + 1, sizeof *sums);
  void *expected = calloc((size_t)n + 1, 8);
  assert_non_null(sums);
  assert_non_null(expected);
  oracle_integer_sums(m, axis, excluded, sums);
  for (int64_t i = 0; i < n; i++) {
    if (sums_type == CSRN_F64)
      ((double *)expected)[i] = (double)sums[i];
    else
      ((uint64_t *)expected)[i] = (uint64_t)sums[i];
  }
  free(sums);
  return expected;
}

/* A column of reals has no order to follow but a bound to keep: exact where the
 * contract says so, else n quanta of 2^(E-62) from the exact sum, 2^E above the
 * largest value, and the rounding of the result itself. */
static void expect_column(const oracle_column *column, bool integers, double largest, double got, int64_t i) {
  double exact = exact_round(&column->sum);
  if (column->special) {
    if (!same_value(CSRN_F64, &got, &column->value, 0))
      fail_msg("column %" PRId64 ": got %g, expected %g", i, got, column->value);
    return;
  }
  int exponent;
  frexp(largest, &exponent);
  int ulp = (exact == 0.0 ? -1022 : ilogb(exact)) - 52;
  double bound = (double)column->n * ldexp(1.0, exponent - 62) + ldexp(0.5, ulp < -1074 ? -1074 : ulp);
  bool right = integers || exact == got ? same_value(CSRN_F64, &got, &exact, 0)
                                        : exact_distance(&column->sum, got) <= bound;
  if (!right)
    fail_msg("column %" PRId64 ": got %.17g, exact %.17g, off by %g, bound %g%s", i, got, exact,
             exact_distance(&column->sum, got), bound, integers ? " (integers: exact)" : "");
}

static void expect_real_columns(const sample *m, const uint8_t *excluded, const double *placed) {
  oracle_column *columns = calloc((size_t)m->n_cols + 1, sizeof *columns);
  double *got = calloc((size_t)m->n_cols + 1, sizeof *got);
  assert_non_null(columns);
  assert_non_null(got);
  oracle_column_sums(m, excluded, columns);
  fetch(got, placed, (size_t)m->n_cols * sizeof *got);
  bool integers = true;
  for (int64_t i = 0; i < m->n_cols; i++)
    integers = integers && columns[i].integers;
  double largest = oracle_largest(m);
  for (int64_t i = 0; i < m->n_cols; i++)
    expect_column(&columns[i], integers, largest, got[i], i);
  free(columns);
  free(got);
}

void expect_axis_sum(const sample *m, layout how, csrn_axis axis, const uint8_t *excluded,
                     csrn_dtype sums_type) {
  csrn_csr A = sample_place(m, how);
  int64_t n = axis_length(m, axis);
  void *sums = place_output(n, 8);
  if (excluded) {
    const uint8_t *mask = place_input(excluded, other_length(m, axis), 1);
    expect_ok(csrn_axis_sum_excluding(test.ctx, &A, axis, mask, sums, sums_type));
  } else {
    expect_ok(csrn_axis_sum(test.ctx, &A, axis, sums, sums_type));
  }
  if (!is_real(m->type)) {
    expect_array(sums_type, sums, expected_integer_sums(m, axis, excluded, sums_type), n, "axis sums");
  } else if (axis == CSRN_PER_ROW) {
    double *expected = calloc((size_t)n + 1, sizeof *expected);
    assert_non_null(expected);
    oracle_row_sums(m, excluded, expected);
    expect_array(CSRN_F64, sums, expected, n, "row sums");
  } else {
    expect_real_columns(m, excluded, sums);
  }
  buffers_release();
}

double *library_totals(const sample *m, csrn_axis axis, const uint8_t *excluded) {
  csrn_csr A = sample_place(m, LAYOUT_DEFAULT);
  int64_t n = axis_length(m, axis);
  double *sums = place_output(n, sizeof *sums);
  const uint8_t *mask = excluded ? place_input(excluded, other_length(m, axis), 1) : NULL;
  expect_ok(csrn_axis_sum_excluding(test.ctx, &A, axis, mask, sums, CSRN_F64));
  double *totals = calloc((size_t)n + 1, sizeof *totals);
  assert_non_null(totals);
  fetch(totals, sums, (size_t)n * sizeof *totals);
  buffers_release();
  return totals;
}

/* ---- Scaling, logarithms -------------------------------------------------- */

void expect_axis_scale(const sample *m, layout how, csrn_axis axis, csrn_scale_op op, const void *factors,
                       csrn_dtype factors_type, csrn_zero_policy zeros, csrn_dtype out_type) {
  csrn_csr A = sample_place(m, how);
  const void *placed = place_input(factors, axis_length(m, axis), csrn_dtype_size(factors_type));
  void *out = place_out(&A, how, out_type);
  expect_ok(csrn_axis_scale(test.ctx, &A, axis, op, placed, factors_type, zeros, out, out_type));
  void *expected = initial_out(m, how, out_type);
  oracle_scale(m, axis, op, factors, factors_type, zeros, expected, out_type);
  expect_array(out_type, out, expected, m->nnz, "scaled values");
  buffers_release();
}

void library_log1p(csrn_dtype type, void *values, int64_t n, double base) {
  const int64_t indptr[2] = {0, n};
  csrn_csr A = {.n_rows = 1, .n_cols = 1, .nnz = n, .indptr_type = CSRN_I64, .data_type = type};
  A.indptr = place_input(indptr, 2, sizeof *indptr);
  A.data = place_inout(values, n, csrn_dtype_size(type));
  expect_ok(csrn_log1p(test.ctx, &A, base, A.data, type));
  fetch(values, A.data, (size_t)n * csrn_dtype_size(type));
}

/* At most 1 ulp from the truth; with a base, the quotient of that by log(base). */
static void expect_log1p_value(const sample *m, csrn_dtype type, int64_t j, const void *natural,
                               const void *got, double base) {
  double error = type == CSRN_F32
                     ? oracle_log1p_error_f32(load_f32(m->type, m->data, j), ((const float *)natural)[j])
                     : oracle_log1p_error_f64(load_f64(m->type, m->data, j), ((const double *)natural)[j]);
  if (!(error <= 1.0))
    fail_msg("log1p of element %" PRId64 " (%.17g) is %.17g: %g ulp off", j, load_f64(m->type, m->data, j),
             load_f64(type, natural, j), error);
  double quotient = load_f64(type, natural, j) / (base != 0.0 ? log(base) : 1.0);
  double expected[1];
  store_f64(type, expected, 0, quotient);
  size_t size = csrn_dtype_size(type);
  if (!same_value(type, (const char *)got + (size_t)j * size, expected, 0))
    fail_msg("log1p with base %g of element %" PRId64 ": got %.17g, expected %.17g", base, j,
             load_f64(type, got, j), load_f64(type, expected, 0));
}

void expect_log1p(const sample *m, layout how, double base, csrn_dtype out_type) {
  csrn_csr A = sample_place(m, how);
  void *out = place_out(&A, how, out_type);
  expect_ok(csrn_log1p(test.ctx, &A, base, out, out_type));
  void *natural = initial_out(m, how, out_type), *got = initial_out(m, how, out_type);
  void *before = initial_out(m, how, out_type);
  size_t size = csrn_dtype_size(out_type);
  fetch(got, out, (size_t)m->nnz * size);
  int64_t begin = m->indptr[0], end = m->indptr[m->n_rows];
  for (int64_t j = begin; j < end; j++) {
    if (out_type == CSRN_F32)
      ((float *)natural)[j] = load_f32(m->type, m->data, j);
    else
      ((double *)natural)[j] = load_f64(m->type, m->data, j);
  }
  library_log1p(out_type, (char *)natural + (size_t)begin * size, end - begin, 0.0);
  for (int64_t j = begin; j < end; j++)
    expect_log1p_value(m, out_type, j, natural, got, base);
  assert_memory_equal(got, before, (size_t)begin * size);
  assert_memory_equal((char *)got + (size_t)end * size, (char *)before + (size_t)end * size,
                      (size_t)(m->nnz - end) * size);
  free(natural);
  free(got);
  free(before);
  buffers_release();
}

/* ---- Exclusion, normalization --------------------------------------------- */

/* What the totals have to be: by the oracle, but for columns of reals. */
static double *expected_totals(const sample *m, csrn_axis axis, const uint8_t *excluded) {
  if (is_real(m->type) && axis == CSRN_PER_COLUMN)
    return library_totals(m, axis, excluded);
  double *totals = calloc((size_t)axis_length(m, axis) + 1, sizeof *totals);
  assert_non_null(totals);
  oracle_totals(m, axis, excluded, totals);
  return totals;
}

static uint8_t *expected_mask(const sample *m, csrn_axis axis, double max_fraction) {
  double *totals = expected_totals(m, axis, NULL);
  uint8_t *mask = calloc((size_t)other_length(m, axis) + 1, 1);
  assert_non_null(mask);
  oracle_highly_expressed(m, axis, totals, max_fraction, mask);
  free(totals);
  return mask;
}

void expect_highly_expressed(const sample *m, layout how, csrn_axis axis, double max_fraction) {
  uint8_t *expected = expected_mask(m, axis, max_fraction);
  csrn_csr A = sample_place(m, how);
  int64_t n = other_length(m, axis);
  uint8_t *mask = place_output(n, 1);
  expect_ok(csrn_highly_expressed(test.ctx, &A, axis, max_fraction, mask));
  expect_array(CSRN_U8, mask, expected, n, "mask of highly expressed genes");
  buffers_release();
}

static void expect_report(const csrn_normalize_report *placed, const csrn_normalize_report *expected) {
  csrn_normalize_report got;
  fetch(&got, placed, sizeof got);
  expect_values(CSRN_F64, &got.target, &expected->target, 1, "report->target");
  assert_int_equal(got.n_zero, expected->n_zero);
  assert_int_equal(got.n_negative, expected->n_negative);
  assert_int_equal(got.n_nonfinite, expected->n_nonfinite);
  assert_int_equal(got.n_excluded, expected->n_excluded);
  assert_int_equal(got.flags, 0);
}

/* The outputs of a normalization: placed ones, and what they have to be. */
typedef struct outputs {
  void *out, *factors;
  csrn_normalize_report *report;
} outputs;

static outputs place_outputs(const csrn_csr *A, layout how, csrn_axis axis, csrn_dtype out_type) {
  int64_t n = axis == CSRN_PER_ROW ? A->n_rows : A->n_cols;
  return (outputs){place_out(A, how, out_type), place_output(n, csrn_dtype_size(out_type)),
                   place_output(sizeof(csrn_normalize_report) / 8, 8)};
}

static void expect_outputs(const sample *m, layout how, const csrn_normalize_options *options,
                           const double *totals, double target, int64_t n_excluded, csrn_dtype out_type,
                           const outputs *got) {
  int64_t n = axis_length(m, options->axis);
  void *out = initial_out(m, how, out_type), *factors = calloc((size_t)n + 1, 8);
  assert_non_null(factors);
  csrn_normalize_report report;
  oracle_normalize(m, options->axis, totals, target, out, out_type, factors, &report);
  report.n_excluded = n_excluded;
  if (options->log1p) {
    int64_t begin = m->indptr[0];
    library_log1p(out_type, (char *)out + (size_t)begin * csrn_dtype_size(out_type),
                  m->indptr[m->n_rows] - begin, options->log_base);
  }
  expect_report(got->report, &report);
  expect_array(out_type, got->factors, factors, n, "factors");
  expect_array(out_type, got->out, out, m->nnz, "normalized values");
}

static double expected_target(const csrn_normalize_options *options, const double *totals, int64_t n) {
  switch (options->target) {
  case CSRN_TARGET_MEDIAN:
    return oracle_median(totals, n);
  case CSRN_TARGET_MEAN:
    return oracle_mean(totals, n);
  default:
    return options->target_sum;
  }
}

void expect_normalize(const sample *m, layout how, const csrn_normalize_options *given, csrn_dtype out_type) {
  csrn_normalize_options options = *given;
  int64_t n_genes = other_length(m, options.axis), n_excluded = 0;
  uint8_t *mask = calloc((size_t)n_genes + 1, 1);
  assert_non_null(mask);
  if (options.exclude_highly_expressed) {
    free(mask);
    mask = expected_mask(m, options.axis, options.max_fraction);
  }
  for (int64_t j = 0; j < n_genes; j++)
    n_excluded += mask[j];
  double *totals = expected_totals(m, options.axis, n_excluded ? mask : NULL);
  double target = expected_target(&options, totals, axis_length(m, options.axis));
  csrn_csr A = sample_place(m, how);
  outputs got = place_outputs(&A, how, options.axis, out_type);
  options.excluded = place_output(n_genes, 1);
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, got.out, out_type, got.factors, got.report));
  expect_outputs(m, how, &options, totals, target, n_excluded, out_type, &got);
  expect_array(CSRN_U8, options.excluded, mask, n_genes, "excluded genes");
  free(totals);
  buffers_release();
}

void expect_normalize_with(const sample *m, layout how, const double *totals, double target,
                           const csrn_normalize_options *options, csrn_dtype out_type) {
  csrn_csr A = sample_place(m, how);
  outputs got = place_outputs(&A, how, options->axis, out_type);
  const double *placed = place_input(totals, axis_length(m, options->axis), sizeof *totals);
  const double *placed_target = place_input(&target, 1, sizeof target);
  expect_ok(csrn_normalize_with(test.ctx, &A, placed, placed_target, options, got.out, out_type, got.factors,
                                got.report));
  expect_outputs(m, how, options, totals, target, 0, out_type, &got);
  buffers_release();
}
