/*
 * Column sums of reals: exact where the contract says so, within its quanta elsewhere,
 * the same bits for every order of the entries, and float64 addition's answer for NaN,
 * Inf and overflow.
 */
#include "expect.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *column_sums(const sample *m, const uint8_t *excluded) {
  return library_totals(m, CSRN_PER_COLUMN, excluded);
}

/* One column that holds `values`, one in each row. */
static sample column_of(csrn_dtype type, const double *values, int64_t n) {
  int64_t *indptr = host_array(n + 1, sizeof *indptr);
  for (int64_t i = 0; i <= n; i++)
    indptr[i] = i;
  return sample_literal(n, 1, indptr, NULL, type, values);
}

static void expect_column_sum(csrn_dtype type, const double *values, int64_t n, double expected) {
  sample m = column_of(type, values, n);
  double *got = column_sums(&m, NULL);
  expect_values(CSRN_F64, got, &expected, 1, "column sum");
  free(got);
}

static void hand_checked_columns(void **state) {
  (void)state;
  const double reals[] = {0.5, 0.25, -1.0}, counts[] = {3, 4, 5}, zeros[] = {-0.0, -0.0};
  expect_column_sum(CSRN_F32, reals, 3, -0.25);
  expect_column_sum(CSRN_F64, reals, 3, -0.25);
  expect_column_sum(CSRN_F32, counts, 3, 12.0);
  expect_column_sum(CSRN_F64, counts, 0, 0.0);
  expect_column_sum(CSRN_F64, zeros, 2, 0.0);
}

/* Counts are looked at several at a time: one other value among them, wherever it is. */
static void one_value_that_is_no_small_count(void **state) {
  (void)state;
  enum { N = 45 };
  const double others[] = {0.5, -0.0, -7.0, 0x1p31, -0x1p31, 0x1p31 - 128.0, 0x1p40, 3.75, INFINITY};
  for (size_t other = 0; other < COUNT(others); other++)
    for (int i = 0; i < N; i++) {
      double values[N], sum = others[other];
      for (int k = 0; k < N; k++) {
        values[k] = k == i ? others[other] : k + 1;
        sum += k == i ? 0 : k + 1;
      }
      expect_column_sum(CSRN_F32, values, N, sum);
    }
}

static void every_kind_on_every_real_type(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64};
  for (size_t type = 0; type < COUNT(types); type++)
    for (int kind = SAMPLE_LOW; kind <= SAMPLE_WILD; kind++) {
      sample_shape narrow = boundary_shape(9000, 3), wide = boundary_shape(9000, 5000);
      sample a = sample_make(&narrow, types[type], (sample_values)kind, 51);
      sample b = sample_make(&wide, types[type], (sample_values)kind, 52);
      expect_axis_sum(&a, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_F64);
      expect_axis_sum(&b, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_F64);
    }
}

static void columns_with_exclusion(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64};
  for (size_t type = 0; type < COUNT(types); type++)
    for (int kind = SAMPLE_LOW; kind <= SAMPLE_WILD; kind++) {
      sample_shape shape = boundary_shape(5000, 100);
      sample m = sample_make(&shape, types[type], (sample_values)kind, 53);
      uint8_t *excluded = host_array(m.n_rows, 1);
      for (int64_t i = 0; i < m.n_rows; i += 3)
        excluded[i] = 200;
      expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, excluded, CSRN_F64);
    }
}

/* ---- Order does not matter ------------------------------------------------ */

/* The same entries with the rows, and the entries within each row, in another order. */
static sample shuffled(const sample *m, uint64_t seed) {
  sample s = *m;
  size_t size = csrn_dtype_size(m->type);
  s.indptr = host_array(m->n_rows + 1, sizeof *s.indptr);
  s.indices = host_array(m->nnz, sizeof *s.indices);
  s.data = host_array(m->nnz, size);
  int64_t *order = host_array(m->n_rows, sizeof *order);
  for (int64_t i = 0; i < m->n_rows; i++)
    order[i] = i;
  int64_t at = 0;
  for (int64_t i = 0; i < m->n_rows; i++) {
    int64_t pick = i + random_below(&seed, m->n_rows - i), row = order[pick];
    order[pick] = order[i];
    int64_t begin = m->indptr[row], n = m->indptr[row + 1] - begin;
    int64_t turn = n ? random_below(&seed, n) : 0;
    for (int64_t k = 0; k < n; k++, at++) {
      int64_t from = begin + (n - 1 - (k + turn) % n); /* backwards, from somewhere */
      s.indices[at] = m->indices[from];
      memcpy((char *)s.data + (size_t)at * size, (char *)m->data + (size_t)from * size, size);
    }
    s.indptr[i + 1] = at;
  }
  return s;
}

static void any_order_gives_the_same_bits(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64};
  for (size_t type = 0; type < COUNT(types); type++)
    for (int kind = SAMPLE_COUNTS; kind <= SAMPLE_WILD; kind++)
      for (int64_t n_cols = 5; n_cols <= 500; n_cols *= 10) {
        sample_shape shape = random_shape(2000, 40, n_cols, 7);
        sample m = sample_make(&shape, types[type], (sample_values)kind, 54);
        double *first = column_sums(&m, NULL);
        for (uint64_t seed = 1; seed <= 3; seed++) {
          sample other = shuffled(&m, seed);
          double *again = column_sums(&other, NULL);
          expect_values(CSRN_F64, again, first, n_cols, "sums of shuffled entries");
          free(again);
        }
        free(first);
      }
}

/* ---- Exact ---------------------------------------------------------------- */

/* All float32 values down to 2^(E-39) lie on the finest quantum: nothing is lost. */
static void float32_near_the_largest_is_exact(void **state) {
  (void)state;
  const int tops[] = {-100, 0, 120};
  for (size_t t = 0; t < COUNT(tops); t++) {
    sample_shape shape = random_shape(3000, 30, 20, 8);
    sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 55);
    uint64_t seed = 56;
    for (int64_t j = 0; j < m.nnz; j++) {
      double x = ldexp(1.0 + random_unit(&seed), tops[t] - (int)random_below(&seed, 37));
      ((float *)m.data)[j] = (float)(random_bits(&seed) & 1 ? x : -x);
    }
    oracle_column *columns = host_array(m.n_cols, sizeof *columns);
    double *expected = host_array(m.n_cols, sizeof *expected), *got = column_sums(&m, NULL);
    oracle_column_sums(&m, NULL, columns);
    for (int64_t i = 0; i < m.n_cols; i++)
      expected[i] = exact_round(&columns[i].sum);
    expect_values(CSRN_F64, got, expected, m.n_cols, "exact column sums");
    free(got);
  }
}

/* Counts in float32 and float64, and huge integers whose columns stay below 2^62. */
static void integers_in_reals_are_exact(void **state) {
  (void)state;
  const double large[] = {0x1p59, 0x1p59, 1.0, 0x1p59, -0x1p59, -0x1p59, -0x1p59, 2.0};
  const double odd[] = {0x1p53 - 1, 0x1p53 - 1, 0x1p53 - 1, 3.0, -1.0};
  const double threshold[] = {0x1p61, 0x1p60, 0x1p59, 3.0}; /* rounds to 2^61 + 2^60 + 2^59 */
  expect_column_sum(CSRN_F64, large, COUNT(large), 3.0);
  expect_column_sum(CSRN_F32, large, COUNT(large), 3.0);
  expect_column_sum(CSRN_F64, odd, COUNT(odd), 0x1.8p54);
  expect_column_sum(CSRN_F64, threshold, COUNT(threshold), 0x1p61 + 0x1p60 + 0x1p59);
}

/* Cancellation that float64 addition gets wrong in some orders, and one value left. */
static void cancellation_is_exact(void **state) {
  (void)state;
  const double values[] = {1e6, 0.125, -1e6, 0x1p-20, 3e5, -3e5};
  expect_column_sum(CSRN_F64, values, COUNT(values), 0.125 + 0x1p-20);
  const double near[] = {0x1p30, 0x1p-25, -0x1p30};
  expect_column_sum(CSRN_F32, near, COUNT(near), 0x1p-25);
}

static void subnormals_are_exact(void **state) {
  (void)state;
  const double smallest[] = {0x1p-1074, 0x1p-1074, 0x1p-1074, -0x1p-1073};
  const double mixed[] = {0x1p-1022, -0x1p-1074, 0x1p-1030};
  const double single[] = {0x1p-149, 0x1p-149, 0x1p-126};
  expect_column_sum(CSRN_F64, smallest, COUNT(smallest), 0x1p-1074);
  expect_column_sum(CSRN_F64, mixed, COUNT(mixed), 0x1p-1022 - 0x1p-1074 + 0x1p-1030);
  expect_column_sum(CSRN_F32, single, COUNT(single), 0x1p-148 + 0x1p-126);
}

/* ---- The ends of the range ------------------------------------------------ */

static void nan_and_inf_as_float64_addition(void **state) {
  (void)state;
  const double with_nan[] = {1, NAN, 2}, plus[] = {INFINITY, 1, INFINITY}, minus[] = {1, -INFINITY};
  const double both[] = {INFINITY, 1, -INFINITY}, all[] = {INFINITY, NAN};
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64};
  for (size_t t = 0; t < COUNT(types); t++) {
    expect_column_sum(types[t], with_nan, COUNT(with_nan), NAN);
    expect_column_sum(types[t], plus, COUNT(plus), INFINITY);
    expect_column_sum(types[t], minus, COUNT(minus), -INFINITY);
    expect_column_sum(types[t], both, COUNT(both), NAN);
    expect_column_sum(types[t], all, COUNT(all), NAN);
  }
}

static void nan_and_inf_stay_in_their_column(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 4, 8};
  const int64_t indices[] = {0, 1, 2, 3, 0, 1, 2, 3};
  const double values[] = {NAN, INFINITY, 0.5, -INFINITY, 1, 1, 0.25, 7};
  const double expected[] = {NAN, INFINITY, 0.75, -INFINITY};
  sample m = sample_literal(2, 4, indptr, indices, CSRN_F32, values);
  double *got = column_sums(&m, NULL);
  expect_values(CSRN_F64, got, expected, 4, "column sums");
  free(got);
}

static void sums_beyond_float64_are_infinite(void **state) {
  (void)state;
  const double up[] = {DBL_MAX, DBL_MAX}, down[] = {-DBL_MAX, -DBL_MAX, 1.0};
  const double high[] = {FLT_MAX, FLT_MAX};
  expect_column_sum(CSRN_F64, up, 2, INFINITY);
  expect_column_sum(CSRN_F64, down, 3, -INFINITY);
  expect_column_sum(CSRN_F32, high, 2, 2.0 * (double)FLT_MAX);
}

/* Independent of the order means that no partial sum can overflow. */
static void a_sum_in_range_is_finite_in_every_order(void **state) {
  (void)state;
  const double first[] = {DBL_MAX, DBL_MAX, -DBL_MAX}, last[] = {DBL_MAX, -DBL_MAX, DBL_MAX};
  expect_column_sum(CSRN_F64, first, 3, DBL_MAX);
  expect_column_sum(CSRN_F64, last, 3, DBL_MAX);
}

/* A column far below the largest value of the matrix keeps the stated bound only. */
static void small_columns_beside_a_huge_one(void **state) {
  (void)state;
  sample_shape shape = random_shape(500, 20, 10, 9);
  sample m = sample_make(&shape, CSRN_F64, SAMPLE_REALS, 57);
  ((double *)m.data)[m.nnz / 2] = 1e200;
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_F64);
  ((double *)m.data)[m.nnz / 2] = 1e12;
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_F64);
}

/* Large enough for every thread to have a share and for private columns to be merged. */
static void many_rows_and_columns(void **state) {
  (void)state;
  const sample_values kinds[] = {SAMPLE_COUNTS, SAMPLE_REALS};
  for (size_t kind = 0; kind < COUNT(kinds); kind++) {
    sample_shape shape = random_shape(20000, 20, 3000, 10);
    sample m = sample_make(&shape, CSRN_F32, kinds[kind], 58);
    expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_F64);
  }
}

static void every_placement(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int kind = SAMPLE_COUNTS; kind <= SAMPLE_WILD; kind++) {
      buffers_place(where);
      sample_shape shape = boundary_shape(200, 33);
      sample m = sample_make(&shape, CSRN_F32, (sample_values)kind, 59);
      expect_axis_sum(&m, LAYOUT(I32, U8), CSRN_PER_COLUMN, NULL, CSRN_F64);
    }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(hand_checked_columns),
      TEST(one_value_that_is_no_small_count),
      TEST(every_kind_on_every_real_type),
      TEST(columns_with_exclusion),
      TEST(any_order_gives_the_same_bits),
      TEST(float32_near_the_largest_is_exact),
      TEST(integers_in_reals_are_exact),
      TEST(cancellation_is_exact),
      TEST(subnormals_are_exact),
      TEST(nan_and_inf_as_float64_addition),
      TEST(nan_and_inf_stay_in_their_column),
      TEST(sums_beyond_float64_are_infinite),
      TEST(a_sum_in_range_is_finite_in_every_order),
      TEST(small_columns_beside_a_huge_one),
      TEST(many_rows_and_columns),
      TEST(every_placement),
  };
  return fixture_run(argc, argv, "column_sum", tests, COUNT(tests));
}
