/*
 * Highly expressed genes: strict comparison in float64 against the original total, on
 * both axes, for every type.
 */
#include "expect.h"

#include <math.h>
#include <string.h>

static void expect_mask(const sample *m, csrn_axis axis, double fraction, const uint8_t *expected,
                        int64_t n) {
  csrn_csr A = sample_place(m, LAYOUT_DEFAULT);
  uint8_t *mask = place_output(n, 1), got[16];
  expect_ok(csrn_highly_expressed(test.ctx, &A, axis, fraction, mask));
  fetch(got, mask, (size_t)n);
  expect_values(CSRN_U8, got, expected, n, "mask");
  buffers_release();
}

static void hand_checked(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3, 5, 5};
  const int64_t indices[] = {0, 1, 2, 1, 3};
  const double values[] = {8, 1, 1, 5, 5};
  const uint8_t above_half[] = {1, 0, 0, 0}, above_tenth[] = {1, 1, 0, 1}, above_all[] = {0, 0, 0, 0};
  sample m = sample_literal(3, 4, indptr, indices, CSRN_F32, values);
  expect_mask(&m, CSRN_PER_ROW, 0.5, above_half, 4); /* 5 of 10 is not above a half */
  expect_mask(&m, CSRN_PER_ROW, 0.1, above_tenth, 4);
  expect_mask(&m, CSRN_PER_ROW, 1.0, above_all, 4);
  const uint8_t any[] = {1, 1, 1, 1};
  expect_mask(&m, CSRN_PER_ROW, 0.0, any, 4);
}

static void hand_checked_columns(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 4};
  const int64_t indices[] = {0, 1, 0, 1};
  const double values[] = {8, 1, 2, 1};
  const uint8_t half[] = {1, 0}, tenth[] = {1, 1};
  sample m = sample_literal(2, 2, indptr, indices, CSRN_I32, values);
  expect_mask(&m, CSRN_PER_COLUMN, 0.5, half, 2);
  expect_mask(&m, CSRN_PER_COLUMN, 0.1, tenth, 2);
}

/* x equal to the product is not above it; one ulp more is. */
static void strictly_above_in_float64(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2};
  const int64_t indices[] = {0, 1};
  const uint8_t none[] = {0, 1}, both[] = {1, 1};
  const double quarter[] = {0.25, 0.75};
  sample equal = sample_literal(1, 2, indptr, indices, CSRN_F64, quarter);
  expect_mask(&equal, CSRN_PER_ROW, 0.25, none, 2);
  expect_mask(&equal, CSRN_PER_ROW, nextafter(0.25, 0), both, 2);
  /* 3/30 is 0.1 of the total only after rounding: 0.1 * 30 = 3 in float64. */
  const double tenth[] = {3, 27};
  sample rounded = sample_literal(1, 2, indptr, indices, CSRN_F32, tenth);
  expect_mask(&rounded, CSRN_PER_ROW, 0.1, none, 2);
  expect_mask(&rounded, CSRN_PER_ROW, nextafter(0.1, 0), both, 2);
}

/* Each entry counts for itself: duplicates are not added before the comparison. */
static void duplicates_are_compared_one_by_one(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3};
  const int64_t indices[] = {1, 1, 0};
  const double values[] = {4, 4, 2};
  const uint8_t expected[] = {0, 0};
  sample m = sample_literal(1, 2, indptr, indices, CSRN_U16, values);
  expect_mask(&m, CSRN_PER_ROW, 0.5, expected, 2);
}

/* A total that is 0, negative, NaN or Inf is compared with as float64 does. */
static void odd_totals(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 4, 6, 8};
  const int64_t indices[] = {0, 1, 2, 3, 4, 5, 6, 7};
  const double values[] = {0, 0, -5, 1, NAN, 1, INFINITY, 1};
  const uint8_t expected[] = {0, 0, 0, 1, 0, 0, 0, 0};
  sample m = sample_literal(4, 8, indptr, indices, CSRN_F32, values);
  expect_mask(&m, CSRN_PER_ROW, 0.5, expected, 8);
}

static void every_type_axis_and_fraction(void **state) {
  (void)state;
  const double fractions[] = {0.0, 0.001, 0.05, 0.3, 1.0};
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (size_t f = 0; f < COUNT(fractions); f++)
      for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++)
        for (int kind = SAMPLE_LOW; kind <= SAMPLE_WILD; kind++) {
          sample_shape shape = boundary_shape(1100, 400);
          sample m = sample_make(&shape, data_types[type], (sample_values)kind, 81);
          expect_highly_expressed(&m, LAYOUT_DEFAULT, axis, fractions[f]);
          host_release();
        }
}

static void every_placement(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int type = 0; type < N_DATA_TYPES; type++)
      for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
        buffers_place(where);
        sample_shape shape = boundary_shape(140, 61);
        sample m = sample_make(&shape, data_types[type], SAMPLE_COUNTS, 82);
        expect_highly_expressed(&m, LAYOUT(I32, U8), axis, 0.05);
      }
}

static void long_rows_and_many_rows(void **state) {
  (void)state;
  sample_shape shape = boundary_shape(50000, 100);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 83);
  expect_highly_expressed(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, 0.0005);
  sample_shape many = random_shape(20000, 15, 2000, 84);
  sample n = sample_make(&many, CSRN_F32, SAMPLE_LOW, 84);
  expect_highly_expressed(&n, LAYOUT_DEFAULT, CSRN_PER_ROW, 0.35);
  expect_highly_expressed(&n, LAYOUT_DEFAULT, CSRN_PER_COLUMN, 0.02);
}

static void sizes_of_zero(void **state) {
  (void)state;
  const int64_t none[] = {0}, empty[] = {0, 0, 0, 0};
  sample no_rows = sample_literal(0, 4, none, NULL, CSRN_F32, NULL);
  sample no_columns = sample_literal(3, 0, empty, NULL, CSRN_F32, NULL);
  sample no_values = sample_literal(3, 4, empty, NULL, CSRN_I32, NULL);
  for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
    expect_highly_expressed(&no_rows, LAYOUT_DEFAULT, axis, 0.5);
    expect_highly_expressed(&no_columns, LAYOUT_DEFAULT, axis, 0.5);
    expect_highly_expressed(&no_values, LAYOUT_DEFAULT, axis, 0.0);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(hand_checked),
      TEST(hand_checked_columns),
      TEST(strictly_above_in_float64),
      TEST(duplicates_are_compared_one_by_one),
      TEST(odd_totals),
      TEST(every_type_axis_and_fraction),
      TEST(every_placement),
      TEST(long_rows_and_many_rows),
      TEST(sizes_of_zero),
  };
  return fixture_run(argc, argv, "exclusion", tests, COUNT(tests));
}
