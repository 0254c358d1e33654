/*
 * The median of the positive finite values, against sorting: odd and even counts,
 * equal values, every exponent, and values that do not count. In brief every third bit,
 * count and size, and every 70th exponent.
 */
#include "expect.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect_median(const double *values, int64_t n, double expected) {
  double *median = place_output(1, sizeof *median), got;
  const double *placed = place_input(values, n, sizeof *values);
  expect_ok(csrn_median_positive(test.ctx, placed, n, median));
  fetch(&got, median, sizeof got);
  expect_values(CSRN_F64, &got, &expected, 1, "median");
  buffers_release();
}

static void expect_oracle(const double *values, int64_t n) {
  expect_median(values, n, oracle_median(values, n));
}

static void hand_checked(void **state) {
  (void)state;
  const double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7}, two[] = {1, 2}, same[] = {2, 2, 2, 2};
  expect_median(odd, 3, 3.0);
  expect_median(even, 4, 2.5);
  expect_median(one, 1, 7.0);
  expect_median(two, 2, 1.5);
  expect_median(same, 4, 2.0);
}

static void only_positive_finite_values_count(void **state) {
  (void)state;
  const double values[] = {0.0, -0.0, -1.0, NAN, INFINITY, -INFINITY, 3.0, -NAN, 5.0, 0.0};
  expect_median(values, COUNT(values), 4.0);
  expect_median(values, 7, 3.0);
}

static void none_gives_nan(void **state) {
  (void)state;
  const double values[] = {0.0, -0.0, -5.0, NAN, INFINITY, -INFINITY, -DBL_MIN};
  for (int64_t n = 0; n <= (int64_t)COUNT(values); n++)
    expect_median(values, n, NAN);
}

static void ends_of_the_range(void **state) {
  (void)state;
  const double small[] = {0x1p-1074, 0x1p-1073, 0x1p-1072}, large[] = {DBL_MAX, DBL_MAX / 2, DBL_MAX};
  const double pair[] = {0x1p-1074, 3 * 0x1p-1074}, mixed[] = {0x1p-1074, DBL_MAX, 1.0, 2.0};
  expect_median(small, 3, 0x1p-1073);
  expect_median(large, 3, DBL_MAX);
  expect_median(pair, 2, 0x1p-1073);
  expect_median(mixed, 4, 1.5);
}

/* The average of two finite values is finite, also where their sum is not. */
static void the_middle_two_do_not_overflow(void **state) {
  (void)state;
  const double same[] = {DBL_MAX, DBL_MAX}, apart[] = {DBL_MAX, DBL_MAX / 2};
  expect_median(same, 2, DBL_MAX);
  expect_median(apart, 2, DBL_MAX * 0.75);
}

/* Of a loop over many values of one sort. */
static int step_of(int in_brief) {
  return fixture_is_brief() ? in_brief : 1;
}

/* Neighbours that differ in the last bit only, at every digit a radix could split at. */
static void neighbours_at_every_bit(void **state) {
  (void)state;
  for (int bit = 0; bit < 52; bit += step_of(3)) {
    double step = ldexp(1.0, bit - 52);
    const double values[] = {1.0 + step, 1.0, 2.0 - step, 1.0 + step, 1.0 + step / 2, 1.5};
    for (int64_t n = 1; n <= (int64_t)COUNT(values); n++)
      expect_oracle(values, n);
  }
  for (int exponent = -1074; exponent < 1023; exponent += 7 * step_of(10)) {
    double x = ldexp(1.0, exponent);
    const double values[] = {x, 2 * x, nextafter(x, 0), nextafter(x, INFINITY), x};
    for (int64_t n = 1; n <= (int64_t)COUNT(values); n++)
      expect_oracle(values, n);
  }
}

/* The same where the middle is that of so many values that they are counted by other digits. */
static void neighbours_among_many(void **state) {
  (void)state;
  enum { AROUND = 9000 };
  double *values = host_array(2 * AROUND + 5, sizeof *values);
  for (int i = 0; i < 2 * AROUND; i++)
    values[i] = i % 2 ? 8.0 : 0.25;
  for (int bit = 0; bit < 52; bit += 3) {
    double step = ldexp(1.0, bit - 52);
    const double middle[] = {1.0 + step, 1.0, 2.0 - step, 1.0 + step, 1.0 + step / 2};
    memcpy(values + (ptrdiff_t)2 * AROUND, middle, sizeof middle);
    expect_oracle(values, 2 * AROUND + 4);
    expect_oracle(values, 2 * AROUND + 5);
  }
}

static void every_small_count_in_every_placement(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int64_t n = (int64_t)where % step_of(3); n < 100; n += step_of(3)) {
      buffers_place(where);
      double *values = host_array(n, sizeof *values);
      uint64_t seed = (uint64_t)n;
      for (int64_t i = 0; i < n; i++)
        sample_value(CSRN_F64, values, i, n % 2 ? SAMPLE_WILD : SAMPLE_POSITIVE, &seed);
      expect_oracle(values, n);
    }
}

/* Totals as they are: integers with many ties; reals; any bits. Odd and even counts. */
static void large_inputs(void **state) {
  (void)state;
  const int64_t counts[] = {1000, 4096, 4097, 65536, 99999, 300001};
  for (size_t k = 0; k < COUNT(counts); k += (size_t)step_of(3))
    for (int kind = SAMPLE_LOW; kind <= SAMPLE_WILD; kind++) {
      double *values = host_array(counts[k] + 1, sizeof *values);
      uint64_t seed = 71 + k;
      for (int64_t i = 0; i <= counts[k]; i++)
        sample_value(CSRN_F64, values, i, (sample_values)kind, &seed);
      expect_oracle(values, counts[k]);
      expect_oracle(values, counts[k] + 1);
    }
}

/* The two middle values far apart: one in another digit than the other. */
static void a_gap_in_the_middle(void **state) {
  (void)state;
  const int64_t n = 100000;
  double *values = host_array(n, sizeof *values);
  for (int64_t i = 0; i < n; i++)
    values[i] = i % 2 ? 1.0 + (double)i : 1e12 + (double)i;
  expect_oracle(values, n);
  values[0] = 5.0;
  expect_oracle(values, n);
}

static void sorted_and_reversed(void **state) {
  (void)state;
  const int64_t n = 50001;
  double *up = host_array(n, sizeof *up), *down = host_array(n, sizeof *down);
  for (int64_t i = 0; i < n; i++) {
    up[i] = 1.0 + (double)i * 0.001;
    down[n - 1 - i] = up[i];
  }
  expect_median(up, n, up[n / 2]);
  expect_median(down, n, up[n / 2]);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(hand_checked),
      TEST(only_positive_finite_values_count),
      TEST(none_gives_nan),
      TEST(ends_of_the_range),
      TEST(the_middle_two_do_not_overflow),
      TEST(neighbours_at_every_bit),
      TEST(neighbours_among_many),
      TEST(every_small_count_in_every_placement),
      TEST(large_inputs),
      TEST(a_gap_in_the_middle),
      TEST(sorted_and_reversed),
  };
  return fixture_run(argc, argv, "median", tests, COUNT(tests));
}
