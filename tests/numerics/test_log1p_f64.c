/*
 * csrn_log1p_f64, of which not every value can be tried: stored cases with their true
 * logarithms (the ends of the range, the edges of the algorithm, its largest errors), many
 * random arguments against long double where that is wider, and a checksum that pins the
 * bits for every instruction set. docs/log1p.md bounds the error by 0.96 ulp.
 */
#include "log1p.h"
#include "log1p_cases.h"
#include "log1p_reference.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { BLOCK = 1 << 12 };

#define CHECKSUM 0xe9ac7925fe65521dU

static const double limit = 0.96;

/* Argument i of a sequence: every fourth has any bits, one lies in (-1, 1.75), one has an
 * exponent near 0, one lies where the error is largest. */
static double argument(uint64_t i) {
  uint64_t bits = mixed_bits(i * 0x9e3779b97f4a7c15U);
  double fraction = (double)(bits >> 11) * 0x1p-53;
  switch (i % 4) {
  case 0:
    return csrn_from_bits_f64(bits);
  case 1:
    return fraction * 2.75 - 1;
  case 2:
    return csrn_from_bits_f64((bits & 0x800fffffffffffffU) | (1003 + mixed_bits(bits) % 30) << 52);
  default:
    return (bits & 1) ? 0.4 + 0.05 * fraction : -0.37 + 0.17 * fraction;
  }
}

static void assert_same_special(double x, double expected) {
  double y = csrn_log1p_f64(x);
  if (isnan(expected))
    assert_true(isnan(y));
  else
    assert_true(csrn_bits_f64(y) == csrn_bits_f64(expected));
}

static void test_special_values(void **state) {
  (void)state;
  assert_same_special(0.0, 0.0);
  assert_same_special(-0.0, -0.0);
  assert_same_special(0x1p-1074, 0x1p-1074);
  assert_same_special(-0x1p-1074, -0x1p-1074);
  assert_same_special(-DBL_MIN, -DBL_MIN);
  assert_same_special(-1, -INFINITY);
  assert_same_special(nextafter(-1, -2), NAN);
  assert_same_special(-2, NAN);
  assert_same_special(-DBL_MAX, NAN);
  assert_same_special(-INFINITY, NAN);
  assert_same_special(INFINITY, INFINITY);
  assert_same_special(NAN, NAN);
  assert_same_special(-NAN, NAN);
}

static void test_stored_cases(void **state) {
  (void)state;
  double largest = 0, at = 0;
  for (size_t i = 0; i < sizeof log1p_cases / sizeof log1p_cases[0]; i++) {
    double x = log1p_cases[i].x;
    double error = error_in_ulp(csrn_log1p_f64(x), log1p_cases[i].high, log1p_cases[i].low, 53, -1074);
    if (!(error <= largest)) {
      largest = error;
      at = x;
    }
  }
  print_message("largest error %.5f ulp, at %a\n", largest, at);
  assert_true(largest <= limit);
  assert_true(largest > 0.8); /* the cases are hard, and an error is seen */
}

static void test_random_arguments(void **state) {
  (void)state;
#if LDBL_MANT_DIG < 64
  skip();
#else
  const int64_t n_blocks = 10000;
  double largest = 0;
#pragma omp parallel for reduction(max : largest) schedule(dynamic, 16)
  for (int64_t block = 0; block < n_blocks; block++) {
    for (int64_t i = block * BLOCK; i < (block + 1) * BLOCK; i++) {
      double x = argument((uint64_t)i);
      if (!(x > -1) || isinf(x))
        continue;
      long double y = log1pl(x);
      double error = error_in_ulp(csrn_log1p_f64(x), (double)y, (double)(y - (double)y), 53, -1074);
      largest = error <= largest ? largest : error;
    }
  }
  print_message("largest error %.5f ulp\n", largest);
  assert_true(largest <= limit);
#endif
}

static void test_bits(void **state) {
  (void)state;
  uint64_t checksum = 0;
  for (uint64_t block = 0; block < 1000; block++) {
    double x[BLOCK], y[BLOCK];
    for (uint64_t i = 0; i < BLOCK; i++)
      x[i] = argument(block * BLOCK + i);
    for (int i = 0; i < BLOCK; i++)
      y[i] = csrn_log1p_f64(x[i]);
    for (int i = 0; i < BLOCK; i++) {
      uint64_t result = isnan(y[i]) ? 0x7ff8000000000000U : csrn_bits_f64(y[i]);
      checksum += mixed_bits(csrn_bits_f64(x[i]) + mixed_bits(result));
    }
  }
  print_message("checksum 0x%016llx\n", (unsigned long long)checksum);
  assert_true(checksum == CHECKSUM);
}

int main(void) {
  if (!runs_here())
    return EXIT_SKIPPED;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_special_values),
      cmocka_unit_test(test_stored_cases),
      cmocka_unit_test(test_random_arguments),
      cmocka_unit_test(test_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
