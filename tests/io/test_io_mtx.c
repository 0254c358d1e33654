/*
 * Reading MatrixMarket: fields and their types, orders of entries, layouts of lines, axes,
 * gzip members, names beside the matrix. Expectations are worked out by hand.
 */
#include "io_fixture.h"
#include "io_internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 3 genes x 2 cells, not in the order of the cells, as cells x genes:
 *     . 5 2
 *     7 . 1 */
static const char counts[] = "%%MatrixMarket matrix coordinate integer general\n"
                             "%metadata_json: {\"format_version\": 2}\n"
                             "3 2 4\n"
                             "1 2 7\n"
                             "3 1 2\n"
                             "2 1 5\n"
                             "3 2 1\n";
static const int64_t counts_indptr[] = {0, 2, 4}, counts_indices[] = {2, 1, 0, 2};
static const double counts_values[] = {2, 5, 7, 1};
static const io_expected counts_expected = {
    2, 3, counts_indptr, counts_indices, counts_values, CSRN_I32, CSRN_PER_ROW};

static void expect_file(const char *name, const csrn_io_select *select, const io_expected *expected) {
  csrn_io_matrix matrix;
  io_read_file(name, select, &matrix);
  io_expect_matrix(&matrix, expected);
  csrn_io_matrix_free(&matrix);
}

static void test_counts(void **state) {
  (void)state;
  io_write_text("a.mtx", counts);
  csrn_io_input *input = io_open("a.mtx", NULL);
  const csrn_io_description *d = csrn_io_describe(input);
  assert_int_equal(d->format, CSRN_IO_MTX);
  assert_int_equal(d->layout, CSRN_IO_COORDINATE);
  assert_string_equal(d->format_name, "MatrixMarket");
  assert_int_equal(d->n_cells, 2);
  assert_int_equal(d->n_genes, 3);
  assert_int_equal(d->nnz, 4);
  assert_int_equal(d->data_type, CSRN_I32);
  assert_string_equal(d->filters, "none");
  csrn_io_matrix first, second;
  io_read(input, &first);
  io_expect_matrix(&first, &counts_expected);
  io_read(input, &second); /* once more from the beginning */
  io_expect_same(&first, &second);
  csrn_io_matrix_free(&first);
  csrn_io_matrix_free(&second);
  csrn_io_close(input);
}

static void test_cells_in_rows(void **state) {
  (void)state;
  static const int64_t indptr[] = {0, 1, 2, 4}, indices[] = {1, 0, 0, 1};
  static const double values[] = {7, 5, 2, 1};
  const io_expected expected = {3, 2, indptr, indices, values, CSRN_I32, CSRN_PER_ROW};
  const csrn_io_select rows = {.cells = CSRN_IO_CELLS_ROWS}, columns = {.cells = CSRN_IO_CELLS_COLUMNS};
  io_write_text("a.mtx", counts);
  expect_file("a.mtx", &rows, &expected);
  expect_file("a.mtx", &columns, &counts_expected);
}

static void test_lines(void **state) {
  (void)state;
  /* Windows line ends, blank lines, comments among the entries, tabs, signs, no end of the last line. */
  io_write_text("a.mtx", "%%MatrixMarket  MATRIX Coordinate\tInteger  GENERAL \r\n"
                         "%\r\n"
                         "\r\n"
                         "  3\t2  4 \r\n"
                         "1 2 +7\r\n"
                         "% in between\r\n"
                         "   \r\n"
                         "\t3\t1\t2\t\r\n"
                         "  2   1   0005  \n"
                         "3 2 1");
  expect_file("a.mtx", NULL, &counts_expected);
}

static void test_gzip(void **state) {
  (void)state;
  for (int n_members = 1; n_members <= 7; n_members++) {
    io_gzip("a.mtx.gz", counts, n_members);
    expect_file("a.mtx.gz", NULL, &counts_expected);
  }
  csrn_io_input *input = io_open("a.mtx.gz", NULL);
  assert_string_equal(csrn_io_describe(input)->format_name, "MatrixMarket (gzip)");
  assert_string_equal(csrn_io_describe(input)->filters, "gzip");
  csrn_io_close(input);
  io_gzip("named.txt", counts, 1); /* the content counts, not the name */
  expect_file("named.txt", NULL, &counts_expected);
}

static void test_wide_integers(void **state) {
  (void)state;
  static const int64_t indptr[] = {0, 5}, indices[] = {0, 1, 2, 3, 4};
  const double values[] = {2147483648.0, -9223372036854775808.0, 9223372036854775807.0, 1e15, -1};
  const double narrow[] = {2147483647.0, -2147483648.0, 0, 1, -1};
  io_expected expected = {1, 5, indptr, indices, values, CSRN_I64, CSRN_PER_ROW};
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate integer general\n5 1 5\n1 1 2147483648\n"
                         "2 1 -9223372036854775808\n3 1 9223372036854775807\n4 1 1000000000000000\n5 1 -1\n");
  expect_file("a.mtx", NULL, &expected);
  csrn_io_matrix matrix; /* exactly, which the comparison as float64 does not show */
  io_read_file("a.mtx", NULL, &matrix);
  assert_true(((const int64_t *)matrix.csr.data)[2] == INT64_MAX);
  csrn_io_matrix_free(&matrix);
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate unsigned-integer general\n5 1 5\n1 1 2147483647\n"
                         "2 1 -2147483648\n3 1 0\n4 1 1\n5 1 -1\n");
  expected.values = narrow;
  expected.data_type = CSRN_I32;
  expect_file("a.mtx", NULL, &expected);
}

static void read_reals(const char *lines, int n, csrn_dtype type, const double *values) {
  static const int64_t indices[] = {0, 1, 2, 3, 4, 5, 6, 7};
  const int64_t indptr[] = {0, n};
  char text[1024];
  snprintf(text, sizeof text, "%%%%MatrixMarket matrix coordinate real general\n8 1 %d\n%s", n, lines);
  io_write_text("a.mtx", text);
  const io_expected expected = {1, 8, indptr, indices, values, type, CSRN_PER_ROW};
  expect_file("a.mtx", NULL, &expected);
}

static void test_reals(void **state) {
  (void)state;
  const double exact[] = {1.0, -0.0, 0.5, FLT_MAX, 0x1p-149, -2.25, INFINITY, 16777216.0};
  read_reals("1 1 1\n2 1 -0\n3 1 .5\n4 1 340282346638528859811704183484516925440\n5 1 0x1p-149\n6 1 -2.25e0\n"
             "7 1 inf\n8 1 16777216\n",
             8, CSRN_F32, exact);
  /* One that is no float32, and all are float64: rounded correctly. */
  const double real[] = {1.0, 0.1, 16777217.0, 0x1.0000000000001p0, 1e-310, 123456789012345680.0};
  read_reals("1 1 1\n2 1 0.1\n3 1 16777217\n4 1 1.0000000000000002220446049250313\n5 1 1e-310\n"
             "6 1 123456789012345678\n",
             6, CSRN_F64, real);
  const double half_way[] = {0x1.0000000000000p53, 0x1.0000000000001p53 + 0};
  read_reals("1 1 9007199254740993\n2 1 9007199254740993.0000000000000000000001\n", 2, CSRN_F64,
             (const double[]){half_way[0], 9007199254740994.0});
}

static void test_noted_type(void **state) {
  (void)state;
  static const int64_t indptr[] = {0, 3}, indices[] = {0, 1, 2};
  const double single[] = {(double)0.1F, 16777216.0, 1.0}, wide[] = {0.5, 1.0, 2.0};
  io_expected expected = {1, 3, indptr, indices, single, CSRN_F32, CSRN_PER_ROW};
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate real general\n%csrnorm float32\n3 1 3\n"
                         "1 1 0.1\n2 1 16777217\n3 1 1\n");
  expect_file("a.mtx", NULL, &expected);
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate real general\n%csrnorm float64\n3 1 3\n"
                         "1 1 0.5\n2 1 1\n3 1 2\n");
  expected.values = wide;
  expected.data_type = CSRN_F64;
  expect_file("a.mtx", NULL, &expected);
  csrn_io_input *input = io_open("a.mtx", NULL);
  assert_int_equal(csrn_io_describe(input)->data_type, CSRN_F64);
  csrn_io_close(input);
}

static void test_pattern(void **state) {
  (void)state;
  static const double values[] = {1, 1, 1, 1};
  io_expected expected = counts_expected;
  expected.values = values;
  expected.data_type = CSRN_U8;
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate pattern general\n3 2 4\n1 2\n3 1 \n2 1\n3 2\n");
  expect_file("a.mtx", NULL, &expected);
}

/* The entries of one place are added up where the first of them is, as they come. */
static void test_duplicates(void **state) {
  (void)state;
  static const int64_t indptr[] = {0, 2, 3, 3, 4}, indices[] = {1, 0, 1, 0};
  static const double values[] = {9, 2, 7, 5}, ones[] = {2, 1, 3, 1};
  io_expected expected = {4, 2, indptr, indices, values, CSRN_I32, CSRN_PER_ROW};
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate integer general\n2 4 7\n"
                         "2 1 8\n2 2 3\n1 4 5\n2 2 4\n1 1 2\n2 2 0\n2 1 1\n");
  expect_file("a.mtx", NULL, &expected);
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate pattern general\n2 4 7\n"
                         "2 1\n2 2\n1 4\n2 2\n1 1\n2 2\n2 1\n");
  expected.values = ones;
  expect_file("a.mtx", NULL, &expected);
}

/* Sums have the type that they need; integers are exact, and refused where 64 bits do not hold them. */
static void test_large_duplicates(void **state) {
  (void)state;
  static const int64_t indptr[] = {0, 1, 2}, indices[] = {0, 0};
  static const double wide[] = {2147483648.0, 7}, tenths[] = {0.1 + 0.2, 7},
                      floats[] = {0.30000001192092896, 7};
  io_expected expected = {2, 1, indptr, indices, wide, CSRN_I64, CSRN_PER_ROW};
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate integer general\n1 2 3\n"
                         "1 1 2147483647\n1 2 7\n1 1 1\n");
  expect_file("a.mtx", NULL, &expected);
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate real general\n1 2 3\n1 1 .1\n1 2 7\n1 1 .2\n");
  expected.values = tenths;
  expected.data_type = CSRN_F64;
  expect_file("a.mtx", NULL, &expected);
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate real general\n" CSRN_IO_MTX_FLOAT32
                         "\n1 2 3\n1 1 .1\n1 2 7\n1 1 .2\n");
  expected.values = floats;
  expected.data_type = CSRN_F32;
  expect_file("a.mtx", NULL, &expected);
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate integer general\n1 2 2\n"
                         "1 2 9223372036854775807\n1 2 1\n");
  io_fails("a.mtx", NULL, "cell 2, gene 1", "64 bits");
}

static void test_empty_matrices(void **state) {
  (void)state;
  static const int64_t indptr[8] = {0};
  static const char *const fields[] = {"integer", "real", "pattern"};
  static const csrn_dtype types[] = {CSRN_I32, CSRN_F32, CSRN_U8};
  for (size_t f = 0; f < COUNT(fields); f++)
    for (int rows = 0; rows <= 3; rows += 3)
      for (int columns = 0; columns <= 7; columns += 7) {
        char text[128];
        snprintf(text, sizeof text, "%%%%MatrixMarket matrix coordinate %s general\n%d %d 0\n", fields[f],
                 rows, columns);
        io_write_text("a.mtx", text);
        const io_expected expected = {columns, rows, indptr, NULL, NULL, types[f], CSRN_PER_ROW};
        expect_file("a.mtx", NULL, &expected);
      }
}

static void test_names(void **state) {
  (void)state;
  static const char barcodes[] = "AAAC-1\nAAAG-1\n";
  static const char features[] = "ENSG1\tMIR1302\tGene Expression\nENSG2\tFAM138A\tGene Expression\r\n"
                                 "CD3\tCD3 (TotalSeqB)\tAntibody Capture\n";
  /* Bytes alone, too few of them, longer than needed, surrogates, beyond the last character. */
  static const char *const not_utf8[] = {"\x80",         "IL-1\xe2",         "\xc3(",
                                         "\xe2\x82",     "\xc0\xaf",         "\xe0\x80\xaf",
                                         "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"};
  /* The names are not part of io.h; an h5ad made of the matrix shows them (test_io_scipy.py). Here: that they
   * are looked for, by each of the names that they may have. */
  static const struct {
    const char *matrix, *barcodes, *features;
  } cases[] = {{"matrix.mtx", "barcodes.tsv", "genes.tsv"},
               {"matrix.mtx.gz", "barcodes.tsv.gz", "features.tsv.gz"},
               {"GSM1_matrix.mtx.gz", "GSM1_barcodes.tsv.gz", "GSM1_features.tsv"},
               {"pbmc.mtx", "pbmc_barcodes.tsv", "pbmc_genes.tsv.gz"},
               {"pbmc.v2.mtx.gz", "pbmc.v2_barcodes.tsv", "pbmc.v2_genes.tsv"}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    io_gzip(cases[i].matrix, counts, 1);
    io_gzip(cases[i].barcodes, barcodes, 1);
    io_gzip(cases[i].features, features, 2);
    expect_file(cases[i].matrix, NULL, &counts_expected);
    io_write_text(cases[i].barcodes, "AAAC-1\n");
    io_fails(cases[i].barcodes + 0, NULL, "not a count matrix");
    csrn_io_input *input = NULL;
    assert_int_equal(csrn_io_open(io_path(cases[i].matrix), NULL, &input, &io_error), CSRN_IO_FAILED);
    io_says(io_path(cases[i].barcodes), "has 1 lines", "expected 2");
    io_write_text(cases[i].barcodes, barcodes);
    io_write_text(cases[i].features, "a\tb\nc\td\ne\tf\ng\th\n");
    assert_int_equal(csrn_io_open(io_path(cases[i].matrix), NULL, &input, &io_error), CSRN_IO_FAILED);
    io_says(io_path(cases[i].features), "more than 3 lines");
    io_write_text(cases[i].features, "a\tb\nc\nd\te\n");
    assert_int_equal(csrn_io_open(io_path(cases[i].matrix), NULL, &input, &io_error), CSRN_IO_FAILED);
    io_says(io_path(cases[i].features), "line 2 has fewer columns", "1, expected 2");
    for (size_t k = 0; k < COUNT(not_utf8); k++) {
      char text[32];
      snprintf(text, sizeof text, "a\tb\nc\td\ne\t%s\n", not_utf8[k]);
      io_write_text(cases[i].features, text);
      assert_int_equal(csrn_io_open(io_path(cases[i].matrix), NULL, &input, &io_error), CSRN_IO_FAILED);
      io_says(io_path(cases[i].features), "line 3 is not UTF-8");
    }
    io_write_text(cases[i].features, "\xef\xbb\xbf"
                                     "a\t\xc3\xa9\nb\t\xe2\x82\xac\nc\t\xf0\x9f\xa7\xac\n");
    expect_file(cases[i].matrix, NULL, &counts_expected);
    io_write_text(cases[i].features, "one column\n\n\n");
    expect_file(cases[i].matrix, NULL, &counts_expected);
  }
}

/* Longer than every buffer, in random order and with duplicates, against a plain count of what was written.
 */
static void test_large(void **state) {
  (void)state;
  enum { N_GENES = 50, N_CELLS = 3000, NNZ = 200000 };
  static double sums[N_CELLS], weighted[N_CELLS];
  static bool has[N_CELLS][N_GENES];
  int n_places = 0;
  uint64_t seed = 1;
  FILE *file = fopen(io_path("a.mtx"), "w");
  assert_non_null(file);
  memset(sums, 0, sizeof sums);
  memset(weighted, 0, sizeof weighted);
  fprintf(file, "%%%%MatrixMarket matrix coordinate integer general\n%d %d %d\n", N_GENES, N_CELLS, NNZ);
  for (int i = 0; i < NNZ; i++) {
    int gene = (int)(io_random(&seed) % N_GENES), cell = (int)(io_random(&seed) % N_CELLS);
    int value = (int)(io_random(&seed) % 100000);
    fprintf(file, "%d %d %d\n", gene + 1, cell + 1, value);
    n_places += !has[cell][gene];
    has[cell][gene] = true;
    sums[cell] += value;
    weighted[cell] += (double)value * gene;
  }
  fclose(file);
  csrn_io_matrix matrix;
  io_read_file("a.mtx", NULL, &matrix);
  assert_int_equal(matrix.csr.nnz, n_places);
  assert_true(n_places < NNZ);
  for (int64_t cell = 0; cell < N_CELLS; cell++) {
    for (int64_t i = ((const int64_t *)matrix.csr.indptr)[cell];
         i < ((const int64_t *)matrix.csr.indptr)[cell + 1]; i++) {
      const double value = ((const int32_t *)matrix.csr.data)[i];
      sums[cell] -= value;
      weighted[cell] -= value * ((const int32_t *)matrix.csr.indices)[i];
    }
    assert_true(sums[cell] == 0 && weighted[cell] == 0);
  }
  csrn_io_matrix_free(&matrix);
}

static int stop_at_third(void *user, const char *step, int64_t done, int64_t total) {
  assert_string_equal(step, "reading");
  assert_true(done <= total);
  return ++*(int *)user == 3;
}

static void test_progress(void **state) {
  (void)state;
  enum { NNZ = 300000 };
  FILE *file = fopen(io_path("a.mtx"), "w");
  assert_non_null(file);
  fprintf(file, "%%%%MatrixMarket matrix coordinate pattern general\n1 1 %d\n", NNZ);
  for (int i = 0; i < NNZ; i++)
    fputs("1 1\n", file);
  fclose(file);
  int calls = 0;
  const csrn_io_progress progress = {stop_at_third, &calls};
  csrn_io_input *input = io_open("a.mtx", NULL);
  csrn_io_matrix matrix;
  assert_int_equal(csrn_io_read(input, io_context, &matrix, &progress, &io_error), CSRN_IO_FAILED);
  io_says("interrupted");
  assert_int_equal(calls, 3);
  csrn_io_close(input);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_counts),         TEST(test_cells_in_rows),
      TEST(test_lines),          TEST(test_gzip),
      TEST(test_wide_integers),  TEST(test_reals),
      TEST(test_noted_type),     TEST(test_pattern),
      TEST(test_duplicates),     TEST(test_large_duplicates),
      TEST(test_empty_matrices), TEST(test_names),
      TEST(test_large),          TEST(test_progress),
  };
  return io_run(tests);
}
