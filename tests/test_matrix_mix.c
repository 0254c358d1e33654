/*
 * Every data type with every type of indptr and of indices, through every operation
 * that could treat one of them differently. In brief each combination has two of the
 * ways to normalize, in turn.
 */
#include "expect.h"

#include <string.h>

static sample small_matrix(csrn_dtype type) {
  static const int64_t lengths[] = {0, 1, 33, 70, 2, 0, 64, 40, 35, 0};
  sample_shape shape = {lengths, COUNT(lengths), 256, 0, 0}; /* 245 values: any type indexes them */
  sample m = sample_make(&shape, type, SAMPLE_COUNTS, 181);
  m.indices[0] = 255;
  m.indices[m.nnz - 1] = 0;
  return m;
}

typedef void operation(const sample *m, layout how);

/* Runs over all 252 combinations. */
static void for_every_mix(operation *run) {
  for (int type = 0; type < N_DATA_TYPES; type++)
    for (int i = 0; i < N_INDEX_TYPES; i++)
      for (int j = 0; j < N_INDEX_TYPES; j++) {
        buffers_place((placement)((type + i + j) % N_PLACEMENTS));
        sample m = small_matrix(data_types[type]);
        run(&m, (layout){index_types[i], index_types[j], false});
        host_release();
      }
}

static void sums(const sample *m, layout how) {
  uint8_t *genes = host_array(256, 1), *cells = host_array(m->n_rows, 1);
  memset(genes, 1, 100);
  cells[3] = 1;
  expect_axis_sum(m, how, CSRN_PER_ROW, NULL, CSRN_F64);
  expect_axis_sum(m, how, CSRN_PER_COLUMN, NULL, CSRN_F64);
  expect_axis_sum(m, how, CSRN_PER_ROW, genes, CSRN_F64);
  expect_axis_sum(m, how, CSRN_PER_COLUMN, cells, CSRN_F64);
}

static void axis_sums(void **state) {
  (void)state;
  for_every_mix(sums);
}

static void scaling(const sample *m, layout how) {
  float factors[256];
  for (int i = 0; i < 256; i++)
    factors[i] = 0.3f + (float)i;
  for (int out = CSRN_F32; out <= CSRN_F64; out++) {
    expect_axis_scale(m, how, CSRN_PER_ROW, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_IEEE, (csrn_dtype)out);
    expect_axis_scale(m, how, CSRN_PER_COLUMN, CSRN_DIVIDE, factors, CSRN_F32, CSRN_ZERO_IEEE,
                      (csrn_dtype)out);
  }
}

static void axis_scaling(void **state) {
  (void)state;
  for_every_mix(scaling);
}

static void normalizing(const sample *m, layout how) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.max_fraction = 0.1;
  static int turn;
  turn++;
  for (int bits = 0; bits < 8; bits++) {
    if (fixture_is_brief() && (bits + turn) % 4)
      continue;
    csrn_dtype out = bits & 4 ? CSRN_F64 : CSRN_F32;
    options.exclude_highly_expressed = bits & 1;
    options.axis = (csrn_axis)(bits >> 1 & 1);
    options.log1p = bits & 1;
    how.in_place = can_be_in_place(m->type, out);
    expect_normalize(m, how, &options, out);
  }
}

static void normalization(void **state) {
  (void)state;
  for_every_mix(normalizing);
}

static void masking(const sample *m, layout how) {
  expect_highly_expressed(m, how, CSRN_PER_ROW, 0.2);
  expect_highly_expressed(m, how, CSRN_PER_COLUMN, 0.5);
}

static void exclusion(void **state) {
  (void)state;
  for_every_mix(masking);
}

static void checking(const sample *m, layout how) {
  csrn_csr A = sample_place(m, how);
  expect_ok(csrn_csr_check(test.ctx, &A));
  A.n_cols = 255; /* the first entry is in column 255 */
  expect_failure(CSRN_INVALID_MATRIX, csrn_csr_check(test.ctx, &A), "255");
  buffers_release();
}

static void structural_check(void **state) {
  (void)state;
  for_every_mix(checking);
}

static void logarithms(const sample *m, layout how) {
  expect_log1p(m, how, 0.0, CSRN_F32);
  expect_log1p(m, how, 10.0, CSRN_F64);
}

static void log1p_of_every_mix(void **state) {
  (void)state;
  for_every_mix(logarithms);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(axis_sums), TEST(axis_scaling),     TEST(normalization),
      TEST(exclusion), TEST(structural_check), TEST(log1p_of_every_mix),
  };
  return fixture_run(argc, argv, "matrix_mix", tests, COUNT(tests));
}
