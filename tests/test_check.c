/*
 * csrn_csr_check(): every index of every row, in every index type, first offender
 * named; and nothing that a valid matrix may have is refused.
 */
#include "sample.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void valid_matrices(void **state) {
  (void)state;
  for (placement where = PLACE_ALIGNED; where < N_PLACEMENTS; where++)
    for (int i = 0; i < N_INDEX_TYPES; i++)
      for (int j = 0; j < N_INDEX_TYPES; j++) {
        buffers_place(where);
        sample_shape shape = boundary_shape(index_types[i] == CSRN_U8 ? 8 : 130, 256);
        sample m = sample_make(&shape, CSRN_F32, SAMPLE_COUNTS, 131);
        csrn_csr A = sample_place(&m, (layout){index_types[i], index_types[j], false});
        expect_ok(csrn_csr_check(test.ctx, &A));
        A.data = NULL;
        A.data_type = CSRN_NONE;
        expect_ok(csrn_csr_check(test.ctx, &A));
        buffers_release();
      }
}

static void sizes_of_zero_are_valid(void **state) {
  (void)state;
  const int64_t none[] = {0}, empty[] = {0, 0, 0, 0};
  sample shapes[] = {
      sample_literal(0, 4, none, NULL, CSRN_F32, NULL), sample_literal(3, 0, empty, NULL, CSRN_F32, NULL),
      sample_literal(3, 4, empty, NULL, CSRN_I32, NULL), sample_literal(0, 0, none, NULL, CSRN_U8, NULL)};
  for (size_t i = 0; i < COUNT(shapes); i++) {
    csrn_csr A = sample_place(&shapes[i], LAYOUT_DEFAULT);
    expect_ok(csrn_csr_check(test.ctx, &A));
  }
}

/* One bad index at `at` in a matrix whose rows are 0, 1, 2 ... long. */
static void expect_bad_index(csrn_dtype indices_type, int64_t at, int64_t bad) {
  int64_t lengths[60];
  for (int64_t i = 0; i < 60; i++)
    lengths[i] = i;
  sample_shape shape = {lengths, 60, 200, 0, 0};
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 132);
  m.indices[at] = bad;
  csrn_csr A = sample_place(&m, (layout){CSRN_I32, indices_type, false});
  int64_t row = 0;
  while (m.indptr[row + 1] <= at)
    row++;
  char row_text[32], index_text[32];
  snprintf(row_text, sizeof row_text, "%lld", (long long)row);
  snprintf(index_text, sizeof index_text, "%lld", (long long)bad);
  expect_failure(CSRN_INVALID_MATRIX, csrn_csr_check(test.ctx, &A), "row", row_text, index_text, "199");
  buffers_release();
}

static void bad_index_anywhere(void **state) {
  (void)state;
  const int64_t nnz = 60 * 59 / 2;
  for (int i = 0; i < N_INDEX_TYPES; i++)
    for (int64_t at = 0; at < nnz; at += at < 40 || at > nnz - 40 ? 1 : 37) {
      expect_bad_index(index_types[i], at, 200);
      if (is_signed(index_types[i]))
        expect_bad_index(index_types[i], at, -1);
      host_release();
    }
}

static void extreme_indices(void **state) {
  (void)state;
  expect_bad_index(CSRN_I32, 100, INT32_MAX);
  expect_bad_index(CSRN_I32, 100, INT32_MIN);
  expect_bad_index(CSRN_I64, 100, INT64_MAX);
  expect_bad_index(CSRN_I64, 100, INT64_MIN);
  expect_bad_index(CSRN_I64, 100, INT64_C(1) << 32); /* 0 in its low half */
  expect_bad_index(CSRN_U32, 100, UINT32_MAX);
  expect_bad_index(CSRN_U16, 100, UINT16_MAX);
  expect_bad_index(CSRN_U8, 100, UINT8_MAX);
}

/* uint64 indices above INT64_MAX are large, not negative. */
static void uint64_indices_do_not_wrap(void **state) {
  (void)state;
  const uint64_t bad[] = {UINT64_MAX, (UINT64_C(1) << 63) + 1};
  const int64_t indptr[] = {0, 1};
  for (size_t i = 0; i < COUNT(bad); i++) {
    csrn_csr A = {.n_rows = 1, .n_cols = 5, .nnz = 1, .indptr_type = CSRN_I64, .indices_type = CSRN_U64};
    A.indptr = place_input(indptr, 2, sizeof *indptr);
    A.indices = place_input(&bad[i], 1, sizeof bad[i]);
    expect_failure(CSRN_INVALID_MATRIX, csrn_csr_check(test.ctx, &A), "row", "0");
  }
}

/* No column, but an entry: every index is out of range. */
static void an_entry_without_columns(void **state) {
  (void)state;
  const int64_t indptr[] = {0, 1}, indices[] = {0};
  csrn_csr A = {.n_rows = 1, .n_cols = 0, .nnz = 1, .indptr_type = CSRN_I64, .indices_type = CSRN_I64};
  A.indptr = place_input(indptr, 2, sizeof *indptr);
  A.indices = place_input(indices, 1, sizeof *indices);
  expect_failure(CSRN_INVALID_MATRIX, csrn_csr_check(test.ctx, &A), "row");
}

/* A large matrix, so that every thread has a share: the first bad index is named,
 * whichever thread meets one first. */
static void the_first_of_many_is_named(void **state) {
  (void)state;
  sample_shape shape = random_shape(40000, 20, 1000, 133);
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 133);
  int64_t first = m.nnz / 3;
  for (int64_t at = first; at < m.nnz; at += 10007)
    m.indices[at] = 1000000 + at;
  csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
  char index_text[32];
  snprintf(index_text, sizeof index_text, "%" PRId64, 1000000 + first);
  for (int repeat = 0; repeat < 5; repeat++)
    expect_failure(CSRN_INVALID_MATRIX, csrn_csr_check(test.ctx, &A), index_text);
}

/* What lies outside the rows of a view is not part of the matrix. */
static void entries_outside_the_rows_are_not_checked(void **state) {
  (void)state;
  sample_shape shape = boundary_shape(130, 40);
  shape.lead = 13;
  shape.tail = 17;
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 134); /* with bad indices there */
  csrn_csr A = sample_place(&m, LAYOUT(I32, I64));
  expect_ok(csrn_csr_check(test.ctx, &A));
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(valid_matrices),
      TEST(sizes_of_zero_are_valid),
      TEST(bad_index_anywhere),
      TEST(extreme_indices),
      TEST(uint64_indices_do_not_wrap),
      TEST(an_entry_without_columns),
      TEST(the_first_of_many_is_named),
      TEST(entries_outside_the_rows_are_not_checked),
  };
  return fixture_run(argc, argv, "check", tests, COUNT(tests));
}
