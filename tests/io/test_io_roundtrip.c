/*
 * Matrices of every type through every format and back, to the bit; the same bytes for the
 * same matrix; layouts, axes and compression that stay as the input has them.
 */
#include "io_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const csrn_dtype data_types[] = {CSRN_F32, CSRN_F64, CSRN_U8, CSRN_U16, CSRN_U32, CSRN_I32, CSRN_I64};
static const csrn_dtype index_types[] = {CSRN_I32, CSRN_I64, CSRN_U8, CSRN_U16, CSRN_U32, CSRN_U64};

static void test_npz(void **state) {
  (void)state;
  uint64_t seed = 21;
  for (size_t d = 0; d < COUNT(data_types); d++)
    for (size_t i = 0; i < COUNT(index_types); i++)
      for (int cells = CSRN_PER_ROW; cells <= CSRN_PER_COLUMN; cells++) {
        csrn_io_matrix matrix, back;
        io_random_matrix(&matrix, 40, 30, data_types[d], index_types[i],
                         index_types[(i + 1) % COUNT(index_types)], seed++);
        matrix.cells = (csrn_axis)cells;
        io_write(NULL, &matrix, "a.npz");
        io_read_file("a.npz", NULL, &back);
        io_expect_same(&matrix, &back);
        assert_int_equal(back.csr.indices_type, matrix.csr.indices_type);
        assert_int_equal(back.csr.indptr_type, matrix.csr.indptr_type);
        csrn_io_matrix_free(&matrix);
        csrn_io_matrix_free(&back);
      }
}

/* The values of a matrix as the type in which a MatrixMarket file is read. */
static void as_text_type(csrn_io_matrix *matrix) {
  csrn_csr *csr = &matrix->csr;
  if (csr->data_type == CSRN_F32 || csr->data_type == CSRN_F64)
    return;
  int64_t *wide = malloc((size_t)csr->nnz * sizeof *wide + 1);
  int32_t *narrow = malloc((size_t)csr->nnz * sizeof *narrow + 1);
  bool fits = true;
  for (int64_t i = 0; i < csr->nnz; i++) {
    wide[i] = csr->data_type == CSRN_I64 ? ((const int64_t *)csr->data)[i]
                                         : (int64_t)io_value(csr->data, csr->data_type, i);
    fits = fits && wide[i] >= INT32_MIN && wide[i] <= INT32_MAX;
    narrow[i] = fits ? (int32_t)wide[i] : 0;
  }
  free(csr->data);
  free(fits ? (void *)wide : (void *)narrow);
  csr->data = fits ? (void *)narrow : (void *)wide;
  csr->data_type = fits ? CSRN_I32 : CSRN_I64;
}

static void test_mtx(void **state) {
  (void)state;
  uint64_t seed = 22;
  static const char *const names[] = {"a.mtx", "a.mtx.gz"};
  for (size_t d = 0; d < COUNT(data_types); d++)
    for (size_t i = 0; i < COUNT(index_types); i++)
      for (size_t f = 0; f < COUNT(names); f++) {
        csrn_io_matrix matrix, back;
        io_random_matrix(&matrix, 40, 30, data_types[d], index_types[i],
                         index_types[(i + 1) % COUNT(index_types)], seed++);
        io_write(NULL, &matrix, names[f]);
        io_read_file(names[f], NULL, &back);
        as_text_type(&matrix);
        io_expect_same(&matrix, &back);
        csrn_io_matrix_free(&matrix);
        csrn_io_matrix_free(&back);
      }
}

/* 2 cells x 3 genes, as rows and as columns of what is in memory. */
static int32_t pointers[] = {0, 2, 3}, columns[] = {0, 2, 1};
static int32_t turned_pointers[] = {0, 1, 2, 3}, turned_columns[] = {0, 1, 0};
static float by_cells[] = {1.5F, 2, 3}, by_genes[] = {1.5F, 3, 2};
static const csrn_io_matrix cells_in_rows = {
    {2, 3, 3, pointers, columns, by_cells, CSRN_I32, CSRN_I32, CSRN_F32}, CSRN_PER_ROW, 0};
static const csrn_io_matrix cells_in_columns = {
    {3, 2, 3, turned_pointers, turned_columns, by_genes, CSRN_I32, CSRN_I32, CSRN_F32}, CSRN_PER_COLUMN, 0};

static void expect_text(const char *name, const char *expected) {
  size_t n;
  char *text = io_read_bytes(name, &n);
  assert_string_equal(text, expected);
  free(text);
}

static void test_mtx_axes(void **state) {
  (void)state;
  /* Genes x cells, whatever is in memory. */
  io_write(NULL, &cells_in_rows, "a.mtx");
  expect_text("a.mtx", "%%MatrixMarket matrix coordinate real general\n%csrnorm float32\n3 2 3\n"
                       "1 1 1.5\n3 1 2\n2 2 3\n");
  io_write(NULL, &cells_in_columns, "b.mtx");
  expect_text("b.mtx", "%%MatrixMarket matrix coordinate real general\n%csrnorm float32\n3 2 3\n"
                       "1 1 1.5\n2 2 3\n3 1 2\n");
  /* Cells x genes, as the input. */
  const csrn_io_select rows = {.cells = CSRN_IO_CELLS_ROWS};
  io_write_text("in.mtx", "%%MatrixMarket matrix coordinate integer general\n2 3 3\n1 1 4\n1 3 5\n2 2 6\n");
  csrn_io_input *input = io_open("in.mtx", &rows);
  io_write(input, &cells_in_rows, "c.mtx");
  expect_text("c.mtx", "%%MatrixMarket matrix coordinate real general\n%csrnorm float32\n2 3 3\n"
                       "1 1 1.5\n1 3 2\n2 2 3\n");
  csrn_io_close(input);
}

static void test_npz_axes(void **state) {
  (void)state;
  csrn_io_matrix back;
  const csrn_io_select columns_select = {.cells = CSRN_IO_CELLS_COLUMNS};
  static const struct {
    const csrn_io_matrix *matrix;
    const csrn_io_select *select;
    csrn_io_layout layout;
  } cases[] = {{&cells_in_rows, NULL, CSRN_IO_CSR}, {&cells_in_columns, NULL, CSRN_IO_CSC}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    io_write(NULL, cases[i].matrix, "a.npz");
    csrn_io_input *input = io_open("a.npz", NULL);
    const csrn_io_description *d = csrn_io_describe(input);
    assert_int_equal(d->layout, cases[i].layout);
    assert_int_equal(d->n_cells, 2);
    assert_int_equal(d->n_genes, 3);
    csrn_io_close(input);
    /* The same file as one of genes x cells: 2 genes, 3 cells; written so, it is the same file again. */
    input = io_open("a.npz", &columns_select);
    assert_int_equal(csrn_io_describe(input)->n_cells, 3);
    io_read(input, &back);
    io_write(input, &back, "b.npz");
    csrn_io_close(input);
    csrn_io_matrix_free(&back);
    size_t n, m;
    char *a = io_read_bytes("a.npz", &n), *b = io_read_bytes("b.npz", &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
  }
}

static void test_dense(void **state) {
  (void)state;
  static int64_t rows[] = {0, 3, 6};
  static float data[] = {1, 0, 2, 0, -0.0F, 3};
  const csrn_io_matrix dense = {{2, 3, 6, rows, NULL, data, CSRN_I64, CSRN_NONE, CSRN_F32}, CSRN_PER_ROW, 1};
  csrn_io_matrix back;
  io_write(NULL, &dense, "a.mtx"); /* zeros of a dense matrix are not entries */
  expect_text("a.mtx", "%%MatrixMarket matrix coordinate real general\n%csrnorm float32\n3 2 3\n"
                       "1 1 1\n3 1 2\n3 2 3\n");
  io_write(NULL, &dense, "a.npz");
  io_read_file("a.npz", NULL, &back);
  assert_int_equal(back.csr.nnz, 6);
  for (int i = 0; i < 6; i++)
    assert_int_equal((int64_t)io_value(back.csr.indices, back.csr.indices_type, i), i % 3);
  assert_memory_equal(back.csr.data, data, sizeof data);
  assert_null(dense.csr.indices);
  csrn_io_matrix_free(&back);
}

static void test_empty(void **state) {
  (void)state;
  static const char *const names[] = {"a.npz", "a.mtx", "a.mtx.gz"};
  for (size_t f = 0; f < COUNT(names); f++)
    for (int n_rows = 0; n_rows <= 4; n_rows += 4)
      for (int n_cols = 0; n_cols <= 6; n_cols += 6) {
        csrn_io_matrix matrix, back;
        io_random_matrix(&matrix, n_rows, 0, CSRN_F32, CSRN_I32, CSRN_I64, 1);
        matrix.csr.n_cols = n_cols;
        io_write(NULL, &matrix, names[f]);
        io_read_file(names[f], NULL, &back);
        io_expect_same(&matrix, &back);
        csrn_io_matrix_free(&back);
        free((void *)(uintptr_t)matrix.csr.indices);
        matrix.csr.indices = NULL; /* as a matrix without entries may come */
        matrix.csr.indices_type = CSRN_NONE;
        io_write(NULL, &matrix, names[f]);
        io_read_file(names[f], NULL, &back);
        io_expect_same(&matrix, &back);
        csrn_io_matrix_free(&matrix);
        csrn_io_matrix_free(&back);
      }
}

static void test_same_bytes(void **state) {
  (void)state;
  static const char *const names[] = {"a.npz", "a.mtx", "a.mtx.gz"};
  csrn_io_matrix matrix;
  io_random_matrix(&matrix, 300, 200, CSRN_F32, CSRN_I32, CSRN_I32, 3);
  for (size_t f = 0; f < COUNT(names); f++) {
    size_t n, m;
    io_write(NULL, &matrix, names[f]);
    char *first = io_read_bytes(names[f], &n);
    io_write(NULL, &matrix, names[f]);
    char *second = io_read_bytes(names[f], &m);
    assert_int_equal(n, m);
    assert_memory_equal(first, second, n);
    if (f == 2) /* no name, no time */
      assert_memory_equal(first, "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8);
    free(first);
    free(second);
  }
  csrn_io_matrix_free(&matrix);
}

static const char *filters_of(const char *name) {
  static char filters[32];
  csrn_io_input *input = io_open(name, NULL);
  snprintf(filters, sizeof filters, "%s", csrn_io_describe(input)->filters);
  csrn_io_close(input);
  return filters;
}

static void write_npz_as(csrn_io_input *input, const char *name, csrn_io_compression compression, int level) {
  const csrn_io_output output = {
      .path = io_path(name), .force = 1, .compression = compression, .level = level};
  csrn_io_matrix matrix;
  io_random_matrix(&matrix, 300, 200, CSRN_F32, CSRN_I32, CSRN_I32, 3);
  assert_int_equal(io_write_as(input, &matrix, &output), CSRN_IO_OK);
  csrn_io_matrix_free(&matrix);
}

static size_t size_of(const char *name) {
  size_t n;
  free(io_read_bytes(name, &n));
  return n;
}

static void test_compression(void **state) {
  (void)state;
  write_npz_as(NULL, "stored.npz", CSRN_IO_COMPRESSION_NONE, 0);
  assert_string_equal(filters_of("stored.npz"), "none");
  write_npz_as(NULL, "keep.npz", CSRN_IO_COMPRESSION_KEEP, 0);
  assert_string_equal(filters_of("keep.npz"), "deflate");
  write_npz_as(NULL, "one.npz", CSRN_IO_COMPRESSION_GZIP, 1);
  write_npz_as(NULL, "nine.npz", CSRN_IO_COMPRESSION_GZIP, 9);
  /* Without a level it is zlib's own, which takes a tenth of the time of the highest. */
  write_npz_as(NULL, "six.npz", CSRN_IO_COMPRESSION_GZIP, 6);
  assert_int_equal(size_of("keep.npz"), size_of("six.npz"));
  assert_true(size_of("six.npz") != size_of("nine.npz"));
  assert_true(size_of("nine.npz") < size_of("one.npz") && size_of("one.npz") < size_of("stored.npz"));
  csrn_io_input *input = io_open("stored.npz", NULL);
  write_npz_as(input, "again.npz", CSRN_IO_COMPRESSION_KEEP, 0);
  assert_string_equal(filters_of("again.npz"), "none");
  write_npz_as(input, "again.npz", CSRN_IO_COMPRESSION_GZIP, 0);
  assert_string_equal(filters_of("again.npz"), "deflate");
  csrn_io_close(input);
  write_npz_as(NULL, "one.mtx.gz", CSRN_IO_COMPRESSION_GZIP, 1);
  write_npz_as(NULL, "nine.mtx.gz", CSRN_IO_COMPRESSION_GZIP, 9);
  write_npz_as(NULL, "plain.mtx", CSRN_IO_COMPRESSION_KEEP, 0);
  assert_true(size_of("nine.mtx.gz") < size_of("one.mtx.gz") && size_of("one.mtx.gz") < size_of("plain.mtx"));
  assert_string_equal(filters_of("plain.mtx"), "none");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_npz),   TEST(test_mtx),   TEST(test_mtx_axes),   TEST(test_npz_axes),
      TEST(test_dense), TEST(test_empty), TEST(test_same_bytes), TEST(test_compression),
  };
  return io_run(tests);
}
