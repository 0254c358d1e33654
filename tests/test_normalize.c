/*
 * csrn_normalize_total() against the oracle: every type, axis and target, with and
 * without exclusion and logarithms, in place and out of place; and counts in rows of
 * every make-up, since a row of small counts may take a faster way to the same bits. In
 * brief each type meets some kinds of values and some placements, and together all.
 */
#include "expect.h"

#include <math.h>
#include <string.h>

static csrn_normalize_options make_options(csrn_axis axis, csrn_target target) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.axis = axis;
  options.target = target;
  options.target_sum = 1234.56;
  return options;
}

static void hand_checked(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 2, 4, 5};
  const int64_t indices[] = {0, 1, 0, 2, 1};
  const double values[] = {1, 3, 6, 2, 2};
  sample m = sample_literal(4, 3, indptr, indices, CSRN_I32, values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  float *out = place_output(5, sizeof *out), *factors = place_output(4, sizeof *factors), got[5];
  csrn_normalize_report *report = place_output(6, 8), seen;
  expect_ok(csrn_normalize_total(test.ctx, &A, NULL, out, CSRN_F32, factors, report));
  /* totals 4, 0, 8, 2: the median of the positive ones is 4 */
  const float normalized[] = {1.0f, 3.0f, 3.0f, 1.0f, 4.0f}, expected_factors[] = {1.0f, 0.0f, 2.0f, 0.5f};
  fetch(got, out, sizeof got);
  expect_values(CSRN_F32, got, normalized, 5, "normalized values");
  fetch(got, factors, 4 * sizeof *got);
  expect_values(CSRN_F32, got, expected_factors, 4, "factors");
  fetch(&seen, report, sizeof seen);
  assert_true(seen.target == 4.0);
  assert_int_equal(seen.n_zero, 1);
  assert_int_equal(seen.n_negative, 0);
  assert_int_equal(seen.n_nonfinite, 0);
  assert_int_equal(seen.n_excluded, 0);
  assert_int_equal(seen.flags, 0);
}

/* Fixed and mean targets on the same matrix, by hand. */
static void hand_checked_targets(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 2, 3, 3}, indices[] = {0, 1, 0};
  const double values[] = {1, 3, 8};
  sample m = sample_literal(3, 2, indptr, indices, CSRN_F64, values);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_MEAN);
  csrn_normalize_report *report = place_output(6, 8), seen;
  double got[3];
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, A.data, CSRN_F64, NULL, report));
  fetch(got, A.data, sizeof got);
  fetch(&seen, report, sizeof seen);
  const double to_mean[] = {1.0 / (4.0 / 6.0), 3.0 / (4.0 / 6.0), 8.0 / (8.0 / 6.0)};
  assert_true(seen.target == 6.0);
  expect_values(CSRN_F64, got, to_mean, 3, "mean target");
  store(A.data, values, sizeof values);
  options.target = CSRN_TARGET_FIXED;
  options.target_sum = 16.0;
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, A.data, CSRN_F64, NULL, NULL));
  fetch(got, A.data, sizeof got);
  const double to_16[] = {4.0, 12.0, 16.0};
  expect_values(CSRN_F64, got, to_16, 3, "fixed target");
}

/* The factor is one division in float32, not a float64 one rounded: 40 % would differ. */
static void factor_is_divided_in_the_output_type(void **state) {
  (void)state;
  int differing = 0;
  for (int total = 1; total < 400; total++)
    differing += (float)total / (float)1234.56 != (float)(total / 1234.56);
  assert_true(differing > 20);
  int64_t lengths[399];
  for (int64_t i = 0; i < 399; i++)
    lengths[i] = 1 + i;
  sample_shape shape = {lengths, 399, 7, 0, 0};
  sample m = sample_make(&shape, CSRN_U8, SAMPLE_LOW, 91);
  memset(m.data, 1, (size_t)m.nnz);
  csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_FIXED);
  expect_normalize(&m, LAYOUT_DEFAULT, &options, CSRN_F32);
}

/* ---- Every choice --------------------------------------------------------- */

static void expect_all_options(const sample *m, layout how, csrn_dtype out_type, double max_fraction) {
  how.in_place = can_be_in_place(m->type, out_type) && m->nnz % 2;
  for (int bits = 0; bits < 24; bits++) {
    csrn_normalize_options options = make_options((csrn_axis)(bits & 1), (csrn_target)(bits / 8));
    options.exclude_highly_expressed = bits >> 1 & 1;
    options.log1p = bits >> 2 & 1;
    options.max_fraction = max_fraction;
    options.log_base = bits % 5 == 4 ? 2.0 : 0.0;
    expect_normalize(m, how, &options, out_type);
  }
}

static void every_type_and_option(void **state) {
  (void)state;
  const csrn_dtype outs[] = {CSRN_F32, CSRN_F64};
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (size_t out = 0; out < COUNT(outs); out++)
      for (int kind = SAMPLE_LOW; kind <= SAMPLE_WILD; kind++) {
        if (fixture_is_brief() && (kind + type) % 3 != (int)out)
          continue;
        sample_shape shape = boundary_shape(600, 150);
        shape.tail = kind % 2;
        sample m = sample_make(&shape, data_types[type], (sample_values)kind, 92 + (uint64_t)kind);
        expect_all_options(&m, LAYOUT_DEFAULT, outs[out], 0.05);
        host_release();
      }
}

static void long_rows(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_F32, CSRN_U16, CSRN_F64};
  for (size_t type = 0; type < COUNT(types); type++)
    for (int kind = SAMPLE_COUNTS; kind <= SAMPLE_REALS; kind++) {
      sample_shape shape = boundary_shape(50000, 2000);
      sample m = sample_make(&shape, types[type], (sample_values)kind, 93);
      for (int bits = 0; bits < 8; bits++) {
        csrn_normalize_options options =
            make_options(CSRN_PER_ROW, bits & 1 ? CSRN_TARGET_FIXED : CSRN_TARGET_MEDIAN);
        options.log1p = bits >> 1 & 1;
        options.exclude_highly_expressed = bits >> 2 & 1;
        options.max_fraction = 0.002;
        expect_normalize(&m, (layout){CSRN_I64, CSRN_I32, bits % 3 == 0 && types[type] == CSRN_F32}, &options,
                         types[type] == CSRN_F64 ? CSRN_F64 : CSRN_F32);
      }
      host_release();
    }
}

static void every_placement(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int type = 0; type < N_DATA_TYPES; type++)
      for (int out = CSRN_F32; out <= CSRN_F64; out++) {
        if (fixture_is_brief() && ((int)where + type + out) % 2)
          continue;
        buffers_place(where);
        sample_shape shape = boundary_shape(140, 90);
        sample m = sample_make(&shape, data_types[type], SAMPLE_COUNTS, 94);
        expect_all_options(&m, LAYOUT(I32, U8), (csrn_dtype)out, 0.1);
        host_release();
      }
}

static void one_row_of_every_length(void **state) {
  (void)state;
  buffers_place(PLACE_PAGE_END);
  const csrn_dtype types[] = {CSRN_F32, CSRN_U8, CSRN_I32, CSRN_F64};
  for (size_t type = 0; type < COUNT(types); type++)
    for (int64_t n = 0; n < 140; n++)
      for (int log1p = 0; log1p < 2; log1p++) {
        sample_shape shape = {&n, 1, 200, 0, 0};
        sample m = sample_make(&shape, types[type], SAMPLE_LOW, (uint64_t)n);
        csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_FIXED);
        options.log1p = log1p;
        expect_normalize(&m, (layout){CSRN_I32, CSRN_I32, can_be_in_place(types[type], CSRN_F32)}, &options,
                         CSRN_F32);
        host_release();
      }
}

/* ---- Rows of counts, and what can be among them ---------------------------- */

/* A row of small counts with one other value at each position: the whole row must come
 * out as if every value had gone through division and log1p alone. */
static void one_odd_value_among_counts(void **state) {
  (void)state;
  static const double odd[] = {-0.0,  0.0, 0.5, -1.0,     31.0, 32.0,  33.0,       63.0, 64.0,  65.0,
                               255.0, 1e6, NAN, INFINITY, -3.0, 1e-40, 16777217.0, 31.5, 1e-45, -31.0};
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64};
  const int64_t length = 75, n = COUNT(odd) * 75;
  int64_t *lengths = host_array(n, sizeof *lengths);
  for (int64_t i = 0; i < n; i++)
    lengths[i] = length;
  sample_shape shape = {lengths, n, 500, 0, 0};
  for (size_t type = 0; type < COUNT(types); type++) {
    sample m = sample_make(&shape, types[type], SAMPLE_LOW, 95);
    for (int64_t i = 0; i < n; i++)
      store_f64(types[type], m.data, i * length + i % length, odd[i / length]);
    csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_FIXED);
    options.log1p = 1;
    for (int out = CSRN_F32; out <= CSRN_F64; out++)
      for (int base = 0; base < 2; base++) {
        options.log_base = base ? 10.0 : 0.0;
        expect_normalize(&m, LAYOUT_DEFAULT, &options, (csrn_dtype)out);
      }
  }
}

/* Every count from 0 to 300 over many totals, in every type: table and formula agree. */
static void every_small_count_over_many_totals(void **state) {
  (void)state;
  const int64_t n = 300, length = 301;
  int64_t *lengths = host_array(n, sizeof *lengths);
  for (int64_t i = 0; i < n; i++)
    lengths[i] = length;
  sample_shape shape = {lengths, n, 400, 0, 0};
  for (int type = 0; type < N_DATA_TYPES; type++) {
    sample m = sample_make(&shape, data_types[type], SAMPLE_LOW, 96);
    double *totals = host_array(n, sizeof *totals);
    uint64_t seed = 97;
    for (int64_t i = 0; i < n; i++) {
      for (int64_t k = 0; k < length; k++)
        store_int(data_types[type], m.data, i * length + k, data_types[type] == CSRN_U8 ? k % 256 : k);
      totals[i] = 1.0 + (double)random_below(&seed, 30000) * (i % 3 ? 1.0 : 0.37);
    }
    csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_FIXED);
    options.log1p = 1;
    for (int out = CSRN_F32; out <= CSRN_F64; out++) {
      expect_normalize_with(&m, LAYOUT_DEFAULT, totals, 1e4, &options, (csrn_dtype)out);
      expect_normalize_with(&m, LAYOUT_DEFAULT, totals, 1512.5, &options, (csrn_dtype)out);
    }
  }
}

/* Rows that are so short that tables of logarithms are kept from row to row: `most` different totals, of
 * which some want the same place, with counts around the end of a table, in every thirteenth row reals as
 * well where the type has them, and rows that are longer than what is worked on together. */
static void expect_rows_that_share_tables(csrn_dtype type, int64_t n, int64_t most, bool reals) {
  int64_t *lengths = host_array(n, sizeof *lengths);
  double *totals = host_array(n, sizeof *totals);
  const double strange[] = {0.0, -7.0, NAN, INFINITY, 1e300, 1e-300, 0.5, 1e9};
  uint64_t seed = 110 + (uint64_t)most;
  int64_t nnz = 0;
  for (int64_t i = 0; i < n; i++) {
    lengths[i] = i % 997 == 996 ? 2500 : random_below(&seed, 10) == 0 ? 0 : random_below(&seed, 110);
    nnz += lengths[i];
    const int64_t total = 1 + random_below(&seed, most);
    totals[i] = i % 101 == 100 ? strange[random_below(&seed, COUNT(strange))]
                               : (double)(total % 7 ? total : total + 1024 * random_below(&seed, 3));
  }
  lengths[n - 1] = 61;
  sample_shape shape = {lengths, n, 3000, 0, 0};
  sample m = sample_make(&shape, type, SAMPLE_LOW, seed);
  assert_true(nnz / n < 150);
  for (int64_t r = 0; r < n; r++)
    for (int64_t i = m.indptr[r]; i < m.indptr[r + 1]; i++) {
      const int64_t count = random_below(&seed, 40) ? random_below(&seed, 64) : random_below(&seed, 255);
      if (reals && r % 13 == 0)
        store_f64(type, m.data, i, (double)count + 0.25);
      else
        store_int(type, m.data, i, count);
    }
  csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_FIXED);
  options.log1p = 1;
  for (int out = CSRN_F32; out <= CSRN_F64; out++)
    for (int base = 0; base < 2; base++) {
      const layout where = {CSRN_I64, CSRN_I32, can_be_in_place(type, (csrn_dtype)out) && !base};
      options.log_base = base ? 2.0 : 0.0;
      expect_normalize_with(&m, where, totals, base ? 100.0 : 1234.56, &options, (csrn_dtype)out);
    }
  host_release();
}

static void tables_from_row_to_row(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++) {
    buffers_place(where);
    for (int type = 0; type < N_DATA_TYPES; type++)
      for (int reals = 0; reals <= is_real(data_types[type]); reals++)
        expect_rows_that_share_tables(data_types[type], 2100, where == PLACE_ALIGNED ? 900 : 40, reals);
  }
}

/* Tables that are never found again are given up, and tried again later. */
static void tables_that_do_not_pay(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_F32, CSRN_F64, CSRN_U16};
  for (size_t type = 0; type < COUNT(types); type++)
    expect_rows_that_share_tables(types[type], 20000, 1 << 30, false);
}

/* ---- Exclusion ------------------------------------------------------------ */

static void exclusion_by_hand(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 3, 5, 6}, indices[] = {0, 1, 2, 1, 2, 0};
  const double values[] = {8, 1, 1, 1, 3, 5};
  sample m = sample_literal(3, 3, indptr, indices, CSRN_F32, values);
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_MEDIAN);
  options.exclude_highly_expressed = 1;
  options.max_fraction = 0.75;
  float *out = place_output(6, sizeof *out), *factors = place_output(3, sizeof *factors), got[6];
  csrn_normalize_report *report = place_output(6, 8), seen;
  options.excluded = place_output(3, 1);
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, out, CSRN_F32, factors, report));
  /* gene 0 is excluded (8 > 7.5, 5 > 3.75), 3 of 4 is not above 0.75; totals 2, 4, 0; median 3 */
  const uint8_t expected_mask[] = {1, 0, 0};
  const float f0 = 2.0f / 3.0f, f1 = 4.0f / 3.0f;
  const float expected_factors[] = {f0, f1, 0.0f};
  const float expected[] = {8 / f0, 1 / f0, 1 / f0, 1 / f1, 3 / f1, 5};
  uint8_t mask[3];
  fetch(mask, options.excluded, 3);
  expect_values(CSRN_U8, mask, expected_mask, 3, "excluded");
  fetch(got, factors, 3 * sizeof *got);
  expect_values(CSRN_F32, got, expected_factors, 3, "factors");
  fetch(got, out, sizeof got);
  expect_values(CSRN_F32, got, expected, 6, "normalized values");
  fetch(&seen, report, sizeof seen);
  assert_true(seen.target == 3.0);
  assert_int_equal(seen.n_excluded, 1);
  assert_int_equal(seen.n_zero, 1);
}

static void mask_is_zero_without_exclusion(void **state) {
  (void)state;
  sample_shape shape = random_shape(30, 10, 20, 3);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 98);
  csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
  csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_FIXED);
  options.max_fraction = 0.0;
  options.excluded = place_output(20, 1);
  expect_ok(csrn_normalize_total(test.ctx, &A, &options, A.data, CSRN_F32, NULL, NULL));
  uint8_t got[20], expected[20] = {0};
  fetch(got, options.excluded, 20);
  assert_memory_equal(got, expected, 20);
}

static void everything_excluded_leaves_values_as_they_are(void **state) {
  (void)state;
  sample_shape shape = random_shape(30, 10, 20, 3);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 99);
  for (int target = CSRN_TARGET_MEDIAN; target <= CSRN_TARGET_FIXED; target++) {
    csrn_normalize_options options = make_options(CSRN_PER_ROW, (csrn_target)target);
    options.exclude_highly_expressed = 1;
    options.max_fraction = 0.0;
    expect_normalize(&m, LAYOUT_IN_PLACE, &options, CSRN_F32);
    csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
    expect_ok(csrn_normalize_total(test.ctx, &A, &options, A.data, CSRN_F32, NULL, NULL));
    float *got = host_array(m.nnz, sizeof *got);
    fetch(got, A.data, (size_t)m.nnz * sizeof *got);
    expect_values(CSRN_F32, got, m.data, m.nnz, "values with everything excluded");
    buffers_release();
  }
}

/* ---- Optional outputs, sizes ---------------------------------------------- */

/* What is not wanted may be NULL, and changes nothing of the rest. */
static void optional_outputs(void **state) {
  (void)state;
  sample_shape shape = random_shape(300, 40, 100, 4);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 101);
  float *expected = host_array(m.nnz, sizeof *expected), *got = host_array(m.nnz, sizeof *got);
  for (int bits = 0; bits < 16; bits++) {
    csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
    csrn_normalize_options options = make_options(CSRN_PER_ROW, CSRN_TARGET_MEDIAN);
    options.exclude_highly_expressed = bits >> 3;
    options.excluded = bits & 1 ? place_output(100, 1) : NULL;
    void *factors = bits & 2 ? place_output(300, sizeof(float)) : NULL;
    csrn_normalize_report *report = bits & 4 ? place_output(6, 8) : NULL;
    float *out = place_output(m.nnz, sizeof *out);
    expect_ok(csrn_normalize_total(test.ctx, &A, &options, out, CSRN_F32, factors, report));
    fetch(bits % 8 ? got : expected, out, (size_t)m.nnz * sizeof *got);
    if (bits % 8)
      assert_memory_equal(got, expected, (size_t)m.nnz * sizeof *got);
    buffers_release();
  }
}

static void sizes_of_zero(void **state) {
  (void)state;
  const int64_t none[] = {0}, empty[] = {0, 0, 0, 0};
  sample shapes[] = {
      sample_literal(0, 4, none, NULL, CSRN_F32, NULL), sample_literal(3, 0, empty, NULL, CSRN_F32, NULL),
      sample_literal(3, 4, empty, NULL, CSRN_I32, NULL), sample_literal(0, 0, none, NULL, CSRN_U8, NULL)};
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (size_t i = 0; i < COUNT(shapes); i++) {
      buffers_place(where);
      expect_all_options(&shapes[i], LAYOUT_DEFAULT, CSRN_F32, 0.05);
      expect_all_options(&shapes[i], LAYOUT_DEFAULT, CSRN_F64, 0.05);
    }
}

static void many_short_rows(void **state) {
  (void)state;
  sample_shape shape = random_shape(30000, 20, 3000, 5);
  const csrn_dtype types[] = {CSRN_F32, CSRN_U8, CSRN_I64};
  for (size_t type = 0; type < COUNT(types); type++) {
    sample m = sample_make(&shape, types[type], SAMPLE_COUNTS, 102);
    for (int bits = 0; bits < 4; bits++) {
      csrn_normalize_options options =
          make_options(bits & 1, bits & 2 ? CSRN_TARGET_FIXED : CSRN_TARGET_MEDIAN);
      options.log1p = bits & 1;
      expect_normalize(&m, LAYOUT_DEFAULT, &options, CSRN_F32);
    }
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(hand_checked),
      TEST(hand_checked_targets),
      TEST(factor_is_divided_in_the_output_type),
      TEST(every_type_and_option),
      TEST(long_rows),
      TEST(every_placement),
      TEST(one_row_of_every_length),
      TEST(one_odd_value_among_counts),
      TEST(every_small_count_over_many_totals),
      TEST(tables_from_row_to_row),
      TEST(tables_that_do_not_pay),
      TEST(exclusion_by_hand),
      TEST(mask_is_zero_without_exclusion),
      TEST(everything_excluded_leaves_values_as_they_are),
      TEST(optional_outputs),
      TEST(sizes_of_zero),
      TEST(many_short_rows),
  };
  return fixture_run(argc, argv, "normalize", tests, COUNT(tests));
}
