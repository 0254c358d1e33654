/*
 * What the tests of the file library stand on: a directory of their own, files made from
 * text, expectations of a matrix and of a failure's sentence.
 */
#ifndef CSRN_IO_FIXTURE_H
#define CSRN_IO_FIXTURE_H

#include "io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The context of the program, and the error of the last call that was expected to fail. */
extern csrn_context *io_context;
extern csrn_io_error io_error;

/* A new directory for each test, which must be as empty at its end as the test left it by
 * io_remove(); TEST() is an entry of the table given to io_run(). */
#define TEST(function) cmocka_unit_test_setup_teardown(function, io_setup, io_teardown)
int io_setup(void **state);
int io_teardown(void **state);
#define io_run(tests) io_run_group(tests, COUNT(tests))
int io_run_group(const struct CMUnitTest *tests, size_t n);

/* The path of `name` in the test's directory; valid until the eighth call after. */
const char *io_path(const char *name);
const char *io_directory(void);
/* How many files the directory holds. */
int io_count_files(void);
bool io_exists(const char *name);

/* Each makes a file; the text of io_gzip() is cut into n_members gzip members. */
void io_write_bytes(const char *name, const void *bytes, size_t n);
void io_write_text(const char *name, const char *text);
void io_gzip(const char *name, const char *text, int n_members);
/* A whole file; *n bytes and a '\0', from malloc(). */
char *io_read_bytes(const char *name, size_t *n);

/* Opens and reads; neither may fail. */
csrn_io_input *io_open(const char *name, const csrn_io_select *select);
void io_read(csrn_io_input *input, csrn_io_matrix *matrix);
void io_read_file(const char *name, const csrn_io_select *select, csrn_io_matrix *matrix);
/* Opening or reading fails, as CSRN_IO_FAILED, with a sentence that has the file's name and each of the
 * words. */
#define io_fails(name, select, ...) io_expect_failure(name, select, (const char *const[]){__VA_ARGS__, NULL})
void io_expect_failure(const char *name, const csrn_io_select *select, const char *const *words);
/* The last error has each of the words. */
#define io_says(...) io_expect_words((const char *const[]){__VA_ARGS__, NULL})
void io_expect_words(const char *const *words);

/* Writes `matrix`, which may not fail. */
void io_write(csrn_io_input *input, const csrn_io_matrix *matrix, const char *name);
/* The same for an output with other options. */
csrn_io_status io_write_as(csrn_io_input *input, const csrn_io_matrix *matrix, const csrn_io_output *output);

/* What a matrix must be: values of any type are given as float64. */
typedef struct io_expected {
  int64_t n_rows, n_cols;
  const int64_t *indptr, *indices;
  const double *values;
  csrn_dtype data_type;
  csrn_axis cells;
} io_expected;
void io_expect_matrix(const csrn_io_matrix *matrix, const io_expected *expected);
/* The same bits in all three arrays, and the same types. */
void io_expect_same(const csrn_io_matrix *a, const csrn_io_matrix *b);
double io_value(const void *values, csrn_dtype type, int64_t i);
void io_store(void *values, csrn_dtype type, int64_t i, double value);

/* A matrix of pseudo-random counts or reals: with empty rows, unsorted and repeated indices, and zeros. */
void io_random_matrix(csrn_io_matrix *matrix, int64_t n_rows, int64_t n_cols, csrn_dtype data_type,
                      csrn_dtype indices_type, csrn_dtype indptr_type, uint64_t seed);
uint64_t io_random(uint64_t *state);

#endif
