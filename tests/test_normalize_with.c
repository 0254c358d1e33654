/*
 * csrn_normalize_with(): the second half alone, with totals and targets of every sort,
 * and equal to the whole when it is given what the whole computes, in parts too.
 */
#include "expect.h"

#include <float.h>
#include <math.h>
#include <string.h>

static csrn_normalize_options options_of(csrn_axis axis, int log1p) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.axis = axis;
  options.log1p = log1p;
  return options;
}

static void hand_checked(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 3}, indices[] = {0, 1, 0};
  const double values[] = {1, 3, 8}, totals[] = {4, 0};
  const float normalized[] = {0.5f, 1.5f, 8.0f}, expected_factors[] = {2.0f, 0.0f};
  sample m = sample_literal(2, 2, indptr, indices, CSRN_U32, values);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  const double target = 2.0, *placed = place_input(totals, 2, sizeof *totals);
  const double *placed_target = place_input(&target, 1, sizeof target);
  float *factors = place_output(2, sizeof *factors), got[3];
  csrn_normalize_report *report = place_output(6, 8), seen;
  expect_ok(
      csrn_normalize_with(test.ctx, &A, placed, placed_target, NULL, A.data, CSRN_F32, factors, report));
  fetch(got, A.data, sizeof got);
  expect_values(CSRN_F32, got, normalized, 3, "normalized values");
  fetch(got, factors, 2 * sizeof *got);
  expect_values(CSRN_F32, got, expected_factors, 2, "factors");
  fetch(&seen, report, sizeof seen);
  assert_true(seen.target == 2.0);
  assert_int_equal(seen.n_zero, 1);
  assert_int_equal(seen.n_excluded, 0);
}

/* Totals that have nothing to do with the rows, of every kind. */
static double *make_totals(int64_t n, uint64_t seed) {
  static const double special[] = {
      0.0,   -0.0,     1.0,     -1.0,   NAN,        INFINITY,       -INFINITY,
      1e-50, -1e-50,   1e39,    -1e39,  DBL_MAX,    0x1p-1074,      1e-300,
      3.0,   0x1p-149, FLT_MAX, 0x1p24, 16777217.0, 0x1.fffffep127, 0x1.ffffffp127,
      1e38};
  double *totals = host_array(n, sizeof *totals);
  for (int64_t i = 0; i < n; i++) {
    if (i % 2)
      totals[i] = special[random_below(&seed, COUNT(special))];
    else
      sample_value(CSRN_F64, totals, i, i % 4 ? SAMPLE_WILD : SAMPLE_POSITIVE, &seed);
  }
  return totals;
}

static void any_totals_and_targets(void **state) {
  (void)state;
  const double targets[] = {1.0, 1e4, 0.1, 1512.5, 1e-30, 1e30, NAN};
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int bits = 0; bits < 8; bits++)
      for (size_t t = 0; t < COUNT(targets); t++) {
        csrn_dtype out_type = bits & 1 ? CSRN_F64 : CSRN_F32;
        csrn_normalize_options options = options_of((csrn_axis)(bits >> 1 & 1), bits >> 2 & 1);
        sample_shape shape = random_shape(60, 50, 80, t);
        sample m = sample_make(&shape, data_types[type], t % 2 ? SAMPLE_COUNTS : SAMPLE_WILD, 111 + t);
        layout how = {CSRN_I32, CSRN_U16, can_be_in_place(data_types[type], out_type)};
        expect_normalize_with(&m, how, make_totals(80, 5 + t), targets[t], &options, out_type);
        host_release();
      }
}

/* The members that csrn_normalize_with() does not use are not looked at. */
static void unused_options_are_ignored(void **state) {
  (void)state;
  sample_shape shape = random_shape(50, 30, 40, 2);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 112);
  csrn_normalize_options options = options_of(CSRN_PER_ROW, 1);
  options.target = CSRN_TARGET_FIXED;
  options.target_sum = -7.0;
  options.exclude_highly_expressed = 1;
  options.excluded = place_output(40, 1);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  A.indices = NULL;
  const double target = 100.0, *totals = place_input(make_totals(50, 6), 50, sizeof *totals);
  const double *placed_target = place_input(&target, 1, sizeof target);
  float *out = place_output(m.nnz, sizeof *out);
  expect_ok(csrn_normalize_with(test.ctx, &A, totals, placed_target, &options, out, CSRN_F32, NULL, NULL));
  uint8_t mask[40], untouched[40];
  memset(untouched, BUFFER_FILL, sizeof untouched);
  fetch(mask, options.excluded, 40);
  assert_memory_equal(mask, untouched, 40);
}

/* The whole, and its two halves by hand, with and without exclusion. */
static void equals_the_whole(void **state) {
  (void)state;
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
      sample_shape shape = boundary_shape(3000, 200);
      sample m = sample_make(&shape, data_types[type], SAMPLE_POSITIVE, 113);
      int64_t n = axis == CSRN_PER_ROW ? m.n_rows : m.n_cols;
      csrn_normalize_options options = options_of((csrn_axis)axis, 1);
      csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
      float *whole = place_output(m.nnz, 4), *halves = place_output(m.nnz, 4);
      float *whole_factors = place_output(n, 4), *half_factors = place_output(n, 4);
      double *totals = place_output(n, 8), *median = place_output(1, 8);
      expect_ok(csrn_normalize_total(test.ctx, &A, &options, whole, CSRN_F32, whole_factors, NULL));
      expect_ok(csrn_axis_sum(test.ctx, &A, options.axis, totals, CSRN_F64));
      expect_ok(csrn_median_positive(test.ctx, totals, n, median));
      expect_ok(
          csrn_normalize_with(test.ctx, &A, totals, median, &options, halves, CSRN_F32, half_factors, NULL));
      float *a = host_array(m.nnz, 4), *b = host_array(m.nnz, 4);
      fetch(a, whole, (size_t)m.nnz * 4);
      fetch(b, halves, (size_t)m.nnz * 4);
      expect_values(CSRN_F32, b, a, m.nnz, "halves and whole");
      fetch(a, whole_factors, (size_t)n * 4);
      fetch(b, half_factors, (size_t)n * 4);
      expect_values(CSRN_F32, b, a, n, "factors of halves and whole");
      buffers_release();
    }
}

/* A matrix that comes in parts, each a view that moves indptr alone. */
static void parts_give_the_bits_of_the_whole(void **state) {
  (void)state;
  sample_shape shape = boundary_shape(9000, 100);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 114);
  csrn_normalize_options options = options_of(CSRN_PER_ROW, 1);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  float *whole = place_output(m.nnz, 4), *parts = place_output(m.nnz, 4),
        *factors = place_output(m.n_rows, 4);
  double *totals = place_output(m.n_rows, 8), *median = place_output(1, 8);
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, whole, CSRN_F32, NULL, NULL));
  for (int64_t row = 0; row < m.n_rows; row += 7) {
    csrn_csr part = A;
    part.indptr = (const int64_t *)A.indptr + row;
    part.n_rows = m.n_rows - row < 7 ? m.n_rows - row : 7;
    expect_ok(csrn_axis_sum(test.ctx, &part, CSRN_PER_ROW, totals + row, CSRN_F64));
  }
  expect_ok(csrn_median_positive(test.ctx, totals, m.n_rows, median));
  for (int64_t row = 0; row < m.n_rows; row += 5) {
    csrn_csr part = A;
    part.indptr = (const int64_t *)A.indptr + row;
    part.n_rows = m.n_rows - row < 5 ? m.n_rows - row : 5;
    expect_ok(csrn_normalize_with(test.ctx, &part, totals + row, median, &options, parts, CSRN_F32,
                                  factors + row, NULL));
  }
  float *a = host_array(m.nnz, 4), *b = host_array(m.nnz, 4);
  fetch(a, whole, (size_t)m.nnz * 4);
  fetch(b, parts, (size_t)m.nnz * 4);
  expect_values(CSRN_F32, b, a, m.nnz, "parts and whole");
}

static void totals_may_be_null_without_cells(void **state) {
  (void)state;
  const int64_t none[] = {0};
  sample m = sample_literal(0, 4, none, NULL, CSRN_F32, NULL);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  const double target = 5.0, *placed_target = place_input(&target, 1, sizeof target);
  csrn_normalize_report *report = place_output(6, 8), seen;
  expect_ok(csrn_normalize_with(test.ctx, &A, NULL, placed_target, NULL, A.data, CSRN_F32, NULL, report));
  fetch(&seen, report, sizeof seen);
  assert_true(seen.target == 5.0);
  assert_int_equal(seen.n_zero, 0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(hand_checked),     TEST(any_totals_and_targets),           TEST(unused_options_are_ignored),
      TEST(equals_the_whole), TEST(parts_give_the_bits_of_the_whole), TEST(totals_may_be_null_without_cells),
  };
  return fixture_run(argc, argv, "normalize_with", tests, COUNT(tests));
}
