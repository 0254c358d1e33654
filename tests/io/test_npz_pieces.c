/*
 * .npz files in pieces against the matrix in memory, to the bit: every type, layout and compression, pieces
 * of any size, any number of threads; what scipy never writes; and what is left where a file is damaged.
 */
#include "io_fixture.h"
#include "npz_sample.h"
#include "pieces_device.h"
#include "zip_write.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

enum { ROWS = 11, COLUMNS = 250, HEADER = 128 }; /* bytes of an array's, as written here */

/* Rows that are longer than the blocks that sums are made of, and empty ones. */
static const int lengths[ROWS] = {0, 3, 4096, 0, 4097, 1, 0, 5000, 700, 257, 0};

typedef enum kind { COUNTS, REALS, ODD } kind;

typedef struct pieces_case {
  csrn_dtype type, indices_type, indptr_type;
  kind values;
  bool columns; /* the cells are the columns of what is stored */
  csrn_io_compression before, after;
  int64_t unit, memory;
  int threads;
} pieces_case;

static double value_of(kind values, int64_t i) {
  static const double odd[] = {NAN, INFINITY, -0.0, -3.5, -INFINITY, 0};
  const double count = (double)((uint64_t)i * 2654435761U % 1000 % 97 + 1);
  if (values == REALS)
    return count / 7;
  return values == ODD && i % 1500 < 6 ? odd[i % 1500] : count;
}

/* "in.npz" */
static void make_file(const pieces_case *c) {
  csrn_io_matrix matrix = {.cells = c->columns ? CSRN_PER_COLUMN : CSRN_PER_ROW};
  int64_t nnz = 0;
  for (int i = 0; i < ROWS; i++)
    nnz += lengths[i];
  void *indptr = malloc((ROWS + 1) * csrn_dtype_size(c->indptr_type));
  void *indices = malloc((size_t)nnz * csrn_dtype_size(c->indices_type));
  void *data = malloc((size_t)nnz * csrn_dtype_size(c->type));
  assert_true(indptr && indices && data);
  int64_t at = 0;
  for (int i = 0; i <= ROWS; i++) {
    io_store(indptr, c->indptr_type, i, (double)at);
    at += i < ROWS ? lengths[i] : 0;
  }
  for (int64_t i = 0; i < nnz; i++) {
    io_store(indices, c->indices_type, i, (double)(i * 7 % (COLUMNS - 1)));
    io_store(data, c->type, i, value_of(c->values, i));
  }
  matrix.csr =
      (csrn_csr){ROWS, COLUMNS, nnz, indptr, indices, data, c->indptr_type, c->indices_type, c->type};
  const csrn_io_output output = {.path = io_path("in.npz"), .force = 1, .compression = c->before};
  assert_int_equal(io_write_as(NULL, &matrix, &output), CSRN_IO_OK);
  csrn_io_matrix_free(&matrix);
}

static csrn_context *context_of(int threads) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  csrn_context *ctx = NULL;
  options.threads = threads ? threads : 1;
  assert_int_equal(csrn_context_create(&options, &ctx), CSRN_OK);
  return ctx;
}

static csrn_dtype output_type(csrn_dtype type) {
  return type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
}

static zip_stat_t stat_of(const char *name, const char *member) {
  int code;
  zip_stat_t found;
  zip_t *zip = zip_open(io_path(name), ZIP_CHECKCONS | ZIP_RDONLY, &code);
  assert_non_null(zip);
  assert_int_equal(zip_stat(zip, member, 0, &found), 0);
  zip_discard(zip);
  return found;
}

/* ---- Normalization ------------------------------------------------------------------ */

/* The file in memory, normalized. */
static void normalize_whole(const csrn_io_select *select, csrn_normalize_options options,
                            csrn_io_matrix *matrix, csrn_normalize_report *report) {
  io_read_file("in.npz", select, matrix);
  options.axis = matrix->cells;
  const csrn_dtype type = output_type(matrix->csr.data_type);
  void *result = malloc((size_t)matrix->csr.nnz * csrn_dtype_size(type) + 1);
  assert_non_null(result);
  assert_int_equal(csrn_normalize_total(io_context, &matrix->csr, &options, result, type, NULL, report),
                   CSRN_OK);
  free(matrix->csr.data);
  matrix->csr.data = result;
  matrix->csr.data_type = type;
}

/* "out.npz" */
static csrn_io_status normalize_pieces(const pieces_case *c, const csrn_io_select *select,
                                       const csrn_normalize_options *options,
                                       const csrn_io_progress *progress, csrn_io_normalization *n) {
  csrn_context *ctx = context_of(c->threads);
  csrn_io_input *input = io_open("in.npz", select);
  const csrn_io_output output = {.path = io_path("out.npz"), .force = 1, .compression = c->after};
  *n = (csrn_io_normalization){
      .options = options, .memory = c->memory, .unit = c->unit, .device = pieces_device};
  memset(&io_error, 0, sizeof io_error);
  const csrn_io_status status = csrn_io_normalize(input, ctx, &output, n, progress, &io_error);
  csrn_io_close(input);
  csrn_context_destroy(ctx);
  return status;
}

static csrn_normalize_report expect_same(const pieces_case *c, const csrn_io_select *select,
                                         csrn_normalize_options options) {
  csrn_io_matrix whole, pieces;
  csrn_io_normalization n;
  csrn_normalize_report report;
  normalize_whole(select, options, &whole, &report);
  if (normalize_pieces(c, select, &options, NULL, &n))
    fail_msg("%s", io_error.text);
  assert_true(n.plan.streams);
  if (pieces_device)
    assert_true(n.plan.on_device & CSRN_IO_VALUES);
  io_read_file("out.npz", select, &pieces);
  io_expect_same(&whole, &pieces);
  assert_int_equal(whole.csr.indices_type, pieces.csr.indices_type);
  assert_int_equal(whole.csr.indptr_type, pieces.csr.indptr_type);
  assert_memory_equal(&report.target, &n.report.target, sizeof report.target);
  assert_int_equal(report.n_excluded, n.report.n_excluded);
  assert_int_equal(report.n_nonfinite, n.report.n_nonfinite);
  csrn_io_matrix_free(&whole);
  csrn_io_matrix_free(&pieces);
  return report;
}

static csrn_normalize_options options_of(int i) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.target = (csrn_target)(i % 3);
  options.target_sum = 1e4;
  options.log1p = i / 2 % 2;
  options.exclude_highly_expressed = i % 5 > 2;
  options.max_fraction = i % 5 == 4 ? 0.02 : 0.005;
  return options;
}

static const csrn_dtype types[] = {CSRN_F32, CSRN_F64, CSRN_I32, CSRN_U8, CSRN_I64, CSRN_U16, CSRN_U32};
static const csrn_dtype index_types[] = {CSRN_I32, CSRN_I64, CSRN_U16, CSRN_U32, CSRN_U64, CSRN_U8};
static const csrn_dtype offset_types[] = {CSRN_I32, CSRN_I64, CSRN_U16, CSRN_U32, CSRN_U64};

static pieces_case case_of(int i) {
  const csrn_dtype type = types[i % 7];
  const bool real = type == CSRN_F32 || type == CSRN_F64;
  static const int64_t units[] = {1000, 300, 4096, 100000, 0, 4097};
  return (pieces_case){.type = type,
                       .indices_type = index_types[i % 6],
                       .indptr_type = offset_types[i % 5],
                       .values = real ? (kind)(i / 7 % 3) : COUNTS,
                       .columns = i / 3 % 2,
                       .before = i % 4 ? CSRN_IO_COMPRESSION_GZIP : CSRN_IO_COMPRESSION_NONE,
                       .after = (csrn_io_compression)(i / 4 % 3),
                       .unit = units[i % 6],
                       .memory = pieces_memory(i % 2 ? 0 : 40 << 20),
                       .threads = i % 3 + 1};
}

static void test_normalize(void **state) {
  (void)state;
  const csrn_io_select columns = {.cells = CSRN_IO_CELLS_COLUMNS};
  int64_t excluded = 0;
  for (int i = 0; i < 60; i++) {
    const pieces_case c = case_of(i);
    make_file(&c);
    excluded += expect_same(&c, i % 11 == 10 ? &columns : NULL, options_of(i)).n_excluded;
  }
  assert_true(excluded > 0);
}

/* A piece of one value, in each pass. */
static void test_single_values(void **state) {
  (void)state;
  pieces_case c = case_of(0);
  c.unit = 1;
  c.threads = 3;
  npz_member members[5];
  static const int32_t indptr[] = {0, 2, 4}, indices[] = {2, 1, 0, 2};
  static const int64_t shape[] = {2, 3};
  static const float data[] = {2, 5, 7, 1};
#define DICTIONARY(descr, shape_) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape_ ", }"
  members[0] = (npz_member){"data.npy", 0, DICTIONARY("<f4", "(4,)"), data, sizeof data};
  members[1] = (npz_member){"indices.npy", 0, DICTIONARY("<i4", "(4,)"), indices, sizeof indices};
  members[2] = (npz_member){"indptr.npy", 0, DICTIONARY("<i4", "(3,)"), indptr, sizeof indptr};
  members[3] = (npz_member){"shape.npy", 0, DICTIONARY("<i8", "(2,)"), shape, sizeof shape};
  members[4] = (npz_member){"format.npy", 0, DICTIONARY("|S3", "()"), "csr", 3};
  for (int i = 0; i < 30; i++) {
    npz_sample(io_path("in.npz"), members, 5, i % 2);
    c.after = (csrn_io_compression)(i / 2 % 3);
    expect_same(&c, NULL, options_of(i));
  }
}

/* Types of numpy's that are widened, and bytes in the other order: what is written has the types of the
 * matrix in memory, and nothing of what lies behind its last row. */
static void test_other_types(void **state) {
  (void)state;
  static const struct {
    const char *data, *indices;
    size_t data_size, index_size;
    bool big;
  } cases[] = {{DICTIONARY("<i4", "(4,)"), DICTIONARY("<i4", "(4,)"), 4, 4, false},
               {DICTIONARY("|b1", "(4,)"), DICTIONARY("|i1", "(4,)"), 1, 1, false},
               {DICTIONARY("|i1", "(4,)"), DICTIONARY(">i4", "(4,)"), 1, 4, true},
               {DICTIONARY(">i2", "(4,)"), DICTIONARY(">u2", "(4,)"), 2, 2, true},
               {DICTIONARY(">u8", "(4,)"), DICTIONARY("<i2", "(4,)"), 8, 2, false},
               {DICTIONARY("<u8", "(4,)"), DICTIONARY(">i8", "(4,)"), 8, 8, true}};
  static const int64_t shape[] = {2, 3}, values[] = {1, 1, 1, 1}, columns[] = {2, 1, 0, 2};
  static const int32_t indptr[] = {0, 2, 4};
  for (size_t i = 0; i < COUNT(cases); i++)
    for (int spare = 0; spare < 2; spare++) {
      static const int32_t shorter[] = {0, 2, 3};
      unsigned char data[32] = {0}, indices[32] = {0};
      const size_t d = cases[i].data_size, x = cases[i].index_size;
      const bool big_data = cases[i].data[11] == '>';
      for (size_t k = 0; k < 4; k++) {
        data[k * d + (big_data ? d - 1 : 0)] = (unsigned char)values[k];
        indices[k * x + (cases[i].big ? x - 1 : 0)] = (unsigned char)columns[k];
      }
      const npz_member members[] = {
          {"data.npy", 0, cases[i].data, data, 4 * d},
          {"indices.npy", 0, cases[i].indices, indices, 4 * x},
          {"indptr.npy", 0, DICTIONARY("<i4", "(3,)"), spare ? shorter : indptr, sizeof indptr},
          {"shape.npy", 0, DICTIONARY("<i8", "(2,)"), shape, sizeof shape},
          {"format.npy", 0, DICTIONARY("|S3", "()"), "csr", 3}};
      npz_sample(io_path("in.npz"), members, 5, 1);
      pieces_case c = {.unit = 3, .threads = 2};
      expect_same(&c, NULL, options_of(1));
      if (spare) {
        const zip_uint64_t index = x == 8 ? 8 : cases[i].indices[12] == 'u' ? x : 4;
        assert_int_equal(stat_of("out.npz", "data.npy").size, HEADER + 3 * sizeof(float));
        assert_int_equal(stat_of("out.npz", "indices.npy").size, HEADER + 3 * index);
      }
    }
}

static void test_empty(void **state) {
  (void)state;
  for (int rows = 0; rows < 6; rows += 5) {
    csrn_io_matrix matrix;
    io_random_matrix(&matrix, rows, 5, CSRN_F32, CSRN_I32, CSRN_I32, 1);
    matrix.csr.nnz = 0;
    memset((void *)(uintptr_t)matrix.csr.indptr, 0, (size_t)(rows + 1) * sizeof(int32_t));
    io_write(NULL, &matrix, "in.npz");
    csrn_io_matrix_free(&matrix);
    const pieces_case c = {.unit = 100, .threads = 2};
    csrn_io_matrix pieces;
    csrn_io_normalization n;
    csrn_normalize_options options = options_of(0);
    if (normalize_pieces(&c, NULL, &options, NULL, &n))
      fail_msg("%s", io_error.text);
    io_read_file("out.npz", NULL, &pieces);
    assert_int_equal(pieces.csr.n_rows, rows);
    assert_int_equal(pieces.csr.nnz, 0);
    csrn_io_matrix_free(&pieces);
  }
}

/* Row bounds of more than what is deflated at once. */
static void test_many_rows(void **state) {
  (void)state;
  enum { MANY = 5000000 };
  int32_t *indptr = calloc(MANY + 1, sizeof *indptr), index = 2;
  float value = 3;
  assert_non_null(indptr);
  indptr[MANY] = 1;
  csrn_io_matrix matrix = {.cells = CSRN_PER_ROW}, pieces;
  matrix.csr = (csrn_csr){MANY, 5, 1, indptr, &index, &value, CSRN_I32, CSRN_I32, CSRN_F32};
  const csrn_io_output output = {.path = io_path("in.npz"), .force = 1};
  assert_int_equal(io_write_as(NULL, &matrix, &output), CSRN_IO_OK);
  const pieces_case c = {.unit = 100, .threads = 2};
  csrn_io_normalization n;
  csrn_normalize_options options = options_of(0);
  if (normalize_pieces(&c, NULL, &options, NULL, &n))
    fail_msg("%s", io_error.text);
  assert_true(n.plan.streams);
  assert_int_equal(stat_of("out.npz", "indptr.npy").comp_method, ZIP_CM_DEFLATE);
  io_read_file("out.npz", NULL, &pieces);
  assert_int_equal(pieces.csr.n_rows, MANY);
  assert_memory_equal(pieces.csr.indptr, indptr, (MANY + 1) * sizeof *indptr);
  csrn_io_matrix_free(&pieces);
  free(indptr);
}

/* ---- Sums and scaling ------------------------------------------------------------------ */

static csrn_axis stored(const csrn_io_matrix *matrix, csrn_axis axis) {
  return (matrix->cells == CSRN_PER_ROW) == (axis == CSRN_PER_ROW) ? CSRN_PER_ROW : CSRN_PER_COLUMN;
}

static void test_sums(void **state) {
  (void)state;
  for (int i = 0; i < 28; i++) {
    const pieces_case c = case_of(i);
    double whole[COLUMNS] = {0}, pieces[COLUMNS] = {0};
    csrn_io_matrix matrix;
    make_file(&c);
    io_read_file("in.npz", NULL, &matrix);
    csrn_io_input *input = io_open("in.npz", NULL);
    csrn_context *ctx = context_of(c.threads);
    csrn_io_summing s = {.axis = (csrn_axis)(i % 2),
                         .sums_type = CSRN_F64,
                         .sums = pieces,
                         .memory = c.memory,
                         .unit = c.unit,
                         .device = pieces_device};
    assert_int_equal(csrn_axis_sum(io_context, &matrix.csr, stored(&matrix, s.axis), whole, CSRN_F64),
                     CSRN_OK);
    if (csrn_io_sums(input, ctx, &s, NULL, &io_error))
      fail_msg("%s", io_error.text);
    assert_true(s.plan.streams);
    assert_memory_equal(whole, pieces, sizeof whole);
    csrn_context_destroy(ctx);
    csrn_io_close(input);
    csrn_io_matrix_free(&matrix);
  }
}

static void test_scaling(void **state) {
  (void)state;
  double factors[COLUMNS];
  for (int i = 0; i < COLUMNS; i++)
    factors[i] = i % 5 ? (double)i / 3 : 0;
  for (int i = 0; i < 28; i++) {
    const pieces_case c = case_of(i);
    csrn_io_matrix matrix, pieces;
    make_file(&c);
    io_read_file("in.npz", NULL, &matrix);
    csrn_io_input *input = io_open("in.npz", NULL);
    csrn_context *ctx = context_of(c.threads);
    csrn_io_scaling s = {.axis = (csrn_axis)(i / 2 % 2),
                         .op = (csrn_scale_op)(i % 2),
                         .factors = factors,
                         .memory = c.memory,
                         .unit = c.unit,
                         .device = pieces_device};
    const csrn_io_output output = {.path = io_path("out.npz"), .force = 1, .compression = c.after};
    const csrn_dtype type = output_type(c.type);
    void *result = malloc((size_t)matrix.csr.nnz * csrn_dtype_size(type));
    assert_int_equal(csrn_axis_scale(io_context, &matrix.csr, stored(&matrix, s.axis), s.op, factors,
                                     CSRN_F64, s.zeros, result, type),
                     CSRN_OK);
    free(matrix.csr.data);
    matrix.csr.data = result;
    matrix.csr.data_type = type;
    if (csrn_io_scale(input, ctx, &output, &s, NULL, &io_error))
      fail_msg("%s", io_error.text);
    assert_true(s.plan.streams);
    io_read_file("out.npz", NULL, &pieces);
    io_expect_same(&matrix, &pieces);
    csrn_context_destroy(ctx);
    csrn_io_close(input);
    csrn_io_matrix_free(&matrix);
    csrn_io_matrix_free(&pieces);
  }
}

/* ---- The file ---------------------------------------------------------------------------- */

/* The members that scipy writes, consistent, compressed as asked for; the same bytes for any number of
 * threads. */
static void test_members(void **state) {
  (void)state;
  static const char *const names[] = {"indices.npy", "indptr.npy", "format.npy", "shape.npy", "data.npy"};
  for (int i = 0; i < 6; i++) {
    pieces_case c = case_of(i % 2 ? 1 : 4);
    c.after = (csrn_io_compression)(i / 2);
    c.unit = 700;
    make_file(&c);
    const bool deflates = c.after == CSRN_IO_COMPRESSION_GZIP ||
                          (c.after == CSRN_IO_COMPRESSION_KEEP && c.before == CSRN_IO_COMPRESSION_GZIP);
    char *first = NULL;
    size_t n, first_n = 0;
    for (c.threads = 1; c.threads < 4; c.threads++) {
      expect_same(&c, NULL, options_of(i));
      for (size_t k = 0; k < COUNT(names); k++)
        assert_int_equal(stat_of("out.npz", names[k]).comp_method, deflates ? ZIP_CM_DEFLATE : ZIP_CM_STORE);
      char *bytes = io_read_bytes("out.npz", &n);
      if (first) {
        assert_int_equal(n, first_n);
        assert_memory_equal(first, bytes, n);
      }
      free(first);
      first = bytes;
      first_n = n;
    }
    free(first);
    /* The indices are copied as they are. */
    if (c.after == CSRN_IO_COMPRESSION_KEEP)
      assert_int_equal(stat_of("in.npz", "indices.npy").comp_size,
                       stat_of("out.npz", "indices.npy").comp_size);
  }
}

/* Beyond what 32 bits count, behind a hole: libzip finds all, and the checksum is right. */
static void test_large_zip(void **state) {
  (void)state;
  const char text[] = "0123456789";
  char found[sizeof text] = "";
  csrn_zip zip = {.file = open(io_path("large.zip"), O_WRONLY | O_CREAT | O_TRUNC, 0600)};
  const uint32_t crc = (uint32_t)crc32(0, (const Bytef *)text, 5);
  assert_true(csrn_zip_begin(&zip, "first", false) && csrn_zip_append(&zip, text, 5, 5, crc) &&
              csrn_zip_end(&zip));
  zip.offset = ((uint64_t)5 << 30) + 1;
  const uint32_t rest = (uint32_t)crc32(0, (const Bytef *)text + 5, 5);
  assert_true(csrn_zip_begin(&zip, "second", false) && csrn_zip_append(&zip, text, 5, 5, crc) &&
              csrn_zip_append(&zip, text + 5, 5, 5, rest) && csrn_zip_end(&zip) && csrn_zip_finish(&zip));
  assert_int_equal(close(zip.file), 0);
  int code;
  zip_t *opened = zip_open(io_path("large.zip"), ZIP_RDONLY, &code);
  assert_non_null(opened);
  zip_file_t *file = zip_fopen(opened, "second", 0);
  assert_non_null(file);
  assert_int_equal(zip_fread(file, found, sizeof found), 10);
  assert_int_equal(zip_fread(file, found + 10, 1), 0);
  assert_string_equal(found, text);
  zip_fclose(file);
  zip_discard(opened);
}

/* ---- Failures ------------------------------------------------------------------------------ */

static void expect_failure(const pieces_case *c, int i, const char *word) {
  csrn_io_normalization n;
  csrn_normalize_options options = options_of(i);
  remove(io_path("out.npz"));
  const int files = io_count_files();
  assert_int_equal(normalize_pieces(c, NULL, &options, NULL, &n), CSRN_IO_FAILED);
  io_says(io_path("in.npz"), word);
  assert_int_equal(io_count_files(), files);
}

/* One byte of a member's deflated data is another. */
static void test_damaged(void **state) {
  (void)state;
  static const char *const names[] = {"data.npy", "indices.npy"};
  pieces_case c = case_of(1);
  for (int k = 0; k < 8; k++) {
    size_t n;
    make_file(&c);
    char *bytes = io_read_bytes("in.npz", &n);
    size_t at = 0; /* behind the name in the local header, and the array's */
    while (at + 40 < n && memcmp(bytes + at, names[k % 2], strlen(names[k % 2])) != 0)
      at++;
    at += stat_of("in.npz", names[k % 2]).comp_size * (zip_uint64_t)(k + 3) / 11;
    assert_true(at < n);
    bytes[at] = (char)(bytes[at] ^ 0x55);
    io_write_bytes("in.npz", bytes, n);
    free(bytes);
    expect_failure(&c, k, ".npy "); /* that it is damaged, or, before the checksum, an index that is none */
  }
}

static void test_bad_index(void **state) {
  (void)state;
  pieces_case c = case_of(0);
  for (int i = 0; i < 6; i++) {
    csrn_io_matrix matrix;
    c.after = (csrn_io_compression)(i % 3);
    make_file(&c);
    io_read_file("in.npz", NULL, &matrix);
    ((int32_t *)(uintptr_t)matrix.csr.indices)[9000] = i / 3 ? -1 : COLUMNS;
    io_write(NULL, &matrix, "in.npz");
    csrn_io_matrix_free(&matrix);
    expect_failure(&c, 0, i / 3 ? "element 9000, in row 7, is -1" : "element 9000, in row 7, is 250");
  }
}

static int stop_at(void *user, const char *step, int64_t done, int64_t total) {
  (void)step;
  (void)done;
  (void)total;
  return --*(int *)user == 0;
}

static void test_interruption(void **state) {
  (void)state;
  pieces_case c = case_of(1);
  c.threads = 3;
  make_file(&c);
  for (int calls = 1; calls < 60; calls += 9) {
    int left = calls;
    const csrn_io_progress progress = {stop_at, &left};
    csrn_io_normalization n;
    csrn_normalize_options options = options_of(0);
    const int files = io_count_files();
    assert_int_equal(normalize_pieces(&c, NULL, &options, &progress, &n), CSRN_IO_FAILED);
    io_says("interrupted");
    assert_int_equal(io_count_files(), files);
  }
}

static void test_little_memory(void **state) {
  (void)state;
  pieces_case c = case_of(0);
  csrn_io_normalization n;
  csrn_normalize_options options = options_of(0);
  c.memory = 1;
  make_file(&c);
  assert_int_equal(normalize_pieces(&c, NULL, &options, NULL, &n), CSRN_IO_FAILED);
  io_says("more than the 1 of --memory");
  c.memory = n.plan.memory; /* what it takes with one worker */
  expect_same(&c, NULL, options);
}

int main(int argc, char **argv) {
  if (!pieces_arguments(argc, argv))
    return 77;
  const struct CMUnitTest tests[] = {
      TEST(test_normalize),     TEST(test_single_values), TEST(test_other_types), TEST(test_empty),
      TEST(test_many_rows),     TEST(test_sums),          TEST(test_scaling),     TEST(test_members),
      TEST(test_large_zip),     TEST(test_damaged),       TEST(test_bad_index),   TEST(test_interruption),
      TEST(test_little_memory),
  };
  return io_run(tests);
}
