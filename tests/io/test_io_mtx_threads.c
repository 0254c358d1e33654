/*
 * MatrixMarket by several threads: what is more than a block of text gives the same matrix, the same
 * file and the same sentence for every number of threads, in whatever order the entries come.
 */
#include "io_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GENES = 3000, CELLS = 700, ENTRIES = 300000, LONGEST = 40 };

static csrn_context *context_of(int threads) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  csrn_context *ctx = NULL;
  options.threads = threads;
  assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
  return ctx;
}

/* Entry i of the file: another place for each, as 1299709 is prime. */
static void entry_of(int64_t i, int *gene, int *cell, int *value) {
  uint64_t state = (uint64_t)i * 77 + 5;
  const int64_t place = i * 1299709 % (INT64_C(1) * GENES * CELLS);
  *gene = (int)(place % GENES);
  *cell = (int)(place / GENES);
  *value = (int)(io_random(&state) % 1000) - 100;
}

/* The file, whose header says `said` entries; line `bad` (from 1) is `text` instead. */
static char *make_text(int64_t said, int64_t bad, const char *text) {
  char *all = malloc((size_t)(ENTRIES + 8) * LONGEST);
  assert_non_null(all);
  int64_t line = 3;
  char *to = all + sprintf(all, "%%%%MatrixMarket matrix coordinate integer general\n%% one\n%d %d %lld\n",
                           GENES, CELLS, (long long)said);
  for (int64_t i = 0; i < ENTRIES; i++) {
    int gene, cell, value;
    entry_of(i, &gene, &cell, &value);
    if (i % 10007 == 0 && ++line)
      to += sprintf(to, i % 2 ? "%% a comment\n" : " \n");
    if (++line == bad)
      to += sprintf(to, "%s\n", text);
    else
      to += sprintf(to, i % 3 ? "%d %d %d\n" : "%d\t%d  %d\r\n", gene + 1, cell + 1, value);
  }
  if (said == ENTRIES)
    to[-1] = '\0'; /* the last line needs no end */
  return all;
}

/* The first fault, or that there is none. */
static void read_with(int threads, const char *name, csrn_io_matrix *matrix, const char *fault) {
  csrn_context *ctx = context_of(threads);
  csrn_io_input *input = io_open(name, NULL);
  csrn_io_error error = {""};
  const csrn_io_status status = csrn_io_read(input, ctx, matrix, NULL, &error);
  if (fault && (!status || !strstr(error.text, fault)))
    fail_msg("\"%s\" lacks \"%s\"", error.text, fault);
  if (!fault && status)
    fail_msg("%s", error.text);
  csrn_io_close(input);
  csrn_context_destroy(ctx);
}

/* Entries of a cell in the order of the file. */
static void expect_entries(const csrn_io_matrix *matrix) {
  const int64_t *indptr = matrix->csr.indptr;
  int64_t at[CELLS];
  assert_int_equal(matrix->csr.nnz, ENTRIES);
  assert_int_equal(matrix->csr.data_type, CSRN_I32);
  memcpy(at, indptr, sizeof at);
  for (int64_t i = 0; i < ENTRIES; i++) {
    int gene, cell, value;
    entry_of(i, &gene, &cell, &value);
    const int64_t k = at[cell]++;
    assert_int_equal(((const int32_t *)matrix->csr.indices)[k], gene);
    assert_int_equal(((const int32_t *)matrix->csr.data)[k], value);
  }
  for (int cell = 0; cell < CELLS; cell++)
    assert_int_equal(at[cell], indptr[cell + 1]);
}

static void test_reading(void **state) {
  (void)state;
  char *text = make_text(ENTRIES, 0, "");
  io_write_text("a.mtx", text);
  io_gzip("b.mtx.gz", text, 3);
  free(text);
  for (int threads = 1; threads <= 4; threads += 3)
    for (int gz = 0; gz < 2; gz++) {
      csrn_io_matrix matrix;
      read_with(threads, gz ? "b.mtx.gz" : "a.mtx", &matrix, NULL);
      expect_entries(&matrix);
      csrn_io_matrix_free(&matrix);
    }
}

/* The first fault of the file, in whatever block it lies. */
static void test_faults(void **state) {
  (void)state;
  static const struct {
    int64_t said, bad;
    const char *text, *fault;
  } cases[] = {
      {ENTRIES, 5, "1 1 x", "line 5 is \"1 1 x\": expected an integer"},
      {ENTRIES, 250000, "3001 1 1", "line 250000 is \"3001 1 1\": the row is outside"},
      {200000, 250000, "3001 1 1", ": more entries than the header says"},
      {200000, 100, "3001 1 1", "line 100 is \"3001 1 1\": the row is outside"},
      {ENTRIES + 1, 0, "", "ends after 300000 entries; expected 300001"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char *text = make_text(cases[i].said, cases[i].bad, cases[i].text);
    io_write_text("a.mtx", text);
    free(text);
    for (int threads = 1; threads <= 4; threads += 3) {
      csrn_io_matrix matrix;
      read_with(threads, "a.mtx", &matrix, cases[i].fault);
    }
  }
  /* The line of the first entry too many: 3 lines before, and one without an entry for each 10,007. */
  char *text = make_text(200000, 0, ""), expected[40];
  io_write_text("a.mtx", text);
  free(text);
  snprintf(expected, sizeof expected, "line %d is ", 200000 + 1 + 3 + 200000 / 10007 + 1);
  for (int threads = 1; threads <= 4; threads += 3) {
    csrn_io_matrix matrix;
    read_with(threads, "a.mtx", &matrix, expected);
  }
}

static void test_writing(void **state) {
  (void)state;
  static const csrn_dtype types[] = {CSRN_F32, CSRN_I64};
  for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
    csrn_io_matrix matrix, back;
    io_random_matrix(&matrix, 70000, 900, types[t], CSRN_I32, CSRN_I64, 11 + t);
    for (int gz = 0; gz < 2; gz++) {
      size_t n, m;
      const char *const names[] = {gz ? "one.mtx.gz" : "one.mtx", gz ? "four.mtx.gz" : "four.mtx"};
      for (int i = 0; i < 2; i++)
        assert_int_equal(
            io_write_as(NULL, &matrix,
                        &(csrn_io_output){.path = io_path(names[i]), .force = 1, .threads = i ? 4 : 1}),
            CSRN_IO_OK);
      char *one = io_read_bytes(names[0], &n), *four = io_read_bytes(names[1], &m);
      assert_int_equal(n, m);
      assert_memory_equal(one, four, n);
      free(one);
      free(four);
      read_with(4, names[1], &back, NULL);
      assert_int_equal(back.csr.nnz, matrix.csr.nnz);
      assert_true(matrix.csr.nnz > 100000); /* several blocks */
      for (int64_t i = 0; i < back.csr.nnz; i++)
        assert_true(io_value(back.csr.data, back.csr.data_type, i) ==
                    io_value(matrix.csr.data, matrix.csr.data_type, i));
      assert_memory_equal(back.csr.indices, matrix.csr.indices, (size_t)back.csr.nnz * sizeof(int32_t));
      csrn_io_matrix_free(&back);
    }
    csrn_io_matrix_free(&matrix);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_reading), TEST(test_faults), TEST(test_writing)};
  return io_run(tests);
}
