/*
 * Every allocation made while opening, reading and writing fails once: each is a sentence
 * and no crash, no leak (with the address sanitizer) and no file. HDF5 has its own.
 */
#include "io_fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);

/* The allocation that gets nothing, counted down by all threads; below 0: none. */
static _Atomic int fail_at = -1;

static bool is_granted(void) {
  int left = atomic_load(&fail_at);
  while (left >= 0 && !atomic_compare_exchange_weak(&fail_at, &left, left - 1))
    continue;
  return left != 0;
}

void *__wrap_malloc(size_t size) {
  return is_granted() ? __real_malloc(size) : NULL;
}
void *__wrap_calloc(size_t n, size_t size) {
  return is_granted() ? __real_calloc(n, size) : NULL;
}
void *__wrap_realloc(void *old, size_t size) {
  return is_granted() ? __real_realloc(old, size) : NULL;
}
char *__wrap_strdup(const char *text) {
  return is_granted() ? __real_strdup(text) : NULL;
}
char *__wrap_strndup(const char *text, size_t n) {
  return is_granted() ? __real_strndup(text, n) : NULL;
}

/* Runs body(arg) with each allocation failing in turn, until it needs no more; at least `fewest` of them. */
static void fail_each(csrn_io_status (*body)(const char *), const char *arg, int fewest) {
  for (int k = 0;; k++) {
    memset(&io_error, 0, sizeof io_error);
    fail_at = k;
    csrn_io_status status = body(arg);
    const bool failed = fail_at < 0;
    fail_at = -1;
    if (!failed) {
      assert_int_equal(status, CSRN_IO_OK);
      assert_true(k >= fewest);
      return;
    }
    /* Some are for buffers that can be done without. */
    assert_int_equal(status != CSRN_IO_OK, io_error.text[0] != '\0');
  }
}

static csrn_io_status read_any(const char *name) {
  csrn_io_input *input = NULL;
  csrn_io_matrix matrix;
  csrn_io_status status = csrn_io_open(io_path(name), NULL, &input, &io_error);
  if (!status)
    status = csrn_io_read(input, io_context, &matrix, NULL, &io_error);
  if (!status)
    csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
  return status;
}

static csrn_io_matrix to_write;

static csrn_io_status write_any(const char *name) {
  const csrn_io_output output = {.path = io_path(name)};
  csrn_io_status status = csrn_io_write(NULL, &to_write, &output, NULL, &io_error);
  assert_int_equal(io_exists(name), status == CSRN_IO_OK);
  if (!status)
    assert_int_equal(remove(io_path(name)), 0);
  assert_int_equal(io_count_files(), 0);
  return status;
}

static csrn_io_status read_numbers(const char *name) {
  double *values = NULL;
  int64_t n = 0;
  csrn_io_status status = csrn_io_read_vector(io_path(name), &values, &n, &io_error);
  assert_true(status ? values == NULL : n == 3);
  free(values);
  return status;
}

static void test_reading_mtx(void **state) {
  (void)state;
  static const char *const fields[] = {"integer", "real", "pattern"};
  for (size_t f = 0; f < COUNT(fields); f++) {
    char text[200];
    snprintf(text, sizeof text, "%%%%MatrixMarket matrix coordinate %s general\n2 2 2\n%s", fields[f],
             f == 2 ? "1 1\n2 2\n" : "1 1 5\n2 2 6\n");
    io_write_text("matrix.mtx", text);
    io_write_text("barcodes.tsv", "AAAC\nAAAG\n");
    io_write_text("genes.tsv", "ENSG1\tA\nENSG2\tB\n");
    fail_each(read_any, "matrix.mtx", 12);
  }
}

static void test_reading_npz(void **state) {
  (void)state;
  io_random_matrix(&to_write, 20, 20, CSRN_F32, CSRN_I32, CSRN_I32, 1);
  io_write(NULL, &to_write, "a.npz");
  csrn_io_matrix_free(&to_write);
  fail_each(read_any, "a.npz", 7);
}

static void test_reading_h5ad(void **state) {
  (void)state;
  io_random_matrix(&to_write, 20, 20, CSRN_F32, CSRN_I32, CSRN_I32, 1);
  io_write(NULL, &to_write, "a.h5ad");
  csrn_io_matrix_free(&to_write);
  fail_each(read_any, "a.h5ad", 5);
}

/* From a file to a file in pieces. One unit, so that no other threads count. */
static csrn_io_status normalize_any(const char *name) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.exclude_highly_expressed = 1;
  csrn_io_normalization n = {.options = &options};
  const csrn_io_output output = {.path = io_path("out.h5ad"), .key_added = "factor"};
  csrn_io_input *input = NULL;
  csrn_io_status status = csrn_io_open(io_path(name), NULL, &input, &io_error);
  if (!status)
    status = csrn_io_normalize(input, io_context, &output, &n, NULL, &io_error);
  csrn_io_close(input);
  assert_int_equal(io_exists("out.h5ad"), status == CSRN_IO_OK);
  if (!status)
    assert_int_equal(remove(io_path("out.h5ad")), 0);
  assert_int_equal(io_count_files(), 1);
  return status;
}

static void test_normalizing(void **state) {
  (void)state;
  io_random_matrix(&to_write, 20, 20, CSRN_F32, CSRN_I32, CSRN_I32, 1);
  io_write(NULL, &to_write, "a.h5ad");
  csrn_io_matrix_free(&to_write);
  fail_each(normalize_any, "a.h5ad", 25);
  assert_int_equal(remove(io_path("a.h5ad")), 0);
}

static void test_writing(void **state) {
  (void)state;
  static float dense[] = {1, 2, 3, 4};
  static int64_t rows[] = {0, 2, 4};
  to_write = (csrn_io_matrix){{2, 2, 4, rows, NULL, dense, CSRN_I64, CSRN_NONE, CSRN_F32}, CSRN_PER_ROW, 1};
  fail_each(write_any, "a.npz", 1);
  fail_each(write_any, "a.mtx", 0);
  fail_each(write_any, "a.mtx.gz", 0);
  fail_each(write_any, "a.h5ad", 1);
}

static void test_vectors(void **state) {
  (void)state;
  static const double values[] = {1, 2, 3};
  io_write_text("v.txt", "1\n2\n3\n");
  fail_each(read_numbers, "v.txt", 2);
  assert_int_equal(csrn_io_write_vector(io_path("v.npy"), 0, values, CSRN_F64, 3, &io_error), CSRN_IO_OK);
  fail_each(read_numbers, "v.npy", 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_reading_mtx), TEST(test_reading_npz), TEST(test_reading_h5ad),
      TEST(test_normalizing), TEST(test_writing),     TEST(test_vectors),
  };
  return io_run(tests);
}
