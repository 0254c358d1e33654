/*
 * A matrix that is none: every defect of a csrn_csr, given to every operation. Each
 * must be refused with the defect named, and before anything is written.
 */
#include "error_calls.h"

#include <string.h>

/* Every operation that `applies` to refuses A. */
#define REFUSED(code, applies, A, ...)                                                                       \
  do {                                                                                                       \
    for (int call_ = 0; call_ < N_ERROR_CALLS; call_++)                                                      \
      if (applies)                                                                                           \
        expect_failure(code, error_calls[call_].run(test.ctx, A), __VA_ARGS__);                              \
  } while (0)
#define NEEDS_INDICES error_calls[call_].needs_indices
#define NEEDS_DATA    error_calls[call_].needs_data

static void the_base_is_valid(void **state) {
  (void)state;
  make_arguments();
  for (int i = 0; i < N_ERROR_CALLS; i++)
    expect_ok(error_calls[i].run(test.ctx, &args.A));
}

static void null_context(void **state) {
  (void)state;
  make_arguments();
  for (int i = 0; i < N_ERROR_CALLS; i++) {
    assert_int_equal(error_calls[i].run(NULL, &args.A), CSRN_INVALID_ARGUMENT);
    assert_non_null(strstr(csrn_error_detail(NULL), "ctx"));
  }
  buffers_check();
}

static void null_matrix(void **state) {
  (void)state;
  make_arguments();
  REFUSED(CSRN_INVALID_ARGUMENT, true, NULL, "A is NULL");
}

static void sizes_out_of_range(void **state) {
  (void)state;
  make_arguments();
  csrn_csr A = args.A;
  int64_t *const sizes[] = {&A.n_rows, &A.n_cols, &A.nnz};
  const char *const names[] = {"n_rows", "n_cols", "nnz"};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    int64_t right = *sizes[i];
    *sizes[i] = -1;
    REFUSED(CSRN_INVALID_ARGUMENT, true, &A, names[i], "-1");
    *sizes[i] = INT64_MIN;
    REFUSED(CSRN_INVALID_ARGUMENT, true, &A, names[i], "-9223372036854775808");
    *sizes[i] = INT64_MAX;
    REFUSED(CSRN_INVALID_ARGUMENT, true, &A, names[i], "9223372036854775807");
    *sizes[i] = right;
  }
}

/* Sizes whose arrays no memory holds are refused before their bytes are computed. */
static void sizes_beyond_memory(void **state) {
  (void)state;
  make_arguments();
  csrn_csr A = args.A;
  A.n_rows = INT64_C(1) << 61;
  REFUSED(CSRN_INVALID_ARGUMENT, true, &A, "indptr");
  A = args.A;
  A.nnz = INT64_C(1) << 62;
  REFUSED(CSRN_INVALID_ARGUMENT, NEEDS_DATA, &A, "data");
  REFUSED(CSRN_INVALID_ARGUMENT, !NEEDS_DATA, &A, "indices");
}

static void absent_arrays(void **state) {
  (void)state;
  make_arguments();
  csrn_csr A = args.A;
  A.indptr = NULL;
  REFUSED(CSRN_INVALID_ARGUMENT, true, &A, "A->indptr", "NULL");
  A = args.A;
  A.data = NULL;
  REFUSED(CSRN_INVALID_ARGUMENT, NEEDS_DATA, &A, "A->data", "NULL");
  A = args.A;
  A.indices = NULL;
  REFUSED(CSRN_INVALID_ARGUMENT, NEEDS_INDICES, &A, "A->indices", "NULL");
}

static void wrong_types(void **state) {
  (void)state;
  make_arguments();
  const int not_data[] = {CSRN_NONE, CSRN_U64, CSRN_I64 + 1, -1, 1000};
  const int not_indices[] = {CSRN_NONE, CSRN_F32, CSRN_F64, CSRN_I64 + 1, -1, 1000};
  for (size_t i = 0; i < COUNT(not_data); i++) {
    csrn_csr A = args.A;
    A.data_type = (csrn_dtype)not_data[i];
    REFUSED(CSRN_INVALID_ARGUMENT, NEEDS_DATA, &A, "A->data_type");
  }
  for (size_t i = 0; i < COUNT(not_indices); i++) {
    csrn_csr A = args.A;
    A.indptr_type = (csrn_dtype)not_indices[i];
    REFUSED(CSRN_INVALID_ARGUMENT, true, &A, "A->indptr_type");
    A = args.A;
    A.indices_type = (csrn_dtype)not_indices[i];
    REFUSED(CSRN_INVALID_ARGUMENT, NEEDS_INDICES, &A, "A->indices_type");
  }
}

static void addresses_that_do_not_fit_their_type(void **state) {
  (void)state;
  make_arguments();
  csrn_csr A = args.A;
  A.nnz--;
  A.data = (char *)args.A.data + 1;
  REFUSED(CSRN_INVALID_ARGUMENT, NEEDS_DATA, &A, "A->data", "aligned");
  A.data = args.A.data;
  A.indices = (const char *)args.A.indices + 2;
  REFUSED(CSRN_INVALID_ARGUMENT, NEEDS_INDICES, &A, "A->indices", "aligned");
  A.indices = args.A.indices;
  A.indptr = (const char *)args.A.indptr + 4;
  REFUSED(CSRN_INVALID_ARGUMENT, true, &A, "A->indptr", "aligned");
}

/* ---- indptr --------------------------------------------------------------- */

/* A matrix of 40 rows with one entry of indptr replaced; INT64_MAX stands for nnz. */
static csrn_csr with_indptr(csrn_dtype type, int64_t at, int64_t value) {
  make_arguments();
  sample_shape shape = random_shape(40, 5, 30, 142); /* about 200 values: fits uint8 */
  sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 142);
  m.indptr[at] = value == INT64_MAX ? m.nnz : value;
  return sample_place(&m, (layout){type, CSRN_I32, false});
}

static void decreasing_indptr(void **state) {
  (void)state;
  static const struct {
    int64_t at, value;
  } defects[] = {{1, INT64_MAX}, {2, INT64_MAX}, {20, INT64_MAX}, {20, 0}, {39, 0}, {40, 0}};
  for (int type = 0; type < N_INDEX_TYPES; type++)
    for (size_t i = 0; i < COUNT(defects); i++) {
      csrn_csr A = with_indptr(index_types[type], defects[i].at, defects[i].value);
      REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr");
      buffers_release();
    }
}

static void negative_indptr(void **state) {
  (void)state;
  const csrn_dtype types[] = {CSRN_I32, CSRN_I64};
  const int64_t at[] = {0, 1, 17, 40};
  for (size_t type = 0; type < COUNT(types); type++)
    for (size_t i = 0; i < COUNT(at); i++) {
      csrn_csr A = with_indptr(types[type], at[i], -1);
      REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr", "-1");
      buffers_release();
    }
}

/* "Data shorter than indptr says", by one and by much. */
static void indptr_beyond_nnz(void **state) {
  (void)state;
  const int64_t beyond[] = {1, 5, 1000000};
  for (size_t i = 0; i < COUNT(beyond); i++) {
    make_arguments();
    sample_shape shape = random_shape(40, 10, 30, 143);
    sample m = sample_make(&shape, CSRN_F32, SAMPLE_LOW, 143);
    m.indptr[40] = m.nnz + beyond[i];
    csrn_csr A = sample_place(&m, LAYOUT_DEFAULT);
    REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr");
    buffers_release();
  }
  make_arguments();
  csrn_csr A = args.A;
  A.nnz--;
  REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr");
}

/* All of it beyond nnz, though it does not decrease. */
static void first_indptr_beyond_nnz(void **state) {
  (void)state;
  make_arguments();
  const int64_t indptr[] = {7, 7};
  csrn_csr A = args.A;
  A.n_rows = 1;
  A.nnz = 5;
  A.indptr = place_input(indptr, 2, sizeof *indptr);
  REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr");
  A.n_rows = 0;
  REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr");
}

/* Values that become right, or small, when cut to 32 bits or read as signed. */
static void indptr_that_wraps(void **state) {
  (void)state;
  make_arguments();
  const int64_t beyond_32_bits[] = {0, INT64_C(1) << 32, (INT64_C(1) << 32) + 1};
  const uint64_t beyond_63_bits[] = {UINT64_MAX - 1, UINT64_MAX, 3};
  csrn_csr A = args.A;
  A.n_rows = 2;
  A.nnz = 5;
  A.indptr = place_input(beyond_32_bits, 3, 8);
  REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr");
  A.indptr = place_input(beyond_63_bits, 3, 8);
  A.indptr_type = CSRN_U64;
  REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr");
  if (csrn_context_backend(test.ctx) == CSRN_BACKEND_CPU)
    REFUSED(CSRN_INVALID_MATRIX, true, &A, "indptr", "18446744073709551614");
}

/* One decrease among many rows, wherever a thread's share may begin. */
static void one_decrease_among_many_rows(void **state) {
  (void)state;
  const int64_t n = 100000;
  const int64_t at[] = {1, 2, n / 4, n / 3 + 1, n / 2, n / 2 + 1, 2 * n / 3, n - 2, n - 1};
  int64_t *lengths = host_array(n, sizeof *lengths);
  for (int64_t i = 0; i < n; i++)
    lengths[i] = 1;
  sample_shape shape = {lengths, n, 3, 0, 0};
  sample m = sample_make(&shape, CSRN_U8, SAMPLE_LOW, 144);
  for (size_t i = 0; i < COUNT(at); i++) {
    m.indptr[at[i]] += 2;
    csrn_csr A = sample_place(&m, LAYOUT(I32, U8));
    float *out = place_output(m.nnz, sizeof *out);
    expect_failure(CSRN_INVALID_MATRIX, csrn_log1p(test.ctx, &A, 0.0, out, CSRN_F32), "indptr");
    buffers_release();
    m.indptr[at[i]] -= 2;
  }
}

/* After a failure the context works as before, and so does the next call. */
/* Rows that all have the same elements, more than a single row is worked on by: there is room to note one of
 * them only. */
static void rows_that_overlap(void **state) {
  (void)state;
  enum { ROWS = 4000, VALUES = 300000 };
  int64_t *lengths = host_array(ROWS, sizeof *lengths);
  lengths[0] = VALUES;
  sample_shape shape = {lengths, ROWS, VALUES, 0, 0};
  sample m = sample_make(&shape, CSRN_U8, SAMPLE_LOW, 145);
  for (int64_t i = 2; i < ROWS; i += 2)
    m.indptr[i] = 0;
  csrn_csr A = sample_place(&m, LAYOUT(I32, U8));
  uint64_t *sums = place_output(ROWS, sizeof *sums);
  expect_failure(CSRN_INVALID_MATRIX, csrn_axis_sum(test.ctx, &A, CSRN_PER_ROW, sums, CSRN_U64), "indptr");
}

static void a_failure_leaves_the_context_usable(void **state) {
  (void)state;
  make_arguments();
  csrn_csr bad = args.A;
  bad.nnz = 1;
  for (int i = 0; i < N_ERROR_CALLS; i++) {
    expect_failure(CSRN_INVALID_MATRIX, error_calls[i].run(test.ctx, &bad), "indptr");
    expect_ok(error_calls[i].run(test.ctx, &args.A));
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      TEST(the_base_is_valid),   TEST(null_context),
      TEST(null_matrix),         TEST(sizes_out_of_range),
      TEST(sizes_beyond_memory), TEST(absent_arrays),
      TEST(wrong_types),         TEST(addresses_that_do_not_fit_their_type),
      TEST(decreasing_indptr),   TEST(negative_indptr),
      TEST(indptr_beyond_nnz),   TEST(first_indptr_beyond_nnz),
      TEST(indptr_that_wraps),   TEST(one_decrease_among_many_rows),
      TEST(rows_that_overlap),   TEST(a_failure_leaves_the_context_usable),
  };
  return fixture_run(argc, argv, "errors_matrix", tests, COUNT(tests));
}
