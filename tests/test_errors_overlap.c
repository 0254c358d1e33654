/*
 * Overlapping arrays: every output against every other array of its call, by a whole
 * array and by a single byte; and the neighbours that only touch, which are fine.
 */
#include "error_calls.h"

#define REFUSED(call, ...) expect_failure(CSRN_INVALID_ARGUMENT, call, __VA_ARGS__)

/* The base matrix with all its arrays in one block that calls may write. */
typedef struct packed {
  csrn_csr A;
  char *block; /* [indptr | indices | data | room], each a multiple of 8 bytes */
  size_t indptr_bytes, indices_bytes, data_bytes;
} packed;

static packed pack(void) {
  make_arguments();
  packed p = {.A = args.A};
  p.indptr_bytes = (size_t)(p.A.n_rows + 1) * 8;
  p.indices_bytes = ((size_t)p.A.nnz * 4 + 7) / 8 * 8;
  p.data_bytes = ((size_t)p.A.nnz * 4 + 7) / 8 * 8;
  size_t total = p.indptr_bytes + p.indices_bytes + 3 * p.data_bytes;
  char *image = host_array((int64_t)total, 1);
  fetch(image, p.A.indptr, p.indptr_bytes);
  fetch(image + p.indptr_bytes, p.A.indices, (size_t)p.A.nnz * 4);
  fetch(image + p.indptr_bytes + p.indices_bytes, p.A.data, (size_t)p.A.nnz * 4);
  p.block = place_inout(image, (int64_t)total, 1);
  if ((uintptr_t)p.block % 8 != 0)
    fail_msg("the block is not aligned");
  p.A.indptr = p.block;
  p.A.indices = p.block + p.indptr_bytes;
  p.A.data = p.block + p.indptr_bytes + p.indices_bytes;
  return p;
}

static void sums_over_the_matrix(void **state) {
  (void)state;
  packed p = pack();
  char *indices = p.block + p.indptr_bytes, *data = indices + p.indices_bytes;
  for (csrn_axis axis = CSRN_PER_ROW; axis <= CSRN_PER_COLUMN; axis++) {
    REFUSED(csrn_axis_sum(test.ctx, &p.A, axis, p.block, CSRN_F64), "sums", "overlap");
    REFUSED(csrn_axis_sum(test.ctx, &p.A, axis, indices, CSRN_F64), "sums", "overlap");
    REFUSED(csrn_axis_sum(test.ctx, &p.A, axis, data, CSRN_F64), "sums", "overlap");
    REFUSED(csrn_axis_sum(test.ctx, &p.A, axis, data + p.data_bytes - 8, CSRN_F64), "sums", "overlap");
    expect_ok(csrn_axis_sum(test.ctx, &p.A, axis, data + p.data_bytes, CSRN_F64));
  }
}

static void out_over_the_matrix(void **state) {
  (void)state;
  packed p = pack();
  char *indices = p.block + p.indptr_bytes, *data = indices + p.indices_bytes;
  char *const places[] = {p.block,  p.block + p.indptr_bytes - 8,  indices, data - 8, data + 4,
                          data - 4, data + (size_t)p.A.nnz * 4 - 4};
  for (size_t i = 0; i < COUNT(places); i++) {
    REFUSED(csrn_log1p(test.ctx, &p.A, 0.0, places[i], CSRN_F32), "out", "overlap");
    REFUSED(csrn_axis_scale(test.ctx, &p.A, 0, 0, args.factors_in, CSRN_F32, 0, places[i], CSRN_F32), "out",
            "overlap");
    REFUSED(csrn_normalize_total(test.ctx, &p.A, NULL, places[i], CSRN_F32, NULL, NULL), "out", "overlap");
    REFUSED(
        csrn_normalize_with(test.ctx, &p.A, args.totals, args.target, NULL, places[i], CSRN_F32, NULL, NULL),
        "out", "overlap");
  }
  expect_ok(csrn_log1p(test.ctx, &p.A, 0.0, data + p.data_bytes, CSRN_F32));
  expect_ok(csrn_log1p(test.ctx, &p.A, 0.0, data, CSRN_F32));
}

/* An 8-byte result over 4-byte data beside it. */
static void a_wider_out_over_the_data(void **state) {
  (void)state;
  packed p = pack();
  char *data = p.A.data;
  REFUSED(csrn_log1p(test.ctx, &p.A, 0.0, data, CSRN_F64), "out");
  REFUSED(csrn_log1p(test.ctx, &p.A, 0.0, data + p.data_bytes - 8, CSRN_F64), "out", "overlap");
  expect_ok(csrn_log1p(test.ctx, &p.A, 0.0, data + p.data_bytes, CSRN_F64));
}

static void masks(void **state) {
  (void)state;
  packed p = pack();
  char *data = p.A.data;
  uint8_t *over_data = (uint8_t *)data + (size_t)p.A.nnz * 4 - 1, *over_indptr = (uint8_t *)p.block;
  REFUSED(csrn_highly_expressed(test.ctx, &p.A, CSRN_PER_ROW, 0.5, over_data), "mask", "overlap");
  REFUSED(csrn_highly_expressed(test.ctx, &p.A, CSRN_PER_ROW, 0.5, over_indptr), "mask", "overlap");
  csrn_normalize_options options = args.options;
  options.excluded = over_data;
  REFUSED(csrn_normalize_total(test.ctx, &p.A, &options, args.out, CSRN_F32, NULL, NULL), "excluded",
          "overlap");
  uint8_t *sums = (uint8_t *)args.sums;
  REFUSED(csrn_axis_sum_excluding(test.ctx, &p.A, CSRN_PER_ROW, sums, args.sums, CSRN_F64), "sums",
          "overlap");
}

static void factors_and_out(void **state) {
  (void)state;
  make_arguments();
  const csrn_csr *A = &args.A;
  float *inside = args.out + 3;
  REFUSED(csrn_axis_scale(test.ctx, A, 0, 0, inside, CSRN_F32, 0, args.out, CSRN_F32), "factors", "overlap");
  REFUSED(csrn_normalize_total(test.ctx, A, NULL, args.out, CSRN_F32, inside, NULL), "factors", "overlap");
  REFUSED(csrn_normalize_total(test.ctx, A, NULL, args.out, CSRN_F32, args.out, NULL), "factors", "overlap");
  REFUSED(csrn_normalize_total(test.ctx, A, NULL, args.out, CSRN_F32, A->data, NULL), "factors", "overlap");
}

static void report_and_the_rest(void **state) {
  (void)state;
  make_arguments();
  const csrn_csr *A = &args.A;
  csrn_normalize_report *over_out = (csrn_normalize_report *)(void *)args.out;
  csrn_normalize_options options = args.options;
  REFUSED(csrn_normalize_total(test.ctx, A, NULL, args.out, CSRN_F32, NULL, over_out), "report", "overlap");
  REFUSED(csrn_normalize_total(test.ctx, A, NULL, args.out, CSRN_F32, args.report, args.report), "report",
          "overlap");
  options.excluded = (uint8_t *)args.report + 47;
  REFUSED(csrn_normalize_total(test.ctx, A, &options, args.out, CSRN_F32, NULL, args.report), "excluded",
          "overlap");
  options.excluded = (uint8_t *)args.factors_out;
  REFUSED(csrn_normalize_total(test.ctx, A, &options, args.out, CSRN_F32, args.factors_out, NULL), "excluded",
          "overlap");
}

static void totals_and_target(void **state) {
  (void)state;
  make_arguments();
  const csrn_csr *A = &args.A;
  double ones[64];
  for (int i = 0; i < 64; i++)
    ones[i] = 1.0;
  double *totals = place_inout(ones, 64, sizeof *ones);
  float *over = (float *)(void *)totals;
  csrn_normalize_report *report = (csrn_normalize_report *)(void *)totals;
  REFUSED(csrn_normalize_with(test.ctx, A, totals, args.target, NULL, args.out, CSRN_F32, over, NULL),
          "totals", "overlap");
  REFUSED(csrn_normalize_with(test.ctx, A, totals, args.target, NULL, args.out, CSRN_F32, NULL, report),
          "report", "overlap");
  REFUSED(csrn_normalize_with(test.ctx, A, args.totals, totals + 5, NULL, args.out, CSRN_F32, NULL, report),
          "target", "overlap");
}

static void median_over_its_values(void **state) {
  (void)state;
  make_arguments();
  double values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  double *placed = place_inout(values, 8, sizeof *values);
  REFUSED(csrn_median_positive(test.ctx, placed, 8, placed), "median", "overlap");
  REFUSED(csrn_median_positive(test.ctx, placed, 8, placed + 7), "median", "overlap");
  expect_ok(csrn_median_positive(test.ctx, placed, 7, placed + 7));
}

/* Inputs may share memory with each other: nothing is written there. */
static void inputs_may_overlap(void **state) {
  (void)state;
  make_arguments();
  csrn_csr A = args.A;
  const double totals[64] = {5.0};
  double *placed = place_input(totals, 64, sizeof *totals);
  expect_ok(csrn_normalize_with(test.ctx, &A, placed, placed, NULL, args.out, CSRN_F32, NULL, NULL));
  A.indices = A.data; /* 32-bit patterns of floats: never looked at per row */
  expect_ok(csrn_log1p(test.ctx, &A, 0.0, args.out, CSRN_F32));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(sums_over_the_matrix),      TEST(out_over_the_matrix),
      TEST(a_wider_out_over_the_data), TEST(masks),
      TEST(factors_and_out),           TEST(report_and_the_rest),
      TEST(totals_and_target),         TEST(median_over_its_values),
      TEST(inputs_may_overlap),
  };
  return fixture_run(argc, argv, "errors_overlap", tests, COUNT(tests));
}
