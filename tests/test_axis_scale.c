/*
 * Scaling of rows and columns: one IEEE operation per value, in float64 as soon as the
 * factor or the result is float64, for every type, in place and out of place.
 */
#include "expect.h"

#include <math.h>
#include <string.h>

static void hand_checked(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 2, 3};
  const int64_t indices[] = {0, 1, 1};
  const double values[] = {1, 3, 5};
  const float factors[] = {3.0f, 7.0f, 2.0f}, columns[] = {2.0f, 10.0f};
  sample m = sample_literal(3, 2, indptr, indices, CSRN_U8, values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  float *out = place_output(3, sizeof *out), got[3];
  const float *rows = place_input(factors, 3, sizeof *factors),
              *cols = place_input(columns, 2, sizeof *columns);
  expect_ok(csrn_axis_scale(test.ctx, &A, CSRN_PER_ROW, CSRN_DIVIDE, rows, CSRN_F32, CSRN_ZERO_IEEE, out,
                            CSRN_F32));
  fetch(got, out, sizeof got);
  const float divided[] = {1.0f / 3.0f, 1.0f, 2.5f}, multiplied[] = {2.0f, 30.0f, 50.0f};
  expect_values(CSRN_F32, got, divided, 3, "divided rows");
  expect_ok(csrn_axis_scale(test.ctx, &A, CSRN_PER_COLUMN, CSRN_MULTIPLY, cols, CSRN_F32, CSRN_ZERO_IEEE, out,
                            CSRN_F32));
  fetch(got, out, sizeof got);
  expect_values(CSRN_F32, got, multiplied, 3, "multiplied columns");
}

/* Factors of every kind: ordinary, powers of 2 and beside them, zeros, subnormals, huge,
 * negative, NaN, Inf. */
static void *make_factors(csrn_dtype type, int64_t n, uint64_t seed) {
  static const double special[] = {1.0,  2.0,  0.5,      0x1p-149,  0x1.fffffep-1, 0x1.000002p0,   3.0,
                                   0.0,  -0.0, 0x1p-126, 0x1p127,   0x1p-1060,     0x1.fffffep127, -7.0,
                                   10.0, NAN,  INFINITY, -INFINITY, 0x1p-127,      1e300,          0.1};
  void *factors = host_array(n, csrn_dtype_size(type));
  for (int64_t i = 0; i < n; i++) {
    if (random_below(&seed, 3) == 0)
      store_f64(type, factors, i, special[random_below(&seed, COUNT(special))]);
    else
      sample_value(type, factors, i, i % 2 ? SAMPLE_REALS : SAMPLE_FINITE, &seed);
  }
  return factors;
}

typedef struct choice {
  csrn_axis axis;
  csrn_scale_op op;
  csrn_zero_policy zeros;
  csrn_dtype factors_type, out_type;
} choice;

enum { N_CHOICES = 32 };

static choice make_choice(int bits) {
  return (choice){bits & 1 ? CSRN_PER_COLUMN : CSRN_PER_ROW, bits & 2 ? CSRN_DIVIDE : CSRN_MULTIPLY,
                  bits & 4 ? CSRN_ZERO_AS_ONE : CSRN_ZERO_IEEE, bits & 8 ? CSRN_F64 : CSRN_F32,
                  bits & 16 ? CSRN_F64 : CSRN_F32};
}

static void expect_choice(const sample *m, layout how, int bits, uint64_t seed) {
  choice c = make_choice(bits);
  int64_t n = c.axis == CSRN_PER_ROW ? m->n_rows : m->n_cols;
  void *factors = make_factors(c.factors_type, n, seed);
  expect_axis_scale(m, how, c.axis, c.op, factors, c.factors_type, c.zeros, c.out_type);
  if (can_be_in_place(m->type, c.out_type)) {
    how.in_place = true;
    expect_axis_scale(m, how, c.axis, c.op, factors, c.factors_type, c.zeros, c.out_type);
  }
}

static void every_type_and_choice(void **state) {
  (void)state;
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int bits = 0; bits < N_CHOICES; bits++)
      for (int kind = SAMPLE_COUNTS; kind <= SAMPLE_WILD; kind += 2) {
        sample_shape shape = boundary_shape(1100, 70);
        sample m = sample_make(&shape, data_types[type], (sample_values)kind, 61 + (uint64_t)bits);
        expect_choice(&m, LAYOUT_DEFAULT, bits, (uint64_t)bits);
        host_release();
      }
}

static void every_placement_and_wild_values(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int type = 0; type < N_DATA_TYPES; type++)
      for (int bits = 0; bits < N_CHOICES; bits++) {
        buffers_place(where);
        sample_shape shape = boundary_shape(140, 40);
        sample m = sample_make(&shape, data_types[type], SAMPLE_WILD, 62);
        expect_choice(&m, LAYOUT(I32, I64), bits, 7);
        host_release();
      }
}

static void one_row_of_every_length(void **state) {
  (void)state;
  buffers_place(PLACE_PAGE_END);
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int64_t n = 0; n < 70; n++)
      for (int bits = 2; bits < N_CHOICES; bits += 8) {
        sample_shape shape = {&n, 1, 3, 0, 0};
        sample m = sample_make(&shape, data_types[type], SAMPLE_FINITE, (uint64_t)n);
        expect_choice(&m, LAYOUT(U8, U8), bits, 13);
        host_release();
      }
}

static void long_rows(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64, CSRN_U16, CSRN_I64};
  for (size_t type = 0; type < COUNT(types); type++)
    for (int bits = 0; bits < N_CHOICES; bits += 5) {
      sample_shape shape = boundary_shape(50000, 900);
      sample m = sample_make(&shape, types[type], SAMPLE_POSITIVE, 63);
      expect_choice(&m, LAYOUT_DEFAULT, bits, 14);
      host_release();
    }
}

static void scale_one(double value, double factor, csrn_scale_op op, csrn_zero_policy zeros,
                      double expected) {
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64};
  const int64_t indptr[] = {0, 1}, indices[] = {0};
  for (size_t t = 0; t < COUNT(types); t++)
    for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
      sample m = sample_literal(1, 1, indptr, indices, types[t], &value);
      csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
      double one[1], got[1], wanted[1];
      store_f64(types[t], one, 0, factor);
      store_f64(types[t], wanted, 0, expected);
      const void *factors = place_input(one, 1, csrn_dtype_size(types[t]));
      void *out = place_output(1, csrn_dtype_size(types[t]));
      expect_ok(csrn_axis_scale(test.ctx, &A, axis, op, factors, types[t], zeros, out, types[t]));
      fetch(got, out, csrn_dtype_size(types[t]));
      expect_values(types[t], got, wanted, 1, "scaled value");
      buffers_release();
    }
}

static void zero_factors(void **state) {
  (void)state;
  scale_one(3.0, 0.0, CSRN_DIVIDE, CSRN_ZERO_IEEE, INFINITY);
  scale_one(3.0, -0.0, CSRN_DIVIDE, CSRN_ZERO_IEEE, -INFINITY);
  scale_one(0.0, 0.0, CSRN_DIVIDE, CSRN_ZERO_IEEE, NAN);
  scale_one(3.0, 0.0, CSRN_DIVIDE, CSRN_ZERO_AS_ONE, 3.0);
  scale_one(3.0, -0.0, CSRN_DIVIDE, CSRN_ZERO_AS_ONE, 3.0);
  scale_one(-0.0, 0.0, CSRN_DIVIDE, CSRN_ZERO_AS_ONE, -0.0);
}

/* The policy is one of division: a product with zero is zero. */
static void zero_policy_leaves_products_alone(void **state) {
  (void)state;
  scale_one(3.0, 0.0, CSRN_MULTIPLY, CSRN_ZERO_AS_ONE, 0.0);
  scale_one(3.0, -0.0, CSRN_MULTIPLY, CSRN_ZERO_AS_ONE, -0.0);
  scale_one(INFINITY, 0.0, CSRN_MULTIPLY, CSRN_ZERO_AS_ONE, NAN);
}

static void signs_and_specials(void **state) {
  (void)state;
  scale_one(-0.0, 5.0, CSRN_DIVIDE, CSRN_ZERO_IEEE, -0.0);
  scale_one(0.0, -5.0, CSRN_DIVIDE, CSRN_ZERO_IEEE, -0.0);
  scale_one(1.0, INFINITY, CSRN_DIVIDE, CSRN_ZERO_IEEE, 0.0);
  scale_one(-1.0, INFINITY, CSRN_DIVIDE, CSRN_ZERO_IEEE, -0.0);
  scale_one(INFINITY, INFINITY, CSRN_DIVIDE, CSRN_ZERO_IEEE, NAN);
  scale_one(INFINITY, -2.0, CSRN_DIVIDE, CSRN_ZERO_IEEE, -INFINITY);
  scale_one(NAN, 2.0, CSRN_DIVIDE, CSRN_ZERO_IEEE, NAN);
  scale_one(2.0, NAN, CSRN_MULTIPLY, CSRN_ZERO_IEEE, NAN);
}

/* A float64 factor makes the operation one in float64, rounded once more at the end. */
static void a_float64_factor_divides_in_float64(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1}, indices[] = {0};
  const double value = 16777216.0, factor = 1.00000005; /* rounds to 1 in float32 */
  sample m = sample_literal(1, 1, indptr, indices, CSRN_F32, &value);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  float *out = place_output(1, sizeof *out), got;
  const double *wide = place_input(&factor, 1, sizeof factor);
  expect_ok(csrn_axis_scale(test.ctx, &A, CSRN_PER_ROW, CSRN_DIVIDE, wide, CSRN_F64, CSRN_ZERO_IEEE, out,
                            CSRN_F32));
  fetch(&got, out, sizeof got);
  assert_true((float)factor == 1.0f);
  assert_true(got == (float)(value / factor));
  assert_true(got != 16777216.0f);
}

static void sizes_of_zero(void **state) {
  (void)state;
  const int64_t none[] = {0}, empty[] = {0, 0, 0, 0};
  const float factors[] = {0.0f, NAN, 1.0f, 2.0f};
  sample no_rows = sample_literal(0, 4, none, NULL, CSRN_F32, NULL);
  sample no_columns = sample_literal(3, 0, empty, NULL, CSRN_F32, NULL);
  sample no_values = sample_literal(3, 4, empty, NULL, CSRN_I32, NULL);
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++) {
    buffers_place(where);
    for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
      expect_axis_scale(&no_rows, LAYOUT_IN_PLACE, axis, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_IEEE,
                        CSRN_F32);
      expect_axis_scale(&no_columns, LAYOUT_DEFAULT, axis, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_IEEE,
                        CSRN_F32);
      expect_axis_scale(&no_values, LAYOUT_DEFAULT, axis, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_IEEE,
                        CSRN_F64);
    }
  }
}

/* Rows never look at indices. */
static void rows_need_no_indices(void **state) {
  (void)state;
  sample_shape shape = random_shape(40, 30, 10, 6);
  sample m = sample_make(&shape, CSRN_I32, SAMPLE_COUNTS, 64);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  float *factors = make_factors(CSRN_F32, 40, 3), *got = host_array(m.nnz, 4),
        *expected = host_array(m.nnz, 4);
  const float *placed = place_input(factors, 40, sizeof *factors);
  A.indices = NULL;
  A.indices_type = CSRN_NONE;
  expect_ok(csrn_axis_scale(test.ctx, &A, CSRN_PER_ROW, CSRN_DIVIDE, placed, CSRN_F32, CSRN_ZERO_AS_ONE,
                            A.data, CSRN_F32));
  fetch(got, A.data, (size_t)m.nnz * 4);
  oracle_scale(&m, CSRN_PER_ROW, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_AS_ONE, expected, CSRN_F32);
  expect_values(CSRN_F32, got, expected, m.nnz, "scaled without indices");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(hand_checked),
      TEST(every_type_and_choice),
      TEST(every_placement_and_wild_values),
      TEST(one_row_of_every_length),
      TEST(long_rows),
      TEST(zero_factors),
      TEST(zero_policy_leaves_products_alone),
      TEST(signs_and_specials),
      TEST(a_float64_factor_divides_in_float64),
      TEST(sizes_of_zero),
      TEST(rows_need_no_indices),
  };
  return fixture_run(argc, argv, "axis_scale", tests, COUNT(tests));
}
