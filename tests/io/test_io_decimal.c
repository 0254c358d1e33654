/*
 * Numbers as text: the fewest digits that read back as the same bits, for every kind of
 * float32 and float64.
 */
#include "decimal.h"
#include "io_fixture.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *of_float(float value) {
  static char text[CSRN_DECIMAL_LONGEST + 1];
  text[csrn_format_float(text, value)] = '\0';
  return text;
}

static const char *of_double(double value) {
  static char text[CSRN_DECIMAL_LONGEST + 1];
  text[csrn_format_double(text, value)] = '\0';
  return text;
}

static const char *of_integer(int64_t value) {
  static char text[CSRN_DECIMAL_LONGEST + 1];
  text[csrn_format_integer(text, value)] = '\0';
  return text;
}

static void test_known(void **state) {
  (void)state;
  assert_string_equal(of_float(0.0F), "0");
  assert_string_equal(of_float(-0.0F), "-0");
  assert_string_equal(of_float(1.0F), "1");
  assert_string_equal(of_float(-12.0F), "-12");
  assert_string_equal(of_float(0.1F), "0.1");
  assert_string_equal(of_float(-0.1F), "-0.1");
  assert_string_equal(of_float(0.84781390F), "0.8478139");
  assert_string_equal(of_float(1.0F / 3.0F), "0.33333334");
  assert_string_equal(of_float(999999.94F), "999999.94");
  assert_string_equal(of_float(16777216.0F), "16777216");
  assert_string_equal(of_float(1.5e-5F), "1.5e-05");
  assert_string_equal(of_float(INFINITY), "inf");
  assert_string_equal(of_float(-INFINITY), "-inf");
  assert_string_equal(of_double(0.1), "0.1");
  assert_string_equal(of_double(1.0 / 3.0), "0.3333333333333333");
  assert_string_equal(of_double(0.1 + 0.2), "0.30000000000000004");
  assert_string_equal(of_double(-DBL_MAX), "-1.7976931348623157e+308");
  assert_string_equal(of_integer(0), "0");
  assert_string_equal(of_integer(INT64_MAX), "9223372036854775807");
  assert_string_equal(of_integer(INT64_MIN), "-9223372036854775808");
}

static int significant_digits(const char *text) {
  int n = 0, zeros = 0;
  for (; *text && *text != 'e'; text++) {
    if (*text < '0' || *text > '9')
      continue;
    zeros = *text == '0' ? zeros + 1 : 0;
    n += n > 0 || *text != '0';
  }
  return n > zeros ? n - zeros : n;
}

/* Reads back, and one digit less would not. */
static void check_float(float value) {
  const char *text = of_float(value);
  float back = strtof(text, NULL);
  if (memcmp(&back, &value, sizeof value) != 0)
    fail_msg("%s is not %.9g", text, (double)value);
  const int digits = significant_digits(text);
  if (digits <= 6 || value == rintf(value))
    return;
  char fewer[64];
  snprintf(fewer, sizeof fewer, "%.*e", digits - 2, (double)value);
  if (strtof(fewer, NULL) == value)
    fail_msg("%s is longer than %s", text, fewer);
}

static void test_floats(void **state) {
  (void)state;
  uint64_t seed = 11;
  for (int i = 0; i < 200000; i++) {
    uint32_t bits = (uint32_t)io_random(&seed);
    float any, usual = (float)(io_random(&seed) % 1000 + 1) / (float)(io_random(&seed) % 100000 + 1);
    memcpy(&any, &bits, sizeof any);
    if (!isnan(any))
      check_float(any);
    check_float(usual);
    check_float(-usual);
    check_float(log1pf(usual));
  }
}

/* Around every power of two and of ten in reach of the quick way, where neighbours differ in distance. */
static void test_edges(void **state) {
  (void)state;
  float edges[300];
  size_t n = 0;
  for (int e = -149; e <= 127; e++)
    edges[n++] = ldexpf(1.0F, e);
  for (int e = -7; e <= 9; e++)
    edges[n++] = (float)pow(10.0, e);
  for (size_t i = 0; i < n; i++) {
    float below = edges[i], above = edges[i];
    for (int k = 0; k < 100; k++) {
      check_float(below);
      check_float(above);
      below = nextafterf(below, 0.0F);
      above = nextafterf(above, FLT_MAX);
    }
  }
}

static void test_doubles(void **state) {
  (void)state;
  uint64_t seed = 13;
  for (int i = 0; i < 100000; i++) {
    uint64_t bits = io_random(&seed);
    double values[3], back;
    memcpy(&values[0], &bits, sizeof bits);
    values[1] = (double)(int64_t)(bits % 2000000) / 1000.0 - 1000.0;
    values[2] = (double)(int64_t)(bits >> 32) - 2147483648.0;
    for (int k = 0; k < 3; k++) {
      if (isnan(values[k]))
        continue;
      back = strtod(of_double(values[k]), NULL);
      assert_memory_equal(&back, &values[k], sizeof back);
    }
  }
}

static void test_integers(void **state) {
  (void)state;
  uint64_t seed = 17;
  for (int i = 0; i < 100000; i++) {
    const int64_t value = (int64_t)io_random(&seed) >> (io_random(&seed) % 64);
    char expected[32];
    snprintf(expected, sizeof expected, "%" PRId64, value);
    assert_string_equal(of_integer(value), expected);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_known),   cmocka_unit_test(test_floats),   cmocka_unit_test(test_edges),
      cmocka_unit_test(test_doubles), cmocka_unit_test(test_integers),
  };
  return cmocka_run_group_tests_name("decimal", tests, NULL, NULL);
}
