/*
 * csrn_log1p_f32 on every one of the 2^32 floats: within one unit in the last place
 * above -1, the special values elsewhere, and a checksum that pins the bits, to which
 * test_log1p_every_float.c holds every instruction set, compiler and backend.
 *
 * The reference is the C library's float64 log(1 + x), where 1 + x is exact or as good as
 * exact, or for tiny x the series. Its own error, below two units in the last place of a
 * double, is 2^-28 of a float's, and the limit is that much below one.
 */
#include "log1p.h"
#include "log1p_reference.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { BLOCK = 1 << 14 };

static const double limit = 1 - 0x1p-28;

typedef struct summary {
  double error; /* the largest, in ulp */
  float at;
  int64_t wrong_special, wrong_positive; /* csrn_log1p_positive_f32() gives other bits */
  uint64_t checksum;
} summary;

static bool is_special(float x) {
  return !(x > -1) || x == 0 || isinf(x);
}

static bool special_is_right(float x, float y) {
  if (isnan(x) || x < -1)
    return isnan(y);
  if (x == -1)
    return y == -INFINITY;
  return y == x && signbit(y) == signbit(x);
}

/* 1 + x is exact from 2^-29 to 2^53, and beyond that its rounding, 2^-53 of the whole, is nothing to a
 * logarithm of 36 or more. For tiny x the series, whose next term is 2^-44 of the whole or less. */
static double reference(float x) {
  double t = x;
  return fabs(t) < 0x1p-14 ? t - t * t / 2 + t * t * t * (1.0 / 3) : log(1 + t);
}

/* error_in_ulp() for a float: without calls and divisions. */
static double error_in_float_ulp(float computed, double expected) {
  const uint64_t digits = 23, twice_bias = 2046;
  uint64_t exponent = csrn_bits_f64(expected) >> 52 & 0x7ff;
  double ulps = csrn_from_bits_f64((twice_bias + digits - exponent) << 52);
  return fabs((double)computed - expected) * (ulps < 0x1p149 ? ulps : 0x1p149);
}

static summary check_block(uint32_t first) {
  float x[BLOCK], y[BLOCK];
  summary s = {.error = 0};
  for (int i = 0; i < BLOCK; i++)
    x[i] = csrn_from_bits_f32(first + (uint32_t)i);
  for (int i = 0; i < BLOCK; i++)
    y[i] = csrn_log1p_f32(x[i]);
  for (int i = 0; i < BLOCK; i++)
    s.wrong_positive +=
        x[i] > 0.0F && x[i] <= FLT_MAX && csrn_bits_f32(csrn_log1p_positive_f32(x[i])) != csrn_bits_f32(y[i]);
  for (int i = 0; i < BLOCK; i++)
    s.checksum += weighted_result(csrn_bits_f32(x[i]), csrn_bits_f32(y[i]));
  for (int i = 0; i < BLOCK; i++) {
    if (is_special(x[i])) {
      s.wrong_special += !special_is_right(x[i], y[i]);
      continue;
    }
    double error = error_in_float_ulp(y[i], reference(x[i]));
    if (!(error <= s.error)) {
      s.error = error;
      s.at = x[i];
    }
  }
  return s;
}

static void test_every_float(void **state) {
  (void)state;
  summary all = {.error = 0};
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t block = 0; block < ((int64_t)1 << 32) / BLOCK; block++) {
    summary s = check_block((uint32_t)(block * BLOCK));
#pragma omp critical
    {
      all.checksum += s.checksum;
      all.wrong_special += s.wrong_special;
      all.wrong_positive += s.wrong_positive;
      if (!(s.error <= all.error)) {
        all.error = s.error;
        all.at = s.at;
      }
    }
  }
  print_message("largest error %.5f ulp, at %a; checksum 0x%016llx\n", all.error, (double)all.at,
                (unsigned long long)all.checksum);
  assert_true(all.error <= limit);
  assert_int_equal(all.wrong_special, 0);
  assert_int_equal(all.wrong_positive, 0);
  assert_true(all.checksum == LOG1P_CHECKSUM);
}

int main(void) {
  if (!runs_here())
    return EXIT_SKIPPED;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_float)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
