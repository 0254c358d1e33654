/*
 * Division: whatever route the kernels take, the bits of IEEE division for tens of
 * millions of pairs, among them those where reciprocals and corrections go wrong:
 * quotients next to a rounding boundary, subnormal and overflowing results, factors
 * beside powers of 2, and values that are not finite.
 */
#include "expect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 4000, LENGTH = 150, ROUNDS = 2 };

/* A pair for each entry: the factor comes first, and is one for the whole row. */
typedef struct family {
  const char *name;
  double (*factor)(csrn_dtype type, uint64_t *seed);
  double (*value)(csrn_dtype type, double factor, uint64_t *seed);
} family;

static double any_bits(csrn_dtype type, uint64_t *seed) {
  double x[1];
  sample_value(type, x, 0, SAMPLE_WILD, seed);
  return load_f64(type, x, 0);
}

static double any_value(csrn_dtype type, double factor, uint64_t *seed) {
  (void)factor;
  return any_bits(type, seed);
}

static double count(csrn_dtype type, double factor, uint64_t *seed) {
  (void)type;
  (void)factor;
  return (double)random_below(seed, random_below(seed, 4) ? 100 : 1 << 24);
}

/* What normalization divides by: a ratio of totals. */
static double ratio(csrn_dtype type, uint64_t *seed) {
  double total = (double)(1 + random_below(seed, 100000)), target = (double)(1 + random_below(seed, 20000));
  return type == CSRN_F32 ? (double)((float)total / (float)target) : total / target;
}

static int digits_of(csrn_dtype type) {
  return type == CSRN_F32 ? 24 : 53;
}

static double random_significand(csrn_dtype type, uint64_t *seed) {
  int64_t top = INT64_C(1) << (digits_of(type) - 1);
  return (double)(top + random_below(seed, top));
}

static double any_significand(csrn_dtype type, uint64_t *seed) {
  return random_significand(type, seed) * 0x1p-10;
}

/* x such that x / factor lies as near as can be to the middle of two neighbours: the
 * middle q + 1/2 has one digit more than the type; x is the rounded product. */
static double near_a_boundary(csrn_dtype type, double factor, uint64_t *seed) {
  double q = random_significand(type, seed);
  double x = type == CSRN_F32 ? (double)(float)((q + 0.5) * factor) : fma(q, factor, 0.5 * factor);
  int64_t step = random_below(seed, 3) - 1;
  return type == CSRN_F32 ? (double)nextafterf((float)x, step > 0   ? INFINITY
                                                         : step < 0 ? 0.0f
                                                                    : (float)x)
                          : nextafter(x, step > 0   ? INFINITY
                                         : step < 0 ? 0.0
                                                    : x);
}

/* Powers of 2 and their neighbours by a few units, over the whole range. */
static double beside_a_power_of_2(csrn_dtype type, uint64_t *seed) {
  const int64_t range = type == CSRN_F32 ? 149 : 1074;
  double x = ldexp(1.0, (int)(random_below(seed, 2 * range) - range));
  int64_t steps = random_below(seed, 7) - 3;
  for (; steps != 0; steps -= steps > 0 ? 1 : -1)
    x = type == CSRN_F32 ? (double)nextafterf((float)x, steps > 0 ? INFINITY : 0.0f)
                         : nextafter(x, steps > 0 ? INFINITY : 0.0);
  return random_bits(seed) & 1 ? x : -x;
}

/* x so that x / factor is near `exponent`: where results become subnormal or overflow. */
static double aimed_at(csrn_dtype type, double factor, int exponent, uint64_t *seed) {
  double q = ldexp(random_significand(type, seed), exponent - digits_of(type) - (int)random_below(seed, 4));
  double x = q * factor;
  return type == CSRN_F32 ? (double)(float)x : x;
}

static double subnormal_result(csrn_dtype type, double factor, uint64_t *seed) {
  int lowest = type == CSRN_F32 ? -126 : -1022, digits = digits_of(type);
  return aimed_at(type, factor, lowest + 3 - (int)random_below(seed, digits + 4), seed);
}

static double overflowing_result(csrn_dtype type, double factor, uint64_t *seed) {
  return aimed_at(type, factor, (type == CSRN_F32 ? 128 : 1024) + 2, seed);
}

static double above_one(csrn_dtype type, uint64_t *seed) {
  return random_significand(type, seed) * ldexp(1.0, (int)random_below(seed, 40) - digits_of(type));
}

static const family families[] = {
    {"any bits", any_bits, any_value},
    {"counts over ratios", ratio, count},
    {"counts over any bits", any_bits, count},
    {"boundaries over ratios", ratio, near_a_boundary},
    {"boundaries over significands", any_significand, near_a_boundary},
    {"any bits beside powers of 2", beside_a_power_of_2, any_value},
    {"boundaries beside powers of 2", beside_a_power_of_2, near_a_boundary},
    {"subnormal results", above_one, subnormal_result},
    {"subnormal results, any factor", any_bits, subnormal_result},
    {"overflow", above_one, overflowing_result},
    {"overflow, any factor", any_bits, overflowing_result},
};

/* A matrix of one family, and its factors as float64 (exact in `type`). */
static sample make_family(const family *f, csrn_dtype type, csrn_dtype data_type, uint64_t seed,
                          double *factors) {
  static int64_t lengths[ROWS];
  for (int64_t i = 0; i < ROWS; i++)
    lengths[i] = i % (INT64_C(2) * LENGTH);
  sample_shape shape = {lengths, ROWS, 10, 0, 0};
  sample m = sample_make(&shape, data_type, SAMPLE_LOW, seed);
  for (int64_t i = 0; i < ROWS; i++) {
    factors[i] = f->factor(type, &seed);
    for (int64_t j = m.indptr[i]; j < m.indptr[i + 1]; j++)
      store_f64(data_type, m.data, j, f->value(type, factors[i], &seed));
  }
  return m;
}

static void expect_family(const family *f, csrn_dtype type, uint64_t seed) {
  double *factors = host_array(ROWS, sizeof *factors);
  void *typed = host_array(ROWS, sizeof(double));
  sample m = make_family(f, type, type, seed, factors);
  for (int64_t i = 0; i < ROWS; i++)
    store_f64(type, typed, i, factors[i]);
  layout how = {CSRN_I32, CSRN_I32, seed % 2 == 0};
  expect_axis_scale(&m, how, CSRN_PER_ROW, CSRN_DIVIDE, typed, type, CSRN_ZERO_IEEE, type);
  expect_axis_scale(&m, how, CSRN_PER_ROW, CSRN_DIVIDE, typed, type, CSRN_ZERO_AS_ONE, type);
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  expect_normalize_with(&m, how, factors, 1.0, &options, type); /* the factor is the total */
  expect_normalize_with(&m, how, factors, type == CSRN_F32 ? 0.1f : 0.1, &options, type);
  host_release();
}

static void every_family(csrn_dtype type) {
  for (size_t f = 0; f < COUNT(families); f++) {
    print_message("%s\n", families[f].name);
    for (uint64_t seed = 0; seed < ROUNDS; seed++)
      expect_family(&families[f], type, 251 + seed);
  }
}

static void float32_pairs(void **state) {
  (void)state;
  every_family(CSRN_F32);
}

static void float64_pairs(void **state) {
  (void)state;
  every_family(CSRN_F64);
}

/* Every count up to 65,535 by many factors, from the types that hold counts. */
static void counts_of_every_type(void **state) {
  (void)state;
  const int64_t length = 1 << 16, n = 40;
  int64_t *lengths = host_array(n, sizeof *lengths);
  float *factors = host_array(n, sizeof *factors);
  uint64_t seed = 252;
  for (int64_t i = 0; i < n; i++) {
    lengths[i] = length;
    factors[i] = (float)ratio(CSRN_F32, &seed);
  }
  sample_shape shape = {lengths, n, 10, 0, 0};
  for (int type = 0; type < N_DATA_TYPES; type++) {
    sample m = sample_make(&shape, data_types[type], SAMPLE_LOW, 252);
    for (int64_t j = 0; j < m.nnz; j++)
      store_int(data_types[type], m.data, j, data_types[type] == CSRN_U8 ? j % 256 : j % length);
    for (int out = CSRN_F32; out <= CSRN_F64; out++)
      expect_axis_scale(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_AS_ONE,
                        (csrn_dtype)out);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {TEST(float32_pairs), TEST(float64_pairs), TEST(counts_of_every_type)};
  return fixture_run(argc, argv, "division", tests, COUNT(tests));
}
