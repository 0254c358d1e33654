/*
 * Vectors in files: text and .npy, in and out.
 */
#include "io_fixture.h"
#include "npz_sample.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void expect_vector(const char *name, const double *expected, int64_t n) {
  double *values = NULL;
  int64_t found = -1;
  csrn_io_error error = {""};
  if (csrn_io_read_vector(io_path(name), &values, &found, &error))
    fail_msg("%s", error.text);
  assert_int_equal(found, n);
  if (n)
    assert_memory_equal(values, expected, (size_t)n * sizeof *values);
  free(values);
}

#define vector_fails(name, ...) expect_failure(name, (const char *const[]){__VA_ARGS__, NULL})
static void expect_failure(const char *name, const char *const *words) {
  double *values = &(double){0};
  int64_t n = 5;
  memset(&io_error, 0, sizeof io_error);
  assert_int_equal(csrn_io_read_vector(io_path(name), &values, &n, &io_error), CSRN_IO_FAILED);
  assert_null(values);
  assert_int_equal(n, 0);
  io_says(io_path(name));
  io_expect_words(words);
}

static void test_text(void **state) {
  (void)state;
  static const double expected[] = {1, -2.5, 0x1.8p-1074 * 0 + 0x1p-1074, 1e300, 0x1.8p1, 0.1};
  io_write_text("v.txt", "# totals\n1\n\n  -2.5  \r\n5e-324\n\t1e300\n#\n0x1.8p1\n0.1");
  expect_vector("v.txt", expected, 6);
  io_gzip("v.gz", "1\n-2.5\n", 2);
  expect_vector("v.gz", expected, 2);
  io_write_text("empty.txt", "# nothing\n");
  expect_vector("empty.txt", expected, 0);
  const double special[] = {INFINITY, -INFINITY};
  io_write_text("s.txt", "inf\n-inf\n");
  expect_vector("s.txt", special, 2);
}

static void test_text_errors(void **state) {
  (void)state;
  vector_fails("missing.txt", "No such file");
  io_write_text("v.txt", "1\n2\nthree\n");
  vector_fails("v.txt", "line 3", "\"three\"", "expected a number");
  io_write_text("v.txt", "1 2\n");
  vector_fails("v.txt", "line 1", "\"1 2\"");
  io_write_text("v.txt", "1\n1e999\n");
  vector_fails("v.txt", "line 2", "\"1e999\"");
  io_write_bytes("v.txt", "1\0002\n", 4);
  vector_fails("v.txt", "zero byte");
  assert_int_equal(mkdir(io_path("d"), 0755), 0);
  vector_fails("d", "Is a directory");
  assert_int_equal(remove(io_path("d")), 0);
}

static void write_npy(const char *text, const void *bytes, size_t n_bytes) {
  static unsigned char npy[4096];
  const npz_member member = {NULL, 1, text, bytes, n_bytes};
  io_write_bytes("v.npy", npy, npy_sample(&member, npy));
}

#define DICTIONARY(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }"

static void test_npy(void **state) {
  (void)state;
  static const double doubles[] = {1.5, -0.0, DBL_MIN};
  static const float floats[] = {0.1F, FLT_MAX, -1};
  static const unsigned char bytes[] = {1, 2, 255}, big[] = {0, 0, 1, 2};
  write_npy(DICTIONARY("<f8", "(3,)"), doubles, sizeof doubles);
  expect_vector("v.npy", doubles, 3);
  write_npy(DICTIONARY("<f4", "(3,)"), floats, sizeof floats);
  expect_vector("v.npy", (const double[]){(double)0.1F, (double)FLT_MAX, -1}, 3);
  write_npy(DICTIONARY("|u1", "(3,)"), bytes, 3);
  expect_vector("v.npy", (const double[]){1, 2, 255}, 3);
  write_npy(DICTIONARY("|i1", "(3,)"), bytes, 3);
  expect_vector("v.npy", (const double[]){1, 2, -1}, 3);
  write_npy(DICTIONARY(">i4", "(1,)"), big, 4);
  expect_vector("v.npy", (const double[]){258}, 1);
  write_npy(DICTIONARY("<u8", "(1,)"), &(uint64_t){UINT64_MAX}, 8);
  expect_vector("v.npy", (const double[]){0x1p64}, 1);
  write_npy(DICTIONARY("<f8", "(0,)"), NULL, 0);
  expect_vector("v.npy", NULL, 0);
}

static void test_npy_errors(void **state) {
  (void)state;
  static const double doubles[] = {1, 2, 3, 4};
  write_npy(DICTIONARY("<f8", "(5,)"), doubles, sizeof doubles);
  vector_fails("v.npy", "shorter or longer");
  write_npy(DICTIONARY("<f8", "(3,)"), doubles, sizeof doubles);
  vector_fails("v.npy", "shorter or longer");
  write_npy(DICTIONARY("<f8", "(4,)"), doubles, sizeof doubles - 1);
  vector_fails("v.npy", "shorter or longer");
  write_npy(DICTIONARY("<f8", "(999999999999999999,)"), doubles, sizeof doubles);
  vector_fails("v.npy", "shorter or longer");
  write_npy(DICTIONARY("<f8", "(2, 2)"), doubles, sizeof doubles);
  vector_fails("v.npy", "one-dimensional");
  write_npy(DICTIONARY("|S8", "(4,)"), doubles, sizeof doubles);
  vector_fails("v.npy", "numbers");
  io_write_text("v.npy", "\x93NUMPY\x01");
  vector_fails("v.npy", "one-dimensional");
}

static void test_written(void **state) {
  (void)state;
  static const double doubles[] = {0.1, -0.0, 1.0 / 3.0, DBL_MAX, 5e-324, 12};
  static const int64_t signed_[] = {INT64_MIN, 0, INT64_MAX};
  static const uint64_t unsigned_[] = {0, UINT64_MAX};
  static const char *const names[] = {"v.txt", "v.npy"};
  size_t n;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(csrn_io_write_vector(io_path(names[i]), 1, doubles, CSRN_F64, 6, &io_error), CSRN_IO_OK);
    expect_vector(names[i], doubles, 6);
  }
  assert_int_equal(csrn_io_write_vector(io_path("v.txt"), 1, signed_, CSRN_I64, 3, &io_error), CSRN_IO_OK);
  char *text = io_read_bytes("v.txt", &n);
  assert_string_equal(text, "-9223372036854775808\n0\n9223372036854775807\n");
  free(text);
  assert_int_equal(csrn_io_write_vector(io_path("v.txt"), 1, unsigned_, CSRN_U64, 2, &io_error), CSRN_IO_OK);
  text = io_read_bytes("v.txt", &n);
  assert_string_equal(text, "0\n18446744073709551615\n");
  free(text);
  assert_int_equal(csrn_io_write_vector(io_path("v.npy"), 1, unsigned_, CSRN_U64, 2, &io_error), CSRN_IO_OK);
  text = io_read_bytes("v.npy", &n);
  assert_int_equal(n, 128 + 16);
  assert_memory_equal(
      text, "\x93NUMPY\x01\x00\x76\x00{'descr': '<u8', 'fortran_order': False, 'shape': (2,), } ", 66);
  assert_memory_equal(text + 128, unsigned_, 16);
  free(text);
}

static void test_not_written(void **state) {
  (void)state;
  static const double value = 1;
  io_write_text("v.txt", "7\n");
  assert_int_equal(csrn_io_write_vector(io_path("v.txt"), 0, &value, CSRN_F64, 1, &io_error), CSRN_IO_FAILED);
  io_says("exists already");
  expect_vector("v.txt", (const double[]){7}, 1);
  assert_int_equal(csrn_io_write_vector(io_path("no/v.txt"), 0, &value, CSRN_F64, 1, &io_error),
                   CSRN_IO_FAILED);
  io_says("cannot write into the directory");
  assert_int_equal(io_count_files(), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_text),       TEST(test_text_errors), TEST(test_npy),
      TEST(test_npy_errors), TEST(test_written),     TEST(test_not_written),
  };
  return io_run(tests);
}
