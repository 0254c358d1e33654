/*
 * Every operation once: see battery.h. Inputs other than the matrix come from the same
 * generator, so a hash depends on the matrix and the library alone.
 */
#include "battery.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The operations ------------------------------------------------------- */

static csrn_dtype sums_type(const battery *b) {
  return is_real(b->A.data_type) ? CSRN_F64 : CSRN_I64;
}

static csrn_status row_sums(csrn_context *ctx, const battery *b) {
  return csrn_axis_sum(ctx, &b->A, CSRN_PER_ROW, b->vector, CSRN_F64);
}

static csrn_status row_sums_exact(csrn_context *ctx, const battery *b) {
  return csrn_axis_sum(ctx, &b->A, CSRN_PER_ROW, b->vector, sums_type(b));
}

static csrn_status row_sums_excluding(csrn_context *ctx, const battery *b) {
  return csrn_axis_sum_excluding(ctx, &b->A, CSRN_PER_ROW, b->excluded, b->vector, CSRN_F64);
}

static csrn_status column_sums(csrn_context *ctx, const battery *b) {
  return csrn_axis_sum(ctx, &b->A, CSRN_PER_COLUMN, b->vector, CSRN_F64);
}

static csrn_status column_sums_exact(csrn_context *ctx, const battery *b) {
  return csrn_axis_sum(ctx, &b->A, CSRN_PER_COLUMN, b->vector, sums_type(b));
}

static csrn_status column_sums_excluding(csrn_context *ctx, const battery *b) {
  return csrn_axis_sum_excluding(ctx, &b->A, CSRN_PER_COLUMN, b->excluded, b->vector, CSRN_F64);
}

static csrn_status divide_rows(csrn_context *ctx, const battery *b) {
  return csrn_axis_scale(ctx, &b->A, CSRN_PER_ROW, CSRN_DIVIDE, b->factors_f32, CSRN_F32, CSRN_ZERO_AS_ONE,
                         b->out, CSRN_F32);
}

static csrn_status divide_rows_wide(csrn_context *ctx, const battery *b) {
  return csrn_axis_scale(ctx, &b->A, CSRN_PER_ROW, CSRN_DIVIDE, b->factors_f64, CSRN_F64, CSRN_ZERO_IEEE,
                         b->out, CSRN_F64);
}

static csrn_status multiply_columns(csrn_context *ctx, const battery *b) {
  return csrn_axis_scale(ctx, &b->A, CSRN_PER_COLUMN, CSRN_MULTIPLY, b->factors_f32, CSRN_F32, CSRN_ZERO_IEEE,
                         b->out, CSRN_F32);
}

static csrn_status divide_columns_wide(csrn_context *ctx, const battery *b) {
  return csrn_axis_scale(ctx, &b->A, CSRN_PER_COLUMN, CSRN_DIVIDE, b->factors_f64, CSRN_F64, CSRN_ZERO_AS_ONE,
                         b->out, CSRN_F32);
}

static csrn_status median_positive(csrn_context *ctx, const battery *b) {
  return csrn_median_positive(ctx, b->totals, b->n, b->median);
}

static csrn_status highly_expressed(csrn_context *ctx, const battery *b) {
  return csrn_highly_expressed(ctx, &b->A, CSRN_PER_ROW, 0.05, b->mask);
}

static csrn_status highly_expressed_columns(csrn_context *ctx, const battery *b) {
  return csrn_highly_expressed(ctx, &b->A, CSRN_PER_COLUMN, 0.05, b->mask);
}

static csrn_status normalize(csrn_context *ctx, const battery *b, csrn_axis axis, csrn_target target,
                             bool exclude, bool log1p, double base, csrn_dtype out_type) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.axis = axis;
  options.target = target;
  options.target_sum = 1234.56;
  options.exclude_highly_expressed = exclude;
  options.log1p = log1p;
  options.log_base = base;
  options.excluded = b->mask;
  return csrn_normalize_total(ctx, &b->A, &options, b->out, out_type, b->vector, b->report);
}

static csrn_status normalize_median(csrn_context *ctx, const battery *b) {
  return normalize(ctx, b, CSRN_PER_ROW, CSRN_TARGET_MEDIAN, false, false, 0.0, CSRN_F32);
}

static csrn_status normalize_fixed_log1p(csrn_context *ctx, const battery *b) {
  return normalize(ctx, b, CSRN_PER_ROW, CSRN_TARGET_FIXED, false, true, 0.0, CSRN_F32);
}

static csrn_status normalize_excluding_log2(csrn_context *ctx, const battery *b) {
  return normalize(ctx, b, CSRN_PER_ROW, CSRN_TARGET_MEDIAN, true, true, 2.0, CSRN_F32);
}

static csrn_status normalize_fixed_excluding(csrn_context *ctx, const battery *b) {
  return normalize(ctx, b, CSRN_PER_ROW, CSRN_TARGET_FIXED, true, true, 0.0, CSRN_F32);
}

static csrn_status normalize_mean_wide(csrn_context *ctx, const battery *b) {
  return normalize(ctx, b, CSRN_PER_ROW, CSRN_TARGET_MEAN, false, true, 0.0, CSRN_F64);
}

static csrn_status normalize_columns(csrn_context *ctx, const battery *b) {
  return normalize(ctx, b, CSRN_PER_COLUMN, CSRN_TARGET_MEDIAN, true, true, 0.0, CSRN_F32);
}

static csrn_status normalize_with(csrn_context *ctx, const battery *b) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.log1p = 1;
  return csrn_normalize_with(ctx, &b->A, b->totals, b->target, &options, b->out, CSRN_F32, b->vector,
                             b->report);
}

static csrn_status log1p_single(csrn_context *ctx, const battery *b) {
  return csrn_log1p(ctx, &b->A, 0.0, b->out, CSRN_F32);
}

static csrn_status log1p_wide(csrn_context *ctx, const battery *b) {
  return csrn_log1p(ctx, &b->A, 10.0, b->out, CSRN_F64);
}

static csrn_status check(csrn_context *ctx, const battery *b) {
  return csrn_csr_check(ctx, &b->A);
}

const battery_operation battery_operations[N_OPERATIONS] = {
    {"row sums", row_sums, CSRN_U64, CSRN_F64},
    {"row sums, exact", row_sums_exact, CSRN_U64, CSRN_F64},
    {"row sums, excluding", row_sums_excluding, CSRN_U64, CSRN_F64},
    {"column sums", column_sums, CSRN_U64, CSRN_F64},
    {"column sums, exact", column_sums_exact, CSRN_U64, CSRN_F64},
    {"column sums, excluding", column_sums_excluding, CSRN_U64, CSRN_F64},
    {"divide rows", divide_rows, CSRN_F32, CSRN_U64},
    {"divide rows, float64", divide_rows_wide, CSRN_F64, CSRN_U64},
    {"multiply columns", multiply_columns, CSRN_F32, CSRN_U64},
    {"divide columns, float64", divide_columns_wide, CSRN_F32, CSRN_U64},
    {"median", median_positive, CSRN_U64, CSRN_U64},
    {"highly expressed", highly_expressed, CSRN_U64, CSRN_U64},
    {"highly expressed, columns", highly_expressed_columns, CSRN_U64, CSRN_U64},
    {"normalize, median", normalize_median, CSRN_F32, CSRN_F32},
    {"normalize, fixed, log1p", normalize_fixed_log1p, CSRN_F32, CSRN_F32},
    {"normalize, excluding, log2", normalize_excluding_log2, CSRN_F32, CSRN_F32},
    {"normalize, mean, float64", normalize_mean_wide, CSRN_F64, CSRN_F64},
    {"normalize columns", normalize_columns, CSRN_F32, CSRN_F32},
    {"normalize_with", normalize_with, CSRN_F32, CSRN_F32},
    {"log1p", log1p_single, CSRN_F32, CSRN_U64},
    {"log10(1 + x), float64", log1p_wide, CSRN_F64, CSRN_U64},
    {"check", check, CSRN_U64, CSRN_U64},
    {"normalize, fixed, excluding, log1p", normalize_fixed_excluding, CSRN_F32, CSRN_F32},
};

csrn_status battery_call(const battery_operation *operation, const battery *b) {
  return operation->run(test.ctx, b);
}

/* ---- Inputs and outputs --------------------------------------------------- */

battery battery_place(const sample *m) {
  return battery_place_as(m, LAYOUT_DEFAULT);
}

battery battery_place_as(const sample *m, layout how) {
  battery b = {.A = sample_place(m, how)};
  b.n = m->n_rows > m->n_cols ? m->n_rows : m->n_cols;
  float *single = host_array(b.n, sizeof *single);
  double *wide = host_array(b.n, sizeof *wide), *totals = host_array(b.n, sizeof *totals), target = 1512.5;
  uint8_t *excluded = host_array(b.n, 1);
  uint64_t seed = 161;
  for (int64_t i = 0; i < b.n; i++) {
    sample_value(CSRN_F32, single, i, i % 50 ? SAMPLE_REALS : SAMPLE_WILD, &seed);
    sample_value(CSRN_F64, wide, i, i % 50 ? SAMPLE_REALS : SAMPLE_WILD, &seed);
    sample_value(CSRN_F64, totals, i, i % 50 ? SAMPLE_POSITIVE : SAMPLE_WILD, &seed);
    excluded[i] = random_below(&seed, 5) == 0;
  }
  b.factors_f32 = place_input(single, b.n, sizeof *single);
  b.factors_f64 = place_input(wide, b.n, sizeof *wide);
  b.totals = place_input(totals, b.n, sizeof *totals);
  b.target = place_input(&target, 1, sizeof target);
  b.excluded = place_input(excluded, b.n, 1);
  b.out = place_output(m->nnz, 8);
  b.vector = place_output(b.n, 8);
  b.mask = place_output(b.n, 1);
  b.median = place_output(1, 8);
  b.report = place_output(sizeof(csrn_normalize_report) / 8, 8);
  return b;
}

static void clear(void *array, size_t bytes) {
  void *fill = malloc(bytes + 1);
  assert_non_null(fill);
  memset(fill, BUFFER_FILL, bytes);
  store(array, fill, bytes);
  free(fill);
}

void battery_clear(const battery *b) {
  clear(b->out, (size_t)b->A.nnz * 8);
  clear(b->vector, (size_t)b->n * 8);
  clear(b->mask, (size_t)b->n);
  clear(b->median, sizeof *b->median);
  clear(b->report, sizeof *b->report);
}

/* FNV-1a over words, so that it keeps up with arrays of megabytes. */
static uint64_t hash_word(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * UINT64_C(0x100000001B3);
  return hash ^ (hash >> 29);
}

static uint64_t hash_array(uint64_t hash, csrn_dtype type, const void *placed, size_t bytes) {
  size_t size = csrn_dtype_size(type);
  unsigned char *image = malloc(bytes + 8);
  assert_non_null(image);
  fetch(image, placed, bytes);
  for (size_t i = 0; i < bytes; i += size) {
    uint64_t word = 0;
    memcpy(&word, image + i, size);
    if (is_real(type) && isnan(load_f64(type, image + i, 0)))
      word = UINT64_C(0x7FF8000000000000);
    hash = hash_word(hash, word);
  }
  free(image);
  return hash;
}

uint64_t battery_hash(const battery *b, const battery_operation *operation) {
  uint64_t hash = UINT64_C(0xCBF29CE484222325);
  hash = hash_array(hash, operation->out_type, b->out, (size_t)b->A.nnz * 8);
  hash = hash_array(hash, operation->vector_type, b->vector, (size_t)b->n * 8);
  hash = hash_array(hash, CSRN_U8, b->mask, (size_t)b->n);
  hash = hash_array(hash, CSRN_F64, b->median, sizeof *b->median);
  return hash_array(hash, CSRN_F64, b->report, sizeof *b->report);
}

void battery_hashes(const sample *m, battery_invoke *invoke, uint64_t hashes[N_OPERATIONS]) {
  battery b = battery_place(m);
  for (int i = 0; i < N_OPERATIONS; i++) {
    battery_clear(&b);
    csrn_status status = invoke(&battery_operations[i], &b);
    if (status)
      fail_msg("%s: %d: %s", battery_operations[i].name, (int)status, csrn_error_detail(test.ctx));
    expect_ok(status);
    hashes[i] = battery_hash(&b, &battery_operations[i]);
  }
  buffers_release();
}

void battery_expect(const uint64_t *got, const uint64_t *expected, const char *what) {
  int wrong = 0;
  for (int i = 0; i < N_OPERATIONS; i++) {
    if (got[i] == expected[i])
      continue;
    print_error("%s: %s: hash 0x%016" PRIx64 ", expected 0x%016" PRIx64 "\n", what,
                battery_operations[i].name, got[i], expected[i]);
    wrong++;
  }
  if (wrong)
    fail_msg("%s: %d of %d operations gave other bits", what, wrong, N_OPERATIONS);
}
