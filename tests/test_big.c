/*
 * More than 2^31 stored values: positions that no 32-bit integer holds. The arrays are
 * zeros that take memory only where they are written, so this needs address space and
 * time rather than RAM.
 */
#include "expect.h"

#include <string.h>

#define BIG (INT64_C(1) << 31)

/* Three long rows and a short one behind 2^31; uint8 data, uint8 indices. */
enum { N_ROWS = 4, SHORT = 1000 };
#define NNZ (BIG + 300000 + SHORT)

typedef struct big_matrix {
  csrn_csr A;
  uint8_t *data, *indices;
} big_matrix;

static big_matrix make_big(void) {
  const int64_t indptr[N_ROWS + 1] = {0, 100000, BIG + 200000, BIG + 300000, NNZ};
  uint8_t *data = place_zeros((size_t)NNZ), *indices = place_zeros((size_t)NNZ);
  if (!data || !indices)
    skip();
  uint8_t ones[SHORT], columns[SHORT];
  memset(ones, 3, sizeof ones);
  memset(columns, 1, sizeof columns);
  const int64_t at[] = {0, 100000, BIG - SHORT / 2, BIG + 200000 - SHORT, NNZ - SHORT};
  for (size_t i = 0; i < COUNT(at); i++) {
    store(data + at[i], ones, SHORT);
    store(indices + at[i], columns, SHORT);
  }
  csrn_csr A = {.n_rows = N_ROWS, .n_cols = 2, .nnz = NNZ, .indices = indices, .data = data};
  A.indptr = place_input(indptr, N_ROWS + 1, sizeof *indptr);
  A.indptr_type = CSRN_I64;
  A.indices_type = A.data_type = CSRN_U8;
  return (big_matrix){A, data, indices};
}

static void sums(void **state) {
  (void)state;
  big_matrix m = make_big();
  int64_t *placed = place_output(N_ROWS, sizeof *placed), got[N_ROWS];
  const int64_t rows[N_ROWS] = {INT64_C(3) * SHORT, INT64_C(9) * SHORT, 0, INT64_C(3) * SHORT};
  const int64_t columns[2] = {0, INT64_C(15) * SHORT};
  expect_ok(csrn_axis_sum(test.ctx, &m.A, CSRN_PER_ROW, placed, CSRN_I64));
  fetch(got, placed, sizeof got);
  assert_memory_equal(got, rows, sizeof rows);
  expect_ok(csrn_axis_sum(test.ctx, &m.A, CSRN_PER_COLUMN, placed, CSRN_I64));
  fetch(got, placed, sizeof columns);
  assert_memory_equal(got, columns, sizeof columns);
}

static void check(void **state) {
  (void)state;
  big_matrix m = make_big();
  expect_ok(csrn_csr_check(test.ctx, &m.A));
  const uint8_t bad = 2;
  store(m.indices + NNZ - 1, &bad, 1);
  assert_int_equal(csrn_csr_check(test.ctx, &m.A), CSRN_INVALID_MATRIX);
  assert_non_null(strstr(csrn_error_detail(test.ctx), "3"));
}

/* The last rows alone, as a view: out is as long as data, and written only there. */
static void normalizing_behind_2_to_31(void **state) {
  (void)state;
  big_matrix m = make_big();
  float *out = place_zeros((size_t)NNZ * sizeof *out);
  if (!out)
    skip();
  csrn_csr view = m.A;
  view.indptr = (const int64_t *)m.A.indptr + 2;
  view.n_rows = 2;
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.target = CSRN_TARGET_FIXED;
  options.target_sum = SHORT;
  expect_ok(csrn_normalize_total(test.ctx, &view, &options, out, CSRN_F32, NULL, NULL));
  static float got[SHORT + 2], expected[SHORT + 2];
  fetch(got, out + NNZ - SHORT - 1, (SHORT + 1) * sizeof *got);
  for (int i = 1; i <= SHORT; i++)
    expected[i] = 1.0f; /* 3 over (3000 / 1000) */
  expect_values(CSRN_F32, got, expected, SHORT + 1, "values behind 2^31");
  fetch(got, out + NNZ - SHORT - BIG, SHORT * sizeof *got); /* where a 32-bit position would land */
  memset(expected, 0, sizeof expected);
  expect_values(CSRN_F32, got, expected, SHORT, "values that are no part of the view");
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {TEST(sums), TEST(check), TEST(normalizing_behind_2_to_31)};
  return fixture_run(argc, argv, "big", tests, COUNT(tests));
}
