/*
 * Every other argument of every operation: absent, of a wrong type, out of range. The
 * sentence names the argument and the value found; no output changes.
 */
#include "error_calls.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const csrn_dtype not_real[] = {CSRN_NONE, CSRN_U8,  CSRN_U16,       CSRN_U32,     CSRN_U64,
                                      CSRN_I32,  CSRN_I64, (csrn_dtype)-1, (csrn_dtype)9};
static const int not_a_flag[] = {-1, 2, 1000};
static const double not_a_base[] = {-1.0, 1.0, NAN, INFINITY, -INFINITY, -0x1p-1074};
static const double not_a_fraction[] = {-0x1p-1074, -1.0, 1.0000000000000002, 2.0, NAN, INFINITY};

#define REFUSED(call, ...) expect_failure(CSRN_INVALID_ARGUMENT, call, __VA_ARGS__)

/* ---- Sums ----------------------------------------------------------------- */

static void axis_sum_arguments(void **state) {
  (void)state;
  make_arguments();
  const csrn_csr *A = &args.A;
  const csrn_dtype not_sums[] = {CSRN_NONE, CSRN_F32, CSRN_U8, CSRN_I32, CSRN_U32, (csrn_dtype)9};
  REFUSED(csrn_axis_sum(test.ctx, A, CSRN_PER_ROW, NULL, CSRN_F64), "sums", "NULL");
  for (size_t i = 0; i < COUNT(not_sums); i++)
    REFUSED(csrn_axis_sum(test.ctx, A, CSRN_PER_ROW, args.sums, not_sums[i]), "sums_type");
  for (size_t i = 0; i < COUNT(not_a_flag); i++)
    REFUSED(csrn_axis_sum(test.ctx, A, (csrn_axis)not_a_flag[i], args.sums, CSRN_F64), "axis");
  REFUSED(csrn_axis_sum(test.ctx, A, CSRN_PER_ROW, args.sums, CSRN_I64), "sums_type", "int64", "float32");
  REFUSED(csrn_axis_sum(test.ctx, A, CSRN_PER_ROW, args.sums, CSRN_U64), "sums_type", "uint64", "float32");
  REFUSED(csrn_axis_sum(test.ctx, A, CSRN_PER_ROW, (char *)args.sums + 4, CSRN_F64), "sums", "aligned");
  csrn_csr no_indices = *A;
  no_indices.indices = NULL;
  REFUSED(csrn_axis_sum_excluding(test.ctx, &no_indices, CSRN_PER_ROW, args.mask_in, args.sums, CSRN_F64),
          "indices");
}

/* ---- Scaling -------------------------------------------------------------- */

static void axis_scale_arguments(void **state) {
  (void)state;
  make_arguments();
  csrn_context *ctx = test.ctx;
  const csrn_csr *A = &args.A;
  const float *f = args.factors_in;
  float *out = args.out;
  REFUSED(csrn_axis_scale(ctx, A, 0, CSRN_DIVIDE, NULL, CSRN_F32, 0, out, CSRN_F32), "factors", "NULL");
  REFUSED(csrn_axis_scale(ctx, A, 0, CSRN_DIVIDE, f, CSRN_F32, 0, NULL, CSRN_F32), "out", "NULL");
  for (size_t i = 0; i < COUNT(not_real); i++) {
    REFUSED(csrn_axis_scale(ctx, A, 0, CSRN_DIVIDE, f, not_real[i], 0, out, CSRN_F32), "factors_type");
    REFUSED(csrn_axis_scale(ctx, A, 0, CSRN_DIVIDE, f, CSRN_F32, 0, out, not_real[i]), "out_type");
  }
  for (size_t i = 0; i < COUNT(not_a_flag); i++) {
    int bad = not_a_flag[i];
    REFUSED(csrn_axis_scale(ctx, A, (csrn_axis)bad, CSRN_DIVIDE, f, CSRN_F32, 0, out, CSRN_F32), "axis");
    REFUSED(csrn_axis_scale(ctx, A, 0, (csrn_scale_op)bad, f, CSRN_F32, 0, out, CSRN_F32), "op");
    REFUSED(csrn_axis_scale(ctx, A, 0, CSRN_DIVIDE, f, CSRN_F32, (csrn_zero_policy)bad, out, CSRN_F32),
            "zeros");
  }
  REFUSED(csrn_axis_scale(ctx, A, 0, CSRN_DIVIDE, (const char *)f + 2, CSRN_F32, 0, out, CSRN_F32), "factors",
          "aligned");
  REFUSED(csrn_axis_scale(ctx, A, 0, CSRN_DIVIDE, f, CSRN_F32, 0, (char *)out + 1, CSRN_F32), "out",
          "aligned");
}

/* In place is for types of equal size: another would run over the data. */
static void in_place_needs_equal_sizes(void **state) {
  (void)state;
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int out = CSRN_F32; out <= CSRN_F64; out++) {
      csrn_dtype t = data_types[type], o = (csrn_dtype)out;
      make_arguments();
      sample_shape shape = random_shape(40, 10, 30, 151);
      sample m = sample_make(&shape, t, SAMPLE_LOW, 151);
      csrn_csr A = sample_place(&m, LAYOUT_IN_PLACE);
      if (csrn_dtype_size(t) == csrn_dtype_size(o)) {
        expect_ok(csrn_log1p(test.ctx, &A, 0.0, A.data, o));
      } else {
        REFUSED(csrn_log1p(test.ctx, &A, 0.0, A.data, o), "out");
        REFUSED(csrn_axis_scale(test.ctx, &A, 0, 0, args.factors_in, CSRN_F32, 0, A.data, o), "out");
        REFUSED(csrn_normalize_total(test.ctx, &A, NULL, A.data, o, NULL, NULL), "out");
        REFUSED(csrn_normalize_with(test.ctx, &A, args.totals, args.target, NULL, A.data, o, NULL, NULL),
                "out");
      }
      buffers_release();
    }
}

/* ---- Selection ------------------------------------------------------------ */

static void median_arguments(void **state) {
  (void)state;
  make_arguments();
  REFUSED(csrn_median_positive(test.ctx, args.totals, -1, args.median), "n", "-1");
  REFUSED(csrn_median_positive(test.ctx, NULL, 3, args.median), "values", "NULL");
  REFUSED(csrn_median_positive(test.ctx, args.totals, 3, NULL), "median", "NULL");
  REFUSED(csrn_median_positive(test.ctx, args.totals, INT64_MAX, args.median), "values");
  assert_int_equal(csrn_median_positive(NULL, args.totals, 3, args.median), CSRN_INVALID_ARGUMENT);
  assert_non_null(strstr(csrn_error_detail(NULL), "ctx"));
  expect_ok(csrn_median_positive(test.ctx, NULL, 0, args.median));
}

static void highly_expressed_arguments(void **state) {
  (void)state;
  make_arguments();
  const csrn_csr *A = &args.A;
  REFUSED(csrn_highly_expressed(test.ctx, A, CSRN_PER_ROW, 0.5, NULL), "mask", "NULL");
  for (size_t i = 0; i < COUNT(not_a_fraction); i++)
    REFUSED(csrn_highly_expressed(test.ctx, A, CSRN_PER_ROW, not_a_fraction[i], args.mask_out),
            "max_fraction");
  for (size_t i = 0; i < COUNT(not_a_flag); i++)
    REFUSED(csrn_highly_expressed(test.ctx, A, (csrn_axis)not_a_flag[i], 0.5, args.mask_out), "axis");
}

/* ---- Normalization -------------------------------------------------------- */

static csrn_status normalize(const csrn_normalize_options *options) {
  return csrn_normalize_total(test.ctx, &args.A, options, args.out, CSRN_F32, args.factors_out, args.report);
}

static csrn_status normalize_with(const csrn_normalize_options *options) {
  return csrn_normalize_with(test.ctx, &args.A, args.totals, args.target, options, args.out, CSRN_F32,
                             args.factors_out, args.report);
}

static void normalize_options_out_of_range(void **state) {
  (void)state;
  make_arguments();
  for (size_t i = 0; i < COUNT(not_a_flag); i++) {
    csrn_normalize_options o = args.options;
    o.axis = (csrn_axis)not_a_flag[i];
    REFUSED(normalize(&o), "axis");
    REFUSED(normalize_with(&o), "axis");
    o = args.options;
    o.target = (csrn_target)(not_a_flag[i] == 2 ? 3 : not_a_flag[i]);
    REFUSED(normalize(&o), "target");
    o = args.options;
    o.exclude_highly_expressed = not_a_flag[i];
    REFUSED(normalize(&o), "exclude_highly_expressed");
    o = args.options;
    o.log1p = not_a_flag[i];
    REFUSED(normalize(&o), "log1p");
    REFUSED(normalize_with(&o), "log1p");
  }
  for (size_t i = 0; i < COUNT(not_a_fraction); i++) {
    csrn_normalize_options o = args.options;
    o.max_fraction = not_a_fraction[i];
    REFUSED(normalize(&o), "max_fraction");
  }
  for (size_t i = 0; i < COUNT(not_a_base); i++) {
    csrn_normalize_options o = args.options;
    o.log1p = 1;
    o.log_base = not_a_base[i];
    REFUSED(normalize(&o), "log_base");
    REFUSED(normalize_with(&o), "log_base");
  }
}

static void option_sizes(void **state) {
  (void)state;
  make_arguments();
  const size_t sizes[] = {0, 1, sizeof(size_t) - 1, sizeof(csrn_normalize_options) + 1, SIZE_MAX};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    csrn_normalize_options o = args.options;
    o.size = sizes[i];
    REFUSED(normalize(&o), "options->size");
    REFUSED(normalize_with(&o), "options->size");
  }
}

/* An older program's struct ends earlier: what it lacks has its default. */
static void a_shorter_struct_has_defaults_behind_it(void **state) {
  (void)state;
  make_arguments();
  csrn_normalize_options o;
  memset(&o, 0xEE, sizeof o);
  o.size = offsetof(csrn_normalize_options, exclude_highly_expressed);
  o.axis = CSRN_PER_ROW;
  o.target = CSRN_TARGET_FIXED;
  o.target_sum = 10.0;
  expect_ok(normalize(&o));
  expect_ok(normalize_with(&o));
}

static void targets_that_are_no_target(void **state) {
  (void)state;
  make_arguments();
  const double bad[] = {0.0, -0.0, -1.0, NAN, INFINITY, -INFINITY};
  for (size_t i = 0; i < COUNT(bad); i++) {
    csrn_normalize_options o = args.options;
    o.target = CSRN_TARGET_FIXED;
    o.target_sum = bad[i];
    REFUSED(normalize(&o), "target_sum");
    if (isnan(bad[i]))
      continue; /* "no positive total", to csrn_normalize_with() */
    const double *target = place_input(&bad[i], 1, sizeof *target);
    REFUSED(csrn_normalize_with(test.ctx, &args.A, args.totals, target, NULL, args.out, CSRN_F32,
                                args.factors_out, args.report),
            "target");
  }
}

/* A target that rounds to 0 or Inf in the output's type cannot be divided by there. */
static void targets_that_vanish_in_float32(void **state) {
  (void)state;
  make_arguments();
  const double bad[] = {1e-60, 1e60, 0x1p-150, DBL_MAX};
  for (size_t i = 0; i < COUNT(bad); i++) {
    csrn_normalize_options o = args.options;
    o.target = CSRN_TARGET_FIXED;
    o.target_sum = bad[i];
    REFUSED(normalize(&o), "target_sum", "float32");
    double *wide = place_output(args.A.nnz, sizeof *wide);
    expect_ok(csrn_normalize_total(test.ctx, &args.A, &o, wide, CSRN_F64, NULL, NULL));
  }
}

/* The target is not looked at where it is not used. */
static void an_unused_target_sum_is_ignored(void **state) {
  (void)state;
  make_arguments();
  csrn_normalize_options o = args.options;
  o.target_sum = NAN;
  o.target = CSRN_TARGET_MEDIAN;
  expect_ok(normalize(&o));
  o.target = CSRN_TARGET_MEAN;
  expect_ok(normalize(&o));
}

static void normalize_arguments(void **state) {
  (void)state;
  make_arguments();
  csrn_context *ctx = test.ctx;
  const csrn_csr *A = &args.A;
  void *out = args.out;
  REFUSED(csrn_normalize_total(ctx, A, NULL, NULL, CSRN_F32, NULL, NULL), "out", "NULL");
  REFUSED(csrn_normalize_with(ctx, A, args.totals, args.target, NULL, NULL, CSRN_F32, NULL, NULL), "out",
          "NULL");
  REFUSED(csrn_normalize_with(ctx, A, NULL, args.target, NULL, out, CSRN_F32, NULL, NULL), "totals", "NULL");
  REFUSED(csrn_normalize_with(ctx, A, args.totals, NULL, NULL, out, CSRN_F32, NULL, NULL), "target", "NULL");
  for (size_t i = 0; i < COUNT(not_real); i++) {
    REFUSED(csrn_normalize_total(ctx, A, NULL, out, not_real[i], NULL, NULL), "out_type");
    REFUSED(csrn_normalize_with(ctx, A, args.totals, args.target, NULL, out, not_real[i], NULL, NULL),
            "out_type");
  }
  REFUSED(csrn_normalize_total(ctx, A, NULL, out, CSRN_F32, (char *)args.factors_out + 1, NULL), "factors",
          "aligned");
  REFUSED(csrn_normalize_total(ctx, A, NULL, out, CSRN_F32, NULL, (void *)((char *)args.report + 4)),
          "report", "aligned");
}

/* More columns than there are addresses for what is needed of each: no memory, and no crash. */
static void columns_beyond_memory(void **state) {
  (void)state;
  make_arguments();
  csrn_normalize_options o = CSRN_NORMALIZE_OPTIONS_INIT;
  csrn_context *ctx = test.ctx;
  for (int power = 44; power < 63; power++) {
    csrn_csr A = args.A;
    A.n_cols = INT64_C(1) << power;
    o.axis = CSRN_PER_COLUMN;
    const csrn_status all[] = {csrn_highly_expressed(ctx, &A, CSRN_PER_COLUMN, 0.5, args.mask_out),
                               csrn_normalize_total(ctx, &A, &o, args.out, CSRN_F32, NULL, NULL)};
    for (size_t i = 0; i < COUNT(all); i++)
      assert_int_equal(all[i], CSRN_OUT_OF_MEMORY);
    assert_non_null(strstr(csrn_error_detail(ctx), "n_cols"));
    o.axis = CSRN_PER_ROW;
    for (int target = CSRN_TARGET_MEDIAN; target <= CSRN_TARGET_FIXED; target++) {
      o.target = (csrn_target)target;
      o.target_sum = 10.0;
      expect_ok(csrn_normalize_total(ctx, &A, &o, args.out, CSRN_F32, NULL, NULL)); /* nothing of columns */
    }
    expect_ok(csrn_csr_check(ctx, &A));
  }
}

static void log1p_arguments(void **state) {
  (void)state;
  make_arguments();
  REFUSED(csrn_log1p(test.ctx, &args.A, 0.0, NULL, CSRN_F32), "out", "NULL");
  for (size_t i = 0; i < COUNT(not_real); i++)
    REFUSED(csrn_log1p(test.ctx, &args.A, 0.0, args.out, not_real[i]), "out_type");
  for (size_t i = 0; i < COUNT(not_a_base); i++)
    REFUSED(csrn_log1p(test.ctx, &args.A, not_a_base[i], args.out, CSRN_F32), "base");
}

/* ---- Contexts and buffers ------------------------------------------------- */

static void context_arguments(void **state) {
  (void)state;
  make_arguments();
  REFUSED(csrn_context_reserve(test.ctx, -1, 5), "n_rows");
  REFUSED(csrn_context_reserve(test.ctx, 5, -1), "n_cols");
  REFUSED(csrn_context_reserve(test.ctx, INT64_MAX, 1), "n_rows");
  REFUSED(csrn_context_reserve(test.ctx, 1, INT64_MAX), "n_cols");
  REFUSED(csrn_context_reserve(test.ctx, 1, INT64_C(1) << 57), "n_cols");
  const csrn_status with_null[] = {csrn_context_reserve(NULL, 1, 1), csrn_context_synchronize(NULL),
                                   csrn_context_set_stream(NULL, NULL)};
  for (size_t i = 0; i < COUNT(with_null); i++)
    assert_int_equal(with_null[i], CSRN_INVALID_ARGUMENT);
  assert_non_null(strstr(csrn_error_detail(NULL), "ctx"));
}

static void buffer_arguments(void **state) {
  (void)state;
  make_arguments();
  void *buffer = &buffer;
  char byte = 0;
  REFUSED(csrn_buffer_allocate(test.ctx, 8, NULL), "buffer");
  REFUSED(csrn_buffer_copy(test.ctx, NULL, &byte, 1), "to", "NULL");
  REFUSED(csrn_buffer_copy(test.ctx, &byte, NULL, 1), "from", "NULL");
  expect_ok(csrn_buffer_copy(test.ctx, NULL, NULL, 0));
  REFUSED(csrn_host_buffer_allocate(test.ctx, 8, NULL), "buffer");
  REFUSED(csrn_buffer_exchange(test.ctx, NULL, &byte, 1, NULL, NULL, 0), "to_device", "NULL");
  REFUSED(csrn_buffer_exchange(test.ctx, &byte, NULL, 1, NULL, NULL, 0), "from_host", "NULL");
  REFUSED(csrn_buffer_exchange(test.ctx, NULL, NULL, 0, NULL, &byte, 1), "to_host", "NULL");
  REFUSED(csrn_buffer_exchange(test.ctx, NULL, NULL, 0, &byte, NULL, 1), "from_device", "NULL");
  assert_int_equal(csrn_buffer_allocate(NULL, 8, &buffer), CSRN_INVALID_ARGUMENT);
  assert_int_equal(csrn_buffer_copy(NULL, &byte, &byte, 1), CSRN_INVALID_ARGUMENT);
  assert_int_equal(csrn_host_buffer_allocate(NULL, 8, &buffer), CSRN_INVALID_ARGUMENT);
  assert_int_equal(csrn_buffer_exchange(NULL, &byte, &byte, 1, NULL, NULL, 0), CSRN_INVALID_ARGUMENT);
  csrn_buffer_release(test.ctx, NULL, 0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(axis_sum_arguments),
      TEST(axis_scale_arguments),
      TEST(in_place_needs_equal_sizes),
      TEST(median_arguments),
      TEST(highly_expressed_arguments),
      TEST(normalize_options_out_of_range),
      TEST(option_sizes),
      TEST(a_shorter_struct_has_defaults_behind_it),
      TEST(targets_that_are_no_target),
      TEST(targets_that_vanish_in_float32),
      TEST(an_unused_target_sum_is_ignored),
      TEST(normalize_arguments),
      TEST(columns_beyond_memory),
      TEST(log1p_arguments),
      TEST(context_arguments),
      TEST(buffer_arguments),
  };
  return fixture_run(argc, argv, "errors_arguments", tests, COUNT(tests));
}
