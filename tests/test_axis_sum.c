/*
 * Sums of rows, and of integers on either axis: canonical order for reals, exact for
 * integers, overflow where the result's type ends. Columns of reals: test_column_sum.c.
 */
#include "expect.h"

#include <math.h>
#include <string.h>

static void hand_checked_rows(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3, 3, 4};
  const int64_t indices[] = {0, 2, 1, 2};
  const double values[] = {1, 2, 3.5, -4};
  sample m = sample_literal(3, 3, indptr, indices, CSRN_F32, values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *sums = place_output(3, sizeof *sums);
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  double got[3];
  fetch(got, sums, sizeof got);
  const double expected[] = {6.5, 0.0, -4.0};
  expect_values(CSRN_F64, got, expected, 3, "row sums");
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_COLUMN, sums, CSRN_F64));
  fetch(got, sums, sizeof got);
  const double columns[] = {1.0, 3.5, -2.0};
  expect_values(CSRN_F64, got, columns, 3, "column sums");
}

/* Terms that cancel differently in any other order than the one of the contract. */
static void lane_order_by_hand(void **state) {
  (void)state;
  double values[40] = {0};
  const int64_t indptr[] = {0, 40};
  values[0] = 0x1p53;   /* lane 0 */
  values[16] = 1.0;     /* lane 16, added to lane 0 first: rounds to 2^53 */
  values[32] = -0x1p53; /* lane 0: cancels before any other lane comes in */
  values[1] = 0x1p53;   /* lane 1 */
  values[17] = 1.0;     /* lane 17, added to lane 1: lost */
  values[8] = -0x1p53;  /* lane 8, added to lane 0 in the second halving */
  sample m = sample_literal(1, 1, indptr, NULL, CSRN_F64, values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *sums = place_output(1, sizeof *sums);
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  double got;
  fetch(&got, sums, sizeof got);
  /* lane 0: 2^53 - 2^53 = 0, + 1 = 1, - 2^53 = 1 - 2^53; lane 1: 2^53 + 1 = 2^53. */
  assert_true(got == 1.0);
}

/* 4,096 terms make one block; the next begins again at lane 0 and is added last. */
static void block_order_by_hand(void **state) {
  (void)state;
  double *values = host_array(4097, sizeof *values);
  const int64_t indptr[] = {0, 4097};
  values[0] = 1.0;
  values[1] = 0x1p53;     /* 1 + 2^53 rounds to 2^53 when the block ends */
  values[4096] = -0x1p53; /* in lane 0 of the first block it would leave 1 */
  sample m = sample_literal(1, 1, indptr, NULL, CSRN_F64, values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *sums = place_output(1, sizeof *sums);
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  double got;
  fetch(&got, sums, sizeof got);
  assert_true(got == 0.0 && !signbit(got));
}

static void rows_around_every_boundary(void **state) {
  (void)state;
  const sample_values kinds[] = {SAMPLE_COUNTS, SAMPLE_REALS, SAMPLE_FINITE, SAMPLE_WILD};
  sample_shape shape = boundary_shape(50000, 1000);
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (size_t kind = 0; kind < COUNT(kinds); kind++) {
      sample m = sample_make(&shape, data_types[type], kinds[kind], 11 + kind);
      expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
    }
}

/* Sums of counts may take another route than sums of reals: not if one value is none, nor if
 * the sum is too large for it, wherever in the row and among the rows that is. */
static void counts_but_for_one_value(void **state) {
  (void)state;
  const float odd[] = {1.0F,        0.5F,    -1.0F, -0.0F, 1e-40F,      NAN,     INFINITY, 0x1p23F - 1,
                       0x1p23F + 2, 0x1p23F, -3.0F, -0.5F, 0x1p24F - 1, 0x1p24F, 3e9F,     0x1p31F};
  const int64_t n_rows[] = {1, 2, 15, 16, 17, 70, 150}, means[] = {3, 25, 70, 300, 3000};
  uint64_t seed = 77;
  for (size_t rows = 0; rows < COUNT(n_rows); rows++)
    for (size_t mean = 0; mean < COUNT(means); mean++)
      for (size_t k = 0; k < COUNT(odd); k++) {
        sample_shape shape = random_shape(n_rows[rows], means[mean], 1000, seed);
        shape.lead = (int64_t)(k % 5);
        sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, seed);
        int64_t begin = m.indptr[0], inside = m.indptr[m.n_rows] - begin;
        if (inside > 0)
          ((float *)m.data)[begin + random_below(&seed, inside)] = odd[k];
        expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
        host_release();
      }
}

/* Counts the sum of which is beyond 32 bits, though each of them and each lane's sum is not; in rows that are
 * short on average, a little less so, and long. */
static void counts_beyond_32_bits_together(void **state) {
  (void)state;
  enum { N_ROWS = 60 };
  static const int64_t others[] = {10, 200, 1000};
  for (size_t k = 0; k < COUNT(others); k++)
    for (int exponent = 18; exponent <= 23; exponent++) {
      int64_t lengths[N_ROWS] = {4096, 31, 32, 1000, 60, 513};
      for (int64_t r = 6; r < N_ROWS; r++)
        lengths[r] = others[k];
      const sample_shape shape = {lengths, N_ROWS, 5000, 0, 0};
      sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 9);
      for (int64_t i = 0; i < m.nnz; i++)
        ((float *)m.data)[i] = ldexpf(1.0F, exponent) - 1.0F - (float)(i % 3);
      expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
      host_release();
    }
}

static void counts_around_the_limit_of_float32(void **state) {
  (void)state;
  enum { LENGTH = 40 };
  for (int64_t n_rows = 1; n_rows <= 18; n_rows += 17)
    for (int more = 0; more <= 3; more++) {
      double *values = host_array(n_rows * LENGTH, sizeof *values);
      int64_t *indptr = host_array(n_rows + 1, sizeof *indptr);
      for (int64_t r = 0; r < n_rows; r++)
        indptr[r + 1] = indptr[r] + LENGTH;
      double *last = values + (n_rows - 1) * LENGTH;
      last[0] = 0x1p23;
      last[16] = 0x1p23 - 2;
      for (int i = 0; i < more; i++)
        last[17 + i] = 1.0;
      if (more == 3) /* a small sum of large values */
        last[0] = 0x1p24, last[16] = 1.0, last[32] = -0x1p24;
      sample m = sample_literal(n_rows, 1, indptr, NULL, CSRN_F32, values);
      expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
      host_release();
    }
}

/* A fraction of any size, beside an integer with which float32 would lose it. */
static void fractions_that_float32_would_lose(void **state) {
  (void)state;
  enum { LENGTH = 40 };
  for (int64_t n_rows = 1; n_rows <= 18; n_rows += 17)
    for (int digit = 1; digit <= 24; digit++) {
      double *values = host_array(n_rows * LENGTH, sizeof *values);
      int64_t *indptr = host_array(n_rows + 1, sizeof *indptr);
      for (int64_t r = 0; r < n_rows; r++)
        indptr[r + 1] = indptr[r] + LENGTH;
      double *last = values + (n_rows - 1) * LENGTH;
      last[7] = ldexp(1.0, -digit);
      last[24 + digit % 3] = ldexp(1.0, 24 - digit);
      sample m = sample_literal(n_rows, 1, indptr, NULL, CSRN_F32, values);
      expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
      host_release();
    }
}

static void every_short_length_in_every_placement(void **state) {
  (void)state;
  int64_t lengths[200];
  for (int64_t i = 0; i < 200; i++)
    lengths[i] = i;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int type = 0; type < N_DATA_TYPES; type++) {
      buffers_place(where);
      sample_shape shape = {lengths, 200, 50, 0, 0};
      sample m = sample_make(&shape, data_types[type], SAMPLE_REALS, 5);
      expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
    }
}

/* A single row that ends with its array, of every length: the tail of the tail. */
static void one_row_of_every_length(void **state) {
  (void)state;
  buffers_place(PLACE_PAGE_END);
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int64_t n = 0; n < 140; n++) {
      sample_shape shape = {&n, 1, 7, 0, 0};
      sample m = sample_make(&shape, data_types[type], SAMPLE_FINITE, (uint64_t)n);
      expect_axis_sum(&m, LAYOUT(I32, U8), CSRN_PER_ROW, NULL, CSRN_F64);
      host_release();
    }
}

static void rows_with_exclusion(void **state) {
  (void)state;
  sample_shape shape = boundary_shape(9000, 300);
  uint8_t excluded[300];
  for (int64_t j = 0; j < 300; j++)
    excluded[j] = (uint8_t)(j % 3 == 0 ? 1 + j % 255 : 0); /* any value but 0 excludes */
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int kind = SAMPLE_COUNTS; kind <= SAMPLE_WILD; kind++) {
      sample m = sample_make(&shape, data_types[type], (sample_values)kind, 21);
      expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, excluded, CSRN_F64);
    }
}

static void everything_excluded_gives_plus_zero(void **state) {
  (void)state;
  sample_shape shape = boundary_shape(5000, 40);
  uint8_t excluded[40];
  memset(excluded, 1, sizeof excluded);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_WILD, 22);
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, excluded, CSRN_F64);
  sample c = sample_make(&shape, CSRN_I32, SAMPLE_COUNTS, 22);
  expect_axis_sum(&c, LAYOUT_DEFAULT, CSRN_PER_ROW, excluded, CSRN_I64);
}

static void no_mask_is_no_exclusion(void **state) {
  (void)state;
  sample_shape shape = random_shape(100, 30, 40, 3);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_REALS, 23);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *a = place_output(100, sizeof *a), *b = place_output(100, sizeof *b);
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, a, CSRN_F64));
  expect_ok(csrn_axis_sum_excluding(test.ctx, &A, CSRN_PER_ROW, NULL, b, CSRN_F64));
  double first[100], second[100];
  fetch(first, a, sizeof first);
  fetch(second, b, sizeof second);
  assert_memory_equal(first, second, sizeof first);
}

static void negative_zeros_sum_to_plus_zero(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1, 3, 3};
  const int64_t indices[] = {0, 0, 1};
  const double values[] = {-0.0, -0.0, -0.0};
  sample m = sample_literal(3, 2, indptr, indices, CSRN_F32, values);
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
}

static void nan_and_inf_stay_in_their_row(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 4, 6, 8, 10};
  const int64_t indices[] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  const double values[] = {1, 2, NAN, 1, INFINITY, 1, -INFINITY, 1, INFINITY, -INFINITY};
  const double expected[] = {3, NAN, INFINITY, -INFINITY, NAN};
  sample m = sample_literal(5, 2, indptr, indices, CSRN_F32, values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  double *sums = place_output(5, sizeof *sums), got[5];
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  fetch(got, sums, sizeof got);
  expect_values(CSRN_F64, got, expected, 5, "row sums");
}

/* 2^24 + 1 has no float32; peers that add in float32 stop at 2^24. */
static void sums_pass_2_to_24(void **state) {
  (void)state;
  int64_t length = (1 << 24) + 1;
  sample_shape shape = {&length, 1, 1, 0, 0};
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 1);
  for (int64_t j = 0; j < length; j++)
    ((float *)m.data)[j] = 1.0f;
  for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
    csrn_csr A = sample_place(&m, LAYOUT(I64, U8));
    double *sums = place_output(1, sizeof *sums), got;
    expect_ok(csrn_axis_sum(test.ctx, &A, axis, sums, CSRN_F64));
    fetch(&got, sums, sizeof got);
    assert_true(got == 16777217.0);
    buffers_release();
  }
}

/* ---- Integers ------------------------------------------------------------- */

static void integers_on_both_axes_in_every_result(void **state) {
  (void)state;
  const csrn_dtype results[] = {CSRN_F64, CSRN_I64, CSRN_U64};
  sample_shape shape = boundary_shape(50000, 200);
  for (int type = 0; type < N_DATA_TYPES; type++) {
    if (is_real(data_types[type]))
      continue;
    for (size_t r = 0; r < COUNT(results); r++)
      for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
        sample counts = sample_make(&shape, data_types[type], SAMPLE_COUNTS, 31);
        expect_axis_sum(&counts, LAYOUT_DEFAULT, axis, NULL, results[r]);
        if (results[r] == CSRN_U64 && is_signed(data_types[type]))
          continue; /* negative sums */
        sample any = sample_make(&shape, data_types[type], SAMPLE_FINITE, 32);
        expect_axis_sum(&any, LAYOUT_DEFAULT, axis, NULL, results[r]);
      }
  }
}

static void integers_with_exclusion_on_both_axes(void **state) {
  (void)state;
  sample_shape shape = boundary_shape(5000, 150);
  uint8_t excluded[150];
  for (int64_t j = 0; j < 150; j++)
    excluded[j] = j % 4 == 1;
  for (int type = 0; type < N_DATA_TYPES; type++) {
    sample m = sample_make(&shape, data_types[type], SAMPLE_COUNTS, 33);
    expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, excluded, CSRN_F64);
    expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, excluded, CSRN_F64);
  }
}

static void large_integers_round_once(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3, 5};
  const int64_t indices[] = {0, 1, 2, 0, 1};
  sample m = {2, 3, 5, NULL, NULL, NULL, CSRN_I64};
  int64_t data[] = {INT64_C(1) << 53, 1, 1, (INT64_C(1) << 53) + 1, 0};
  m.indptr = (int64_t *)indptr;
  m.indices = (int64_t *)indices;
  m.data = data;
  /* Rounded one by one they would give 2^53; the exact sum is 2^53 + 2. */
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_F64);
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_ROW, NULL, CSRN_I64);
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_F64);
  expect_axis_sum(&m, LAYOUT_DEFAULT, CSRN_PER_COLUMN, NULL, CSRN_U64);
}

/* Row 0 and column 0 of int64 data both hold `values`. */
static sample cross(const int64_t *values, int64_t n) {
  sample m = {n, n, 2 * n - 1, NULL, NULL, NULL, CSRN_I64};
  m.indptr = host_array(n + 1, sizeof *m.indptr);
  m.indices = host_array(m.nnz, sizeof *m.indices);
  int64_t *data = host_array(m.nnz, sizeof *data);
  m.data = data;
  for (int64_t j = 0; j < n; j++) {
    m.indices[j] = j;
    data[j] = values[j];
    m.indptr[j + 1] = n + j;
  }
  for (int64_t i = 1; i < n; i++)
    data[n + i - 1] = values[i]; /* indices are 0 */
  return m;
}

/* The sum is in range even where a partial sum is not: the sum counts. */
static void a_sum_in_range_survives_partial_sums_out_of_range(void **state) {
  (void)state;
  const int64_t values[] = {INT64_MAX, INT64_MAX, -INT64_MAX, -2, INT64_MIN, INT64_MAX};
  for (int64_t n = 3; n <= (int64_t)COUNT(values); n++) {
    sample m = cross(values, n);
    for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
      expect_axis_sum(&m, LAYOUT_DEFAULT, axis, NULL, CSRN_I64);
      expect_axis_sum(&m, LAYOUT_DEFAULT, axis, NULL, CSRN_F64);
    }
  }
}

/* The status for a matrix of one row and one column that holds all the values. */
static csrn_status sum_of(const int64_t *values, int64_t n, csrn_axis axis, csrn_dtype sums_type) {
  const int64_t indptr[] = {0, n};
  sample m = {1, 1, n, NULL, NULL, NULL, CSRN_I64};
  m.indptr = (int64_t *)indptr;
  m.indices = host_array(n, sizeof *m.indices);
  m.data = (void *)values;
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  void *sums = place_output(1, 8);
  csrn_status status = csrn_axis_sum(test.ctx, &A, axis, sums, sums_type);
  if (status == CSRN_OK)
    status = csrn_context_synchronize(test.ctx);
  buffers_check();
  buffers_release();
  return status;
}

static void overflow_is_an_error_for_every_result(void **state) {
  (void)state;
  static const int64_t over[] = {INT64_MAX, 1}, under[] = {INT64_MIN, -1}, twice[] = {INT64_MIN, INT64_MIN};
  static const int64_t wrapped[] = {INT64_MAX, INT64_MAX, 3}; /* 2^64 + 1 looks like 1 */
  static const int64_t highest[] = {INT64_MAX - 1, 1}, lowest[] = {INT64_MIN + 1, -1};
  const csrn_dtype results[] = {CSRN_F64, CSRN_I64, CSRN_U64};
  for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++)
    for (size_t r = 0; r < COUNT(results); r++) {
      assert_int_equal(sum_of(over, 2, axis, results[r]), CSRN_OVERFLOW);
      assert_true(strlen(csrn_error_detail(test.ctx)) > 0);
      assert_int_equal(sum_of(under, 2, axis, results[r]), CSRN_OVERFLOW);
      assert_int_equal(sum_of(twice, 2, axis, results[r]), CSRN_OVERFLOW);
      assert_int_equal(sum_of(wrapped, 3, axis, results[r]), CSRN_OVERFLOW);
      assert_int_equal(sum_of(highest, 2, axis, results[r]), CSRN_OK);
      assert_int_equal(sum_of(lowest, 2, axis, results[r]), results[r] == CSRN_U64 ? CSRN_OVERFLOW : CSRN_OK);
    }
}

static void a_negative_sum_has_no_u64(void **state) {
  (void)state;
  const int64_t minus[] = {3, -4}, zero[] = {4, -4};
  for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
    assert_int_equal(sum_of(minus, 2, axis, CSRN_U64), CSRN_OVERFLOW);
    assert_int_equal(sum_of(zero, 2, axis, CSRN_U64), CSRN_OK);
    assert_int_equal(sum_of(minus, 2, axis, CSRN_I64), CSRN_OK);
  }
}

static void sizes_of_zero(void **state) {
  (void)state;
  const int64_t none[] = {0}, empty[] = {0, 0, 0, 0};
  sample no_rows = sample_literal(0, 4, none, NULL, CSRN_F32, NULL);
  sample no_columns = sample_literal(3, 0, empty, NULL, CSRN_F32, NULL);
  sample no_values = sample_literal(3, 4, empty, NULL, CSRN_I32, NULL);
  sample nothing = sample_literal(0, 0, none, NULL, CSRN_U8, NULL);
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++) {
    buffers_place(where);
    for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
      expect_axis_sum(&no_rows, LAYOUT_DEFAULT, axis, NULL, CSRN_F64);
      expect_axis_sum(&no_columns, LAYOUT_DEFAULT, axis, NULL, CSRN_F64);
      expect_axis_sum(&no_values, LAYOUT_DEFAULT, axis, NULL, CSRN_I64);
      expect_axis_sum(&nothing, LAYOUT_DEFAULT, axis, NULL, CSRN_U64);
    }
  }
}

/* Values that belong to no row, and no column either. */
static void values_outside_of_rows(void **state) {
  (void)state;
  const int64_t indptr[] = {5, 5};
  const float values[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  const int32_t indices[10] = {0};
  csrn_csr A = {.n_rows = 1,
                .n_cols = 0,
                .nnz = 10,
                .indptr_type = CSRN_I64,
                .indices_type = CSRN_I32,
                .data_type = CSRN_F32};
  A.indptr = place_input(indptr, 2, sizeof *indptr);
  A.indices = place_input(indices, 10, sizeof *indices);
  A.data = place_input(values, 10, sizeof *values);
  double *sums = place_output(1, sizeof *sums), got = 1;
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_COLUMN, sums, CSRN_F64));
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  fetch(&got, sums, sizeof got);
  assert_true(got == 0);
}

/* Row sums never look at indices: they may be absent, and then their type is nothing. */
static void rows_need_no_indices(void **state) {
  (void)state;
  sample_shape shape = random_shape(50, 40, 10, 6);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_REALS, 41);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  A.indices = NULL;
  A.indices_type = (csrn_dtype)99;
  double *sums = place_output(50, sizeof *sums), got[50], expected[50];
  expect_ok(csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_F64));
  fetch(got, sums, sizeof got);
  oracle_row_sums(&m, NULL, expected);
  expect_values(CSRN_F64, got, expected, 50, "row sums without indices");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(hand_checked_rows),
      TEST(lane_order_by_hand),
      TEST(block_order_by_hand),
      TEST(rows_around_every_boundary),
      TEST(counts_but_for_one_value),
      TEST(counts_beyond_32_bits_together),
      TEST(counts_around_the_limit_of_float32),
      TEST(fractions_that_float32_would_lose),
      TEST(every_short_length_in_every_placement),
      TEST(one_row_of_every_length),
      TEST(rows_with_exclusion),
      TEST(everything_excluded_gives_plus_zero),
      TEST(no_mask_is_no_exclusion),
      TEST(negative_zeros_sum_to_plus_zero),
      TEST(nan_and_inf_stay_in_their_row),
      TEST(sums_pass_2_to_24),
      TEST(integers_on_both_axes_in_every_result),
      TEST(integers_with_exclusion_on_both_axes),
      TEST(large_integers_round_once),
      TEST(a_sum_in_range_survives_partial_sums_out_of_range),
      TEST(overflow_is_an_error_for_every_result),
      TEST(a_negative_sum_has_no_u64),
      TEST(sizes_of_zero),
      TEST(values_outside_of_rows),
      TEST(rows_need_no_indices),
  };
  return fixture_run(argc, argv, "axis_sum", tests, COUNT(tests));
}
