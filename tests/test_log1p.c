/*
 * log1p: at most 1 ulp from the true value, special values, bases, and the same value
 * wherever in a row it stands. Every float32 is tried in test_log1p_every_float.c.
 */
#include "expect.h"

#include <float.h>
#include <math.h>

static void log1p_of(csrn_dtype type, double x, double base, double expected) {
  double value[1], wanted[1];
  store_f64(type, value, 0, x);
  store_f64(type, wanted, 0, expected);
  library_log1p(type, value, 1, base);
  expect_values(type, value, wanted, 1, "log1p");
  buffers_release();
}

static void special_values(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64};
  for (size_t t = 0; t < COUNT(types); t++) {
    log1p_of(types[t], 0.0, 0.0, 0.0);
    log1p_of(types[t], -0.0, 0.0, -0.0);
    log1p_of(types[t], -1.0, 0.0, -INFINITY);
    log1p_of(types[t], nextafter(-1.0, -2.0), 0.0, types[t] == CSRN_F64 ? NAN : -INFINITY);
    log1p_of(types[t], -2.0, 0.0, NAN);
    log1p_of(types[t], -INFINITY, 0.0, NAN);
    log1p_of(types[t], INFINITY, 0.0, INFINITY);
    log1p_of(types[t], NAN, 0.0, NAN);
    log1p_of(types[t], -1.0, 2.0, -INFINITY);
    log1p_of(types[t], INFINITY, 10.0, INFINITY);
    log1p_of(types[t], INFINITY, 0.5, -INFINITY);
    log1p_of(types[t], -3.0, 10.0, NAN);
    log1p_of(types[t], -0.0, 10.0, -0.0);
  }
  log1p_of(CSRN_F32, (double)nextafterf(-1.0f, -2.0f), 0.0, NAN);
}

/* log1p(x) rounds to x where x is tiny; flush-to-zero would lose the subnormals. */
static void tiny_values_stay(void **state) {
  (void)state;
  const double f32[] = {0x1p-149, -0x1p-149, 0x1p-127, -0x1p-126, 0x1.8p-130, 0x1p-40, -0x1p-40};
  const double f64[] = {0x1p-1074, -0x1p-1074, 0x1p-1023, -0x1p-1022, 0x1.8p-1030, 0x1p-100, -0x1p-100};
  for (size_t i = 0; i < COUNT(f32); i++) {
    log1p_of(CSRN_F32, f32[i], 0.0, f32[i]);
    log1p_of(CSRN_F64, f64[i], 0.0, f64[i]);
  }
}

/* A matrix of one long row with the values of f at 0 .. n-1. */
static sample row_of(csrn_dtype type, double (*f)(int64_t i, uint64_t *seed), int64_t n) {
  sample_shape shape = {&n, 1, 1, 0, 0};
  sample m = sample_make(&shape, type, SAMPLE_LOW, 121);
  uint64_t seed = 122;
  for (int64_t i = 0; i < n; i++)
    store_f64(type, m.data, i, f(i, &seed));
  return m;
}

static double near_minus_one(int64_t i, uint64_t *seed) {
  return -1.0 + ldexp(1.0 + random_unit(seed), -(int)(i % 60));
}

static double near_zero(int64_t i, uint64_t *seed) {
  return (i & 1 ? -1.0 : 1.0) * ldexp(1.0 + random_unit(seed), -1 - (int)(i / 2 % 60));
}

static double large(int64_t i, uint64_t *seed) {
  return ldexp(1.0 + random_unit(seed), (int)(i % 1024));
}

/* 1 + x close to a power of 2 or to sqrt(2) times one, where implementations switch. */
static double near_powers(int64_t i, uint64_t *seed) {
  double u = ldexp(i & 1 ? 1.4142135623730951 : 1.0, (int)(i / 2 % 64));
  return u * (1.0 + (random_unit(seed) - 0.5) * ldexp(1.0, -(int)random_below(seed, 50))) - 1.0;
}

static double ordinary(int64_t i, uint64_t *seed) {
  return (double)(i % 97) * random_unit(seed) * 10.0;
}

static double fractions_of_counts(int64_t i, uint64_t *seed) {
  return (double)(i % 64) / (0.01 + random_unit(seed) * 20.0);
}

static void at_most_one_ulp(void **state) {
  (void)state;
  double (*const families[])(int64_t, uint64_t *) = {near_minus_one, near_zero, large,
                                                     near_powers,    ordinary,  fractions_of_counts};
  for (size_t f = 0; f < COUNT(families); f++) {
    sample single = row_of(CSRN_F32, families[f], 200000), wide = row_of(CSRN_F64, families[f], 200000);
    expect_log1p(&single, LAYOUT_IN_PLACE, 0.0, CSRN_F32);
    expect_log1p(&wide, LAYOUT_IN_PLACE, 0.0, CSRN_F64);
  }
}

static void any_bits(void **state) {
  (void)state;
  for (int out = CSRN_F32; out <= CSRN_F64; out++)
    for (int type = 0; type < N_DATA_TYPES; type++) {
      sample_shape shape = random_shape(500, 200, 5, 9);
      sample m = sample_make(&shape, data_types[type], SAMPLE_WILD, 123);
      expect_log1p(&m, LAYOUT_DEFAULT, 0.0, (csrn_dtype)out);
      if (can_be_in_place(data_types[type], (csrn_dtype)out))
        expect_log1p(&m, LAYOUT_IN_PLACE, 0.0, (csrn_dtype)out);
    }
}

static void bases(void **state) {
  (void)state;
  const double base[] = {2.0, 10.0, 0.5, 2.718281828459045, 1.0000001, 1e300, 0x1p-1074};
  for (size_t b = 0; b < COUNT(base); b++)
    for (int out = CSRN_F32; out <= CSRN_F64; out++)
      for (int kind = SAMPLE_COUNTS; kind <= SAMPLE_WILD; kind += 2) {
        sample_shape shape = boundary_shape(1100, 5);
        sample m = sample_make(&shape, CSRN_F32, (sample_values)kind, 124);
        expect_log1p(&m, LAYOUT_DEFAULT, base[b], (csrn_dtype)out);
      }
}

static void every_length_and_placement(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int out = CSRN_F32; out <= CSRN_F64; out++)
      for (int64_t n = 0; n < 70; n++) {
        buffers_place(where);
        sample_shape shape = {&n, 1, 5, 0, 0};
        sample m = sample_make(&shape, n % 2 ? CSRN_F32 : CSRN_I64, SAMPLE_COUNTS, (uint64_t)n);
        expect_log1p(&m, (layout){CSRN_I32, CSRN_I32, can_be_in_place(m.type, (csrn_dtype)out)},
                     n % 3 ? 0.0 : 2.0, (csrn_dtype)out);
        host_release();
      }
}

/* Integers beyond the output's precision are rounded to it first. */
static void integers_are_converted_first(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3};
  int64_t data[] = {(INT64_C(1) << 24) + 1, (INT64_C(1) << 53) + 1, INT64_MAX};
  sample m = {1, 1, 3, (int64_t *)indptr, host_array(3, 8), data, CSRN_I64};
  expect_log1p(&m, LAYOUT_DEFAULT, 0.0, CSRN_F32);
  expect_log1p(&m, LAYOUT_IN_PLACE, 0.0, CSRN_F64);
}

static void needs_no_indices(void **state) {
  (void)state;
  sample_shape shape = random_shape(40, 30, 10, 6);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 125);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  A.indices = NULL;
  A.indices_type = CSRN_NONE;
  expect_ok(csrn_log1p(test.ctx, &A, 0.0, A.data, CSRN_F32));
  float *got = host_array(m.nnz, sizeof *got);
  fetch(got, A.data, (size_t)m.nnz * sizeof *got);
  for (int64_t j = 0; j < m.nnz; j++)
    assert_true(oracle_log1p_error_f32(((float *)m.data)[j], got[j]) <= 1.0);
}

/* The measure itself: an error of one ulp of a true value is seen as one. */
static void errors_are_measured(void **state) {
  (void)state;
  float right = (float)log1p(3.0), next = nextafterf(right, 9.0f), later = nextafterf(next, 9.0f);
  assert_true(oracle_log1p_error_f32(3.0f, right) <= 0.5);
  assert_true(oracle_log1p_error_f32(3.0f, later) > 1.0);
  assert_true(oracle_log1p_error_f32(0x1p-149f, 0.0f) >= 1.0 - 1e-9);
  assert_true(oracle_log1p_error_f32(-2.0f, 0.0f) > 1.0);
  assert_true(oracle_log1p_error_f64(3.0, nextafter(nextafter(log1p(3.0), 9), 9)) > 1.0);
  assert_true(oracle_log1p_error_f64(3.0, log1p(3.0)) <= 1.0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(special_values),
      TEST(tiny_values_stay),
      TEST(at_most_one_ulp),
      TEST(any_bits),
      TEST(bases),
      TEST(every_length_and_placement),
      TEST(integers_are_converted_first),
      TEST(needs_no_indices),
      TEST(errors_are_measured),
  };
  return fixture_run(argc, argv, "log1p", tests, COUNT(tests));
}
