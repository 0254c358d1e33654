/*
 * The calls of error_calls.h: each passes on the matrix it is given, and args for the
 * rest.
 */
#include "error_calls.h"

#include <string.h>

error_arguments args;

void make_arguments(void) {
  enum { N = 64 };
  sample_shape shape = random_shape(40, 10, 30, 141);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 141);
  double ones[N];
  float single_ones[N];
  uint8_t zeros[N] = {0};
  for (int i = 0; i < N; i++)
    single_ones[i] = (float)(ones[i] = 1.0);
  memset(&args, 0, sizeof args);
  args.A = sample_place(&m, LAYOUT_DEFAULT);
  args.sums = place_output(40, 8);
  args.factors_in = place_input(single_ones, 40, 4);
  args.out = place_output(m.nnz, 4);
  args.factors_out = place_output(40, 4);
  args.mask_in = place_input(zeros, 40, 1);
  args.mask_out = place_output(40, 1);
  args.totals = place_input(ones, 40, 8);
  args.target = place_input(ones, 1, 8);
  args.median = place_output(1, 8);
  args.report = place_report();
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.exclude_highly_expressed = 1;
  options.excluded = args.mask_out;
  args.options = options;
}

static csrn_status call_row_sums(csrn_context *ctx, const csrn_csr *A) {
  return csrn_axis_sum(ctx, A, CSRN_PER_ROW, args.sums, CSRN_F64);
}

static csrn_status call_column_sums(csrn_context *ctx, const csrn_csr *A) {
  return csrn_axis_sum(ctx, A, CSRN_PER_COLUMN, args.sums, CSRN_F64);
}

static csrn_status call_row_sums_excluding(csrn_context *ctx, const csrn_csr *A) {
  return csrn_axis_sum_excluding(ctx, A, CSRN_PER_ROW, args.mask_in, args.sums, CSRN_F64);
}

static csrn_status call_scale_rows(csrn_context *ctx, const csrn_csr *A) {
  return csrn_axis_scale(ctx, A, CSRN_PER_ROW, CSRN_DIVIDE, args.factors_in, CSRN_F32, CSRN_ZERO_IEEE,
                         args.out, CSRN_F32);
}

static csrn_status call_scale_columns(csrn_context *ctx, const csrn_csr *A) {
  return csrn_axis_scale(ctx, A, CSRN_PER_COLUMN, CSRN_MULTIPLY, args.factors_in, CSRN_F32, CSRN_ZERO_IEEE,
                         args.out, CSRN_F32);
}

static csrn_status call_highly_expressed(csrn_context *ctx, const csrn_csr *A) {
  return csrn_highly_expressed(ctx, A, CSRN_PER_ROW, 0.5, args.mask_out);
}

static csrn_status call_normalize_total(csrn_context *ctx, const csrn_csr *A) {
  return csrn_normalize_total(ctx, A, NULL, args.out, CSRN_F32, args.factors_out, args.report);
}

static csrn_status call_normalize_excluding(csrn_context *ctx, const csrn_csr *A) {
  return csrn_normalize_total(ctx, A, &args.options, args.out, CSRN_F32, args.factors_out, args.report);
}

static csrn_status call_normalize_columns(csrn_context *ctx, const csrn_csr *A) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.axis = CSRN_PER_COLUMN;
  return csrn_normalize_total(ctx, A, &options, args.out, CSRN_F32, args.factors_out, args.report);
}

static csrn_status call_normalize_with(csrn_context *ctx, const csrn_csr *A) {
  return csrn_normalize_with(ctx, A, args.totals, args.target, NULL, args.out, CSRN_F32, args.factors_out,
                             args.report);
}

static csrn_status call_log1p(csrn_context *ctx, const csrn_csr *A) {
  return csrn_log1p(ctx, A, 0.0, args.out, CSRN_F32);
}

static csrn_status call_check(csrn_context *ctx, const csrn_csr *A) {
  return csrn_csr_check(ctx, A);
}

const error_call error_calls[N_ERROR_CALLS] = {
    {"row sums", call_row_sums, false, true},
    {"column sums", call_column_sums, true, true},
    {"row sums with a mask", call_row_sums_excluding, true, true},
    {"scaling of rows", call_scale_rows, false, true},
    {"scaling of columns", call_scale_columns, true, true},
    {"highly expressed", call_highly_expressed, true, true},
    {"normalize_total", call_normalize_total, false, true},
    {"normalize_total with exclusion", call_normalize_excluding, true, true},
    {"normalize_total of columns", call_normalize_columns, true, true},
    {"normalize_with", call_normalize_with, false, true},
    {"log1p", call_log1p, false, true},
    {"csr_check", call_check, true, false},
};
