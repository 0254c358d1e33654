/*
 * The semantics of normalization line by line, each line a test of its name: what
 * scanpy does, and what csrnorm does where scanpy's answers vary. Values are written
 * out, so that this file can be read beside docs/numerics.md.
 */
#include "expect.h"

#include <math.h>
#include <string.h>

enum { MAX = 64 };

/* One call on a literal matrix, with everything it gives in host memory. */
typedef struct outcome {
  double values[MAX], factors[MAX]; /* converted from out_type, exactly */
  uint8_t excluded[MAX];
  csrn_normalize_report report;
} outcome;

typedef struct literal {
  int64_t n_rows, n_cols;
  const int64_t *indptr, *indices;
  const double *values;
  csrn_dtype type, out_type;
} literal;

static outcome normalize(literal l, csrn_normalize_options options) {
  sample m = sample_literal(l.n_rows, l.n_cols, l.indptr, l.indices, l.type, l.values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  int64_t n_cells = options.axis == CSRN_PER_ROW ? l.n_rows : l.n_cols;
  int64_t n_genes = options.axis == CSRN_PER_ROW ? l.n_cols : l.n_rows;
  size_t size = csrn_dtype_size(l.out_type);
  void *out = place_output(m.nnz, size), *factors = place_output(n_cells, size);
  csrn_normalize_report *report = place_output(6, 8);
  options.excluded = place_output(n_genes, 1);
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, out, l.out_type, factors, report));
  outcome o;
  double raw[MAX];
  fetch(raw, out, (size_t)m.nnz * size);
  for (int64_t j = 0; j < m.nnz; j++)
    o.values[j] = load_f64(l.out_type, raw, j);
  fetch(raw, factors, (size_t)n_cells * size);
  for (int64_t i = 0; i < n_cells; i++)
    o.factors[i] = load_f64(l.out_type, raw, i);
  fetch(o.excluded, options.excluded, (size_t)n_genes);
  fetch(&o.report, report, sizeof o.report);
  buffers_release();
  return o;
}

static csrn_normalize_options options_with(csrn_target target, double target_sum) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.target = target;
  options.target_sum = target_sum;
  return options;
}

static void expect_doubles(const double *got, const double *expected, int64_t n, const char *what) {
  expect_values(CSRN_F64, got, expected, n, what);
}

/* ---- The steps ------------------------------------------------------------ */

/* 1: totals in float64 on the original values. */
static void totals_are_float64(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3}, indices[] = {0, 1, 2};
  const double values[] = {16777216, 1, 1}; /* float32 addition would stop at 2^24 */
  literal l = {1, 3, indptr, indices, values, CSRN_F32, CSRN_F64};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
  assert_true(o.report.target == 16777218.0);
}

/* 2: excluded for all cells if above the fraction in any, strictly, of the original total. */
static void exclusion_is_strict_and_for_all_cells(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 4}, indices[] = {0, 1, 0, 1};
  const double values[] = {6, 4, 5, 5};
  literal l = {2, 2, indptr, indices, values, CSRN_I32, CSRN_F32};
  csrn_normalize_options options = options_with(CSRN_TARGET_FIXED, 1.0);
  options.exclude_highly_expressed = 1;
  options.max_fraction = 0.5;
  outcome o = normalize(l, options);
  const double factors[] = {4, 5};
  assert_int_equal(o.excluded[0], 1); /* 6 > 5, in the first cell */
  assert_int_equal(o.excluded[1], 0); /* 4 < 5, and 5 is not above 5 */
  assert_int_equal(o.report.n_excluded, 1);
  expect_doubles(o.factors, factors, 2, "totals without gene 0");
}

/* 2: against the original total: what is left is not judged again. */
static void exclusion_is_not_repeated(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3}, indices[] = {0, 1, 2};
  const double values[] = {90, 9, 1}; /* 9 of 100 is not above 0.5, though 9 of 10 would be */
  literal l = {1, 3, indptr, indices, values, CSRN_F32, CSRN_F32};
  csrn_normalize_options options = options_with(CSRN_TARGET_FIXED, 10.0);
  options.exclude_highly_expressed = 1;
  options.max_fraction = 0.5;
  outcome o = normalize(l, options);
  const uint8_t excluded[] = {1, 0, 0};
  const double normalized[] = {90, 9, 1};
  assert_memory_equal(o.excluded, excluded, 3);
  expect_doubles(o.values, normalized, 3, "values");
}

/* 3: the median of the totals that are > 0, after exclusion; the middle two averaged. */
static void target_is_the_median_of_positive_totals(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1, 2, 3, 4, 4, 4}, indices[] = {0, 0, 0, 0};
  const double values[] = {1, 2, 5, 9};
  literal l = {6, 1, indptr, indices, values, CSRN_U16, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
  assert_true(o.report.target == 3.5); /* over all cells, empty ones too, it would be 1.5 */
  assert_int_equal(o.report.n_zero, 2);
}

/* 3: the median is averaged in float64, before it is rounded to the output's type. */
static void median_is_averaged_in_float64(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1, 2}, indices[] = {0, 0};
  const double values[] = {16777217, 16777220}; /* the first has no float32 */
  literal l = {2, 1, indptr, indices, values, CSRN_I32, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
  assert_true(o.report.target == 16777218.5);
}

/* 3: beyond scanpy, the mean of the positive totals. */
static void target_can_be_the_mean(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1, 2, 2}, indices[] = {0, 0};
  const double values[] = {2, 8}, factors[] = {0.4f, 1.6f, 0};
  literal l = {3, 1, indptr, indices, values, CSRN_U8, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEAN, 0));
  assert_true(o.report.target == 5.0);
  expect_doubles(o.factors, factors, 3, "factors");
}

/* 4 and 5: factor = (T)total / (T)target, value = (T)x / factor: two divisions in T. */
static void factor_and_value_are_divided_in_float32(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2}, indices[] = {0, 1};
  const double values[] = {3, 1};
  literal l = {1, 2, indptr, indices, values, CSRN_F32, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_FIXED, 1234.56));
  const float factor = 4.0f / 1234.56f;
  const double expected_factor[] = {(double)factor};
  const double expected[] = {(double)(3.0f / factor), (double)(1.0f / factor)};
  expect_doubles(o.factors, expected_factor, 1, "factor");
  expect_doubles(o.values, expected, 2, "values");
  assert_true(expected[0] != (double)(float)(3.0 / (4.0 / 1234.56))); /* what float64 would give */
}

/* 4: a row whose counts all lie in excluded genes stays as it is. */
static void a_fully_excluded_row_stays(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1, 3}, indices[] = {0, 1, 2};
  const double values[] = {7, 2, 2}, expected[] = {7, 2, 2}, factors[] = {0, 1};
  literal l = {2, 3, indptr, indices, values, CSRN_I32, CSRN_F32};
  csrn_normalize_options options = options_with(CSRN_TARGET_MEDIAN, 0);
  options.exclude_highly_expressed = 1;
  options.max_fraction = 0.6;
  outcome o = normalize(l, options);
  expect_doubles(o.values, expected, 3, "values");
  expect_doubles(o.factors, factors, 2, "factors");
  assert_true(o.report.target == 4.0);
}

/* 5: the excluded genes are scaled too. */
static void excluded_genes_are_scaled(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3}, indices[] = {0, 1, 2};
  const double values[] = {8, 1, 1}, expected[] = {4, 0.5, 0.5};
  literal l = {1, 3, indptr, indices, values, CSRN_F64, CSRN_F64};
  csrn_normalize_options options = options_with(CSRN_TARGET_FIXED, 1.0);
  options.exclude_highly_expressed = 1;
  options.max_fraction = 0.5;
  outcome o = normalize(l, options);
  expect_doubles(o.values, expected, 3, "values");
}

/* 7: the factors are those of step 4: 0 for an empty row. */
static void factor_of_an_empty_row_is_zero(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1, 1, 2}, indices[] = {0, 0};
  const double values[] = {2, 4}, factors[] = {2.0f / 3.0f, 0, 4.0f / 3.0f};
  literal l = {3, 1, indptr, indices, values, CSRN_U32, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
  expect_doubles(o.factors, factors, 3, "factors");
}

/* 8: cells in columns give the values that cells in rows give. */
static void cells_in_columns(void **state) {
  (void)state;
  const int64_t rows_ptr[] = {0, 2, 3}, rows_idx[] = {0, 1, 1};
  const double by_rows[] = {3, 4, 5};
  const int64_t cols_ptr[] = {0, 1, 3}, cols_idx[] = {0, 0, 1};
  const double by_columns[] = {3, 4, 5};
  literal rows = {2, 2, rows_ptr, rows_idx, by_rows, CSRN_F32, CSRN_F32};
  literal columns = {2, 2, cols_ptr, cols_idx, by_columns, CSRN_F32, CSRN_F32};
  csrn_normalize_options options = options_with(CSRN_TARGET_MEDIAN, 0);
  outcome r = normalize(rows, options);
  options.axis = CSRN_PER_COLUMN;
  outcome c = normalize(columns, options);
  expect_doubles(c.values, r.values, 3, "values"); /* 3 and 4 of cell 0, 5 of cell 1, both times */
  expect_doubles(c.factors, r.factors, 2, "factors");
  assert_true(c.report.target == r.report.target);
}

/* ---- The table ------------------------------------------------------------ */

static void no_positive_total(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1, 3, 3}, indices[] = {0, 0, 1};
  const double values[] = {-2, 0, 0}, expected[] = {-2, 0, 0}, factors[] = {0, 0, 0};
  literal l = {3, 2, indptr, indices, values, CSRN_I32, CSRN_F32};
  for (csrn_target target = CSRN_TARGET_MEDIAN; target <= CSRN_TARGET_MEAN; target++) {
    outcome o = normalize(l, options_with(target, 0));
    expect_doubles(o.values, expected, 3, "values");
    expect_doubles(o.factors, factors, 3, "factors");
    assert_true(isnan(o.report.target));
    assert_int_equal(o.report.n_zero, 2);
    assert_int_equal(o.report.n_negative, 1);
  }
}

static void no_rows_no_columns_no_values(void **state) {
  (void)state;
  const int64_t none[] = {0}, empty[] = {0, 0, 0};
  const literal cases[] = {{0, 2, none, NULL, NULL, CSRN_F32, CSRN_F32},
                           {2, 0, empty, NULL, NULL, CSRN_F32, CSRN_F32},
                           {2, 2, empty, NULL, NULL, CSRN_F32, CSRN_F32},
                           {0, 0, none, NULL, NULL, CSRN_F32, CSRN_F32}};
  for (size_t i = 0; i < COUNT(cases); i++)
    for (int axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
      csrn_normalize_options options = options_with(CSRN_TARGET_MEDIAN, 0);
      options.axis = (csrn_axis)axis;
      options.exclude_highly_expressed = 1;
      outcome o = normalize(cases[i], options);
      int64_t cells = axis == CSRN_PER_ROW ? cases[i].n_rows : cases[i].n_cols;
      assert_true(isnan(o.report.target));
      assert_int_equal(o.report.n_zero, cells);
      assert_int_equal(o.report.n_excluded, 0);
    }
}

static void negative_total(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 3}, indices[] = {0, 1, 0};
  const double values[] = {-6, 2, 4}, expected[] = {6, -2, 4}, factors[] = {-1, 1};
  literal l = {2, 2, indptr, indices, values, CSRN_F32, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
  expect_doubles(o.values, expected, 3, "values");
  expect_doubles(o.factors, factors, 2, "factors");
  assert_int_equal(o.report.n_negative, 1);
  assert_true(o.report.target == 4.0);
}

static void nan_in_a_row(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 4, 5}, indices[] = {0, 1, 0, 1, 0};
  const double values[] = {NAN, 1, 1, 1, 4}, expected[] = {NAN, NAN, 1.5, 1.5, 3};
  literal l = {3, 2, indptr, indices, values, CSRN_F32, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
  expect_doubles(o.values, expected, 5, "values");
  assert_true(o.report.target == 3.0);
  assert_int_equal(o.report.n_nonfinite, 1);
}

static void inf_in_a_row(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 4, 5}, indices[] = {0, 1, 0, 1, 0};
  const double values[] = {INFINITY, 1, 1, 1, 4}, expected[] = {NAN, 0, 1.5, 1.5, 3};
  literal l = {3, 2, indptr, indices, values, CSRN_F64, CSRN_F64};
  outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
  const double by_division[] = {NAN, 0, 2 / (2 / 3.0) / 2, 2 / (2 / 3.0) / 2, 4 / (4 / 3.0)};
  expect_doubles(o.values, by_division, 2, "values of the row with Inf");
  for (int j = 2; j < 5; j++)
    assert_true(fabs(o.values[j] - expected[j]) < 1e-15);
  assert_true(o.report.target == 3.0);
  assert_int_equal(o.report.n_nonfinite, 1);
}

static void target_of_zero_negative_nan_inf(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1}, indices[] = {0};
  const double value = 1.0, bad[] = {0.0, -0.0, -5.0, NAN, INFINITY, -INFINITY};
  sample m = sample_literal(1, 1, indptr, indices, CSRN_F32, &value);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  float *factors = place_output(1, sizeof *factors);
  for (size_t i = 0; i < COUNT(bad); i++) {
    csrn_normalize_options options = options_with(CSRN_TARGET_FIXED, bad[i]);
    expect_failure(CSRN_INVALID_ARGUMENT,
                   csrn_normalize_total(test.ctx, &A, &options, A.data, CSRN_F32, factors, NULL),
                   "target_sum");
  }
}

static void integers_are_read_directly(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_U8, CSRN_U16, CSRN_U32, CSRN_I32, CSRN_I64};
  const int64_t indptr[] = {0, 2, 3}, indices[] = {0, 1, 0};
  const double values[] = {1, 3, 8}, expected[] = {1.5, 4.5, 6};
  for (size_t t = 0; t < COUNT(types); t++) {
    literal l = {2, 2, indptr, indices, values, types[t], CSRN_F32};
    outcome o = normalize(l, options_with(CSRN_TARGET_MEDIAN, 0));
    expect_doubles(o.values, expected, 3, csrn_dtype_name(types[t]));
  }
}

static void int64_counts_are_summed_exactly(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3};
  int64_t indices[] = {0, 1, 2}, data[] = {INT64_C(1) << 53, 1, 1}; /* one by one: 2^53 */
  sample m = {1, 3, 3, (int64_t *)indptr, indices, data, CSRN_I64};
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  csrn_normalize_report *report = place_output(6, 8), seen;
  double *out = place_output(3, sizeof *out);
  expect_ok(csrn_normalize_total(test.ctx, &A, NULL, out, CSRN_F64, NULL, report));
  fetch(&seen, report, sizeof seen);
  assert_true(seen.target == 0x1p53 + 2);
}

static void int64_totals_that_overflow_are_an_error(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2};
  int64_t indices[] = {0, 1}, data[] = {INT64_MAX, 1};
  sample m = {1, 2, 2, (int64_t *)indptr, indices, data, CSRN_I64};
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *out = place_output(2, sizeof *out);
  csrn_status status = csrn_normalize_total(test.ctx, &A, NULL, out, CSRN_F64, NULL, NULL);
  assert_int_equal(fixture_finish(status), CSRN_OVERFLOW);
  buffers_check();
}

static void bool_is_0_and_1(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3, 4}, indices[] = {0, 1, 2, 0};
  const double values[] = {1, 0, 1, 1}, expected[] = {1, 0, 1, 2};
  literal l = {2, 3, indptr, indices, values, CSRN_U8, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_FIXED, 2.0));
  expect_doubles(o.values, expected, 4, "values");
}

/* Every mix of index types: test_matrix_mix.c. Beyond 2^31 values: test_big.c. */
static void int32_indices_with_int64_indptr(void **state) {
  (void)state;
  sample_shape shape = random_shape(20, 10, 30, 261);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 261);
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.exclude_highly_expressed = 1;
  expect_normalize(&m, LAYOUT(I64, I32), &options, CSRN_F32);
  expect_normalize(&m, LAYOUT(I32, I64), &options, CSRN_F32);
}

static void unsorted_and_duplicate_indices(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 4}, indices[] = {2, 0, 2, 1};
  const double values[] = {1, 2, 3, 4}, expected[] = {0.5, 1, 1.5, 2};
  literal l = {1, 3, indptr, indices, values, CSRN_F32, CSRN_F32};
  outcome o = normalize(l, options_with(CSRN_TARGET_FIXED, 5.0));
  expect_doubles(o.values, expected, 4, "values");
}

static void explicit_zeros_are_kept(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3, 5}, indices[] = {0, 1, 2, 0, 1};
  const double values[] = {0, 4, 0, 0, 0}, expected[] = {0, 2, 0, 0, 0};
  literal l = {2, 3, indptr, indices, values, CSRN_F32, CSRN_F32};
  csrn_normalize_options options = options_with(CSRN_TARGET_FIXED, 2.0);
  outcome o = normalize(l, options);
  expect_doubles(o.values, expected, 5, "values");
  options.log1p = 1;
  o = normalize(l, options);
  assert_true(o.values[0] == 0.0 && !signbit(o.values[0]) && o.values[4] == 0.0);
}

/* ---- log1p, sums ---------------------------------------------------------- */

static void log1p_of_minus_one_and_below(void **state) {
  (void)state;
  float values[] = {-1.0f, -1.5f, 0.0f};
  library_log1p(CSRN_F32, values, 3, 0.0);
  assert_true(isinf(values[0]) && values[0] < 0);
  assert_true(isnan(values[1]));
  assert_true(values[2] == 0.0f);
}

static void log1p_is_divided_by_the_log_of_the_base(void **state) {
  (void)state;
  float values[] = {1.0f, 3.0f, 1023.0f};
  library_log1p(CSRN_F32, values, 3, 2.0);
  const float expected[] = {1.0f, 2.0f, 10.0f};
  expect_values(CSRN_F32, values, expected, 3, "log2(1 + x)");
}

/* scipy and fast-array-utils give 16,777,216 here. */
static void twenty_million_ones_by_column(void **state) {
  (void)state;
  const int64_t n = 20000000;
  sample_shape shape = {&n, 1, 1, 0, 0};
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 262);
  for (int64_t j = 0; j < n; j++)
    ((float *)m.data)[j] = 1.0f;
  csrn_csr A = sample_place(&m, LAYOUT(I64, U8));
  double *sums = place_output(1, sizeof *sums), got;
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_COLUMN, sums, CSRN_F64));
  fetch(&got, sums, sizeof got);
  assert_true(got == 20000000.0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(totals_are_float64),
      TEST(exclusion_is_strict_and_for_all_cells),
      TEST(exclusion_is_not_repeated),
      TEST(target_is_the_median_of_positive_totals),
      TEST(median_is_averaged_in_float64),
      TEST(target_can_be_the_mean),
      TEST(factor_and_value_are_divided_in_float32),
      TEST(a_fully_excluded_row_stays),
      TEST(excluded_genes_are_scaled),
      TEST(factor_of_an_empty_row_is_zero),
      TEST(cells_in_columns),
      TEST(no_positive_total),
      TEST(no_rows_no_columns_no_values),
      TEST(negative_total),
      TEST(nan_in_a_row),
      TEST(inf_in_a_row),
      TEST(target_of_zero_negative_nan_inf),
      TEST(integers_are_read_directly),
      TEST(int64_counts_are_summed_exactly),
      TEST(int64_totals_that_overflow_are_an_error),
      TEST(bool_is_0_and_1),
      TEST(int32_indices_with_int64_indptr),
      TEST(unsorted_and_duplicate_indices),
      TEST(explicit_zeros_are_kept),
      TEST(log1p_of_minus_one_and_below),
      TEST(log1p_is_divided_by_the_log_of_the_base),
      TEST(twenty_million_ones_by_column),
  };
  return fixture_run(argc, argv, "semantics", tests, COUNT(tests));
}
