/*
 * Reading .npz: every type, byte order and header version that numpy writes, both layouts
 * and axes. Expectations are worked out by hand.
 */
#include "io_fixture.h"
#include "npz_sample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* As stored, 2 x 3:
 *     . 5 2
 *     7 . 1 */
static const int32_t indptr[] = {0, 2, 4}, indices[] = {2, 1, 0, 2};
static const int64_t shape[] = {2, 3}, wide_indptr[] = {0, 2, 4}, wide_indices[] = {2, 1, 0, 2};
static const float data[] = {2, 5, 7, 1};
static const double values[] = {2, 5, 7, 1};

enum { DATA, INDICES, INDPTR, SHAPE, FORMAT, N_MEMBERS };

#define DICTIONARY(descr, shape_) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape_ ", }"

static void fill(npz_member members[N_MEMBERS]) {
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY("<f4", "(4,)"), data, sizeof data};
  members[INDICES] = (npz_member){"indices.npy", 0, DICTIONARY("<i4", "(4,)"), indices, sizeof indices};
  members[INDPTR] = (npz_member){"indptr.npy", 0, DICTIONARY("<i4", "(3,)"), indptr, sizeof indptr};
  members[SHAPE] = (npz_member){"shape.npy", 0, DICTIONARY("<i8", "(2,)"), shape, sizeof shape};
  members[FORMAT] = (npz_member){"format.npy", 0, DICTIONARY("|S3", "()"), "csr", 3};
}

static void expect_members(const npz_member members[N_MEMBERS], const csrn_io_select *select,
                           const io_expected *expected) {
  for (int deflate = 0; deflate < 2; deflate++) {
    csrn_io_matrix matrix;
    npz_sample(io_path("a.npz"), members, N_MEMBERS, deflate);
    csrn_io_input *input = io_open("a.npz", select);
    assert_string_equal(csrn_io_describe(input)->filters, deflate ? "deflate" : "none");
    io_read(input, &matrix);
    io_expect_matrix(&matrix, expected);
    csrn_io_matrix_free(&matrix);
    csrn_io_close(input);
  }
}

static io_expected usual(csrn_dtype type) {
  return (io_expected){2, 3, wide_indptr, wide_indices, values, type, CSRN_PER_ROW};
}

/* scipy lets the arrays be longer than the last row: what lies behind it is no part of the matrix. */
static void test_spare_values(void **state) {
  (void)state;
  static const int32_t shorter[] = {0, 2, 3};
  static const int64_t wide_shorter[] = {0, 2, 3};
  npz_member members[N_MEMBERS];
  fill(members);
  members[INDPTR].bytes = shorter;
  io_expected expected = usual(CSRN_F32);
  expected.indptr = wide_shorter;
  expect_members(members, NULL, &expected);
}

static void test_layouts(void **state) {
  (void)state;
  npz_member members[N_MEMBERS];
  fill(members);
  const csrn_io_select columns = {.cells = CSRN_IO_CELLS_COLUMNS}, rows = {.cells = CSRN_IO_CELLS_ROWS};
  io_expected expected = usual(CSRN_F32);
  expect_members(members, NULL, &expected);
  expect_members(members, &rows, &expected);
  expected.cells = CSRN_PER_COLUMN;
  expect_members(members, &columns, &expected);
  /* The same arrays as a CSC are 3 x 2. */
  static const int64_t turned[] = {3, 2};
  members[SHAPE].bytes = turned;
  members[FORMAT].bytes = "csc";
  expect_members(members, NULL, &expected);
  expected.cells = CSRN_PER_ROW;
  expect_members(members, &columns, &expected);
  npz_sample(io_path("a.npz"), members, N_MEMBERS, 1);
  csrn_io_input *input = io_open("a.npz", NULL);
  const csrn_io_description *d = csrn_io_describe(input);
  assert_int_equal(d->format, CSRN_IO_NPZ);
  assert_int_equal(d->layout, CSRN_IO_CSC);
  assert_string_equal(d->format_name, "scipy npz");
  assert_int_equal(d->n_cells, 3);
  assert_int_equal(d->n_genes, 2);
  assert_int_equal(d->nnz, 4);
  assert_int_equal(d->data_type, CSRN_F32);
  assert_int_equal(d->indices_type, CSRN_I32);
  assert_int_equal(d->indptr_type, CSRN_I32);
  csrn_io_close(input);
}

/* The values 2, 5, 7, 1 in `size` bytes each, the first or the last of them lowest. */
static void spread(unsigned char *bytes, size_t size, bool big) {
  memset(bytes, 0, 4 * size);
  for (size_t i = 0; i < 4; i++)
    bytes[i * size + (big ? size - 1 : 0)] = (unsigned char)values[i];
}

static void test_integer_types(void **state) {
  (void)state;
  static const struct {
    char kind;
    int size;
    csrn_dtype type;
  } types[] = {{'u', 1, CSRN_U8},  {'u', 2, CSRN_U16}, {'u', 4, CSRN_U32}, {'u', 8, CSRN_I64},
               {'i', 1, CSRN_I32}, {'i', 2, CSRN_I32}, {'i', 4, CSRN_I32}, {'i', 8, CSRN_I64}};
  for (size_t t = 0; t < COUNT(types); t++)
    for (int big = 0; big < 2; big++)
      for (int role = DATA; role <= INDICES; role++) {
        npz_member members[N_MEMBERS];
        char text[128];
        unsigned char bytes[32];
        const size_t size = (size_t)types[t].size;
        const io_expected expected = usual(role == DATA ? types[t].type : CSRN_F32);
        fill(members);
        snprintf(text, sizeof text, "{'descr': '%c%c%d', 'fortran_order': False, 'shape': (4,), }",
                 size == 1 ? '|'
                 : big     ? '>'
                           : '<',
                 types[t].kind, types[t].size);
        spread(bytes, size, big);
        if (role == INDICES)
          for (size_t i = 0; i < 4; i++)
            bytes[i * size + (big ? size - 1 : 0)] = (unsigned char)indices[i];
        members[role] = (npz_member){members[role].name, 0, text, bytes, 4 * size};
        expect_members(members, NULL, &expected);
      }
}

static void test_negative_integers(void **state) {
  (void)state;
  static const int8_t narrow[] = {-128, 127, -1, 0};
  static const unsigned char big[] = {0x80, 0x00, 0x7f, 0xff, 0xff, 0xff, 0x00, 0x00};
  static const double narrow_values[] = {-128, 127, -1, 0}, big_values[] = {-32768, 32767, -1, 0};
  npz_member members[N_MEMBERS];
  io_expected expected = usual(CSRN_I32);
  fill(members);
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY("|i1", "(4,)"), narrow, sizeof narrow};
  expected.values = narrow_values;
  expect_members(members, NULL, &expected);
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY(">i2", "(4,)"), big, sizeof big};
  expected.values = big_values;
  expect_members(members, NULL, &expected);
}

static void test_bool(void **state) {
  (void)state;
  static const uint8_t bytes[] = {1, 0, 1, 1};
  static const double expected_values[] = {1, 0, 1, 1};
  npz_member members[N_MEMBERS];
  io_expected expected = usual(CSRN_U8);
  fill(members);
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY("|b1", "(4,)"), bytes, sizeof bytes};
  expected.values = expected_values;
  expect_members(members, NULL, &expected);
}

static void test_real_types(void **state) {
  (void)state;
  static const unsigned char big[] = {0x3f, 0xf0, 0,    0,    0,    0,    0,    1,    0x80, 0,   0,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,   0,
                                      0,    1,    0x7f, 0xef, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  static const double expected_big[] = {0x1.0000000000001p0, -0.0, 0x1p-1074, 0x1.fffffffffffffp1023};
  npz_member members[N_MEMBERS];
  io_expected expected = usual(CSRN_F64);
  fill(members);
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY("<f8", "(4,)"), values, sizeof values};
  expect_members(members, NULL, &expected);
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY(">f8", "(4,)"), big, sizeof big};
  expected.values = expected_big;
  expect_members(members, NULL, &expected);
}

/* float16: 1, -2, the largest, the smallest normal, both ends of the subnormals, -0, infinity. */
static void test_halves(void **state) {
  (void)state;
  static const uint16_t halves[2][4] = {{0x3c00, 0xc000, 0x7bff, 0x0400}, {0x03ff, 0x8001, 0x8000, 0x7c00}};
  const double expected_values[2][4] = {{1, -2, 65504, 0x1p-14}, {0x1.ff8p-15, -0x1p-24, -0.0, INFINITY}};
  for (int i = 0; i < 2; i++) {
    npz_member members[N_MEMBERS];
    io_expected expected = usual(CSRN_F32);
    fill(members);
    members[DATA] = (npz_member){"data.npy", 0, DICTIONARY("<f2", "(4,)"), halves[i], 8};
    expected.values = expected_values[i];
    expect_members(members, NULL, &expected);
  }
}

static void test_headers(void **state) {
  (void)state;
  static const char *const texts[] = {
      DICTIONARY("<f4", "(4,)"),
      "{'shape': (4,), 'fortran_order': True, 'descr': '<f4'}          ",
      "{ 'descr' : '=f4' , 'fortran_order' : False , 'shape' : ( 4 , ) , }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4L,), }",
  };
  for (size_t t = 0; t < COUNT(texts); t++)
    for (int version = 1; version <= 3; version++) {
      npz_member members[N_MEMBERS];
      const io_expected expected = usual(CSRN_F32);
      fill(members);
      members[DATA].version = version;
      members[DATA].text = texts[t];
      expect_members(members, NULL, &expected);
    }
}

static void test_format_texts(void **state) {
  (void)state;
  static const unsigned char little[] = {'c', 0, 0, 0, 's', 0, 0, 0, 'r', 0, 0, 0};
  static const unsigned char big[] = {0, 0, 0, 'c', 0, 0, 0, 's', 0, 0, 0, 'r'};
  const io_expected expected = usual(CSRN_F32);
  npz_member members[N_MEMBERS];
  fill(members);
  members[FORMAT] = (npz_member){"format.npy", 0, DICTIONARY("<U3", "()"), little, sizeof little};
  expect_members(members, NULL, &expected);
  members[FORMAT] = (npz_member){"format.npy", 0, DICTIONARY(">U3", "()"), big, sizeof big};
  expect_members(members, NULL, &expected);
  members[FORMAT] = (npz_member){"format.npy", 0, DICTIONARY("|S5", "(1,)"), "csr\0\0", 5};
  expect_members(members, NULL, &expected);
  static const int32_t narrow[] = {2, 3};
  members[SHAPE] = (npz_member){"shape.npy", 0, DICTIONARY("<i4", "(2,)"), narrow, sizeof narrow};
  expect_members(members, NULL, &expected);
}

static void test_empty(void **state) {
  (void)state;
  static const int64_t none[] = {0, 0}, zeros[3] = {0};
  npz_member members[N_MEMBERS];
  fill(members);
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY("<f4", "(0,)"), NULL, 0};
  members[INDICES] = (npz_member){"indices.npy", 0, DICTIONARY("<i4", "(0,)"), NULL, 0};
  members[INDPTR] = (npz_member){"indptr.npy", 0, DICTIONARY("<i8", "(3,)"), zeros, 24};
  io_expected expected = {2, 3, zeros, NULL, NULL, CSRN_F32, CSRN_PER_ROW};
  expect_members(members, NULL, &expected);
  members[INDPTR] = (npz_member){"indptr.npy", 0, DICTIONARY("<i8", "(1,)"), zeros, 8};
  members[SHAPE].bytes = none;
  expected.n_rows = expected.n_cols = 0;
  expect_members(members, NULL, &expected);
}

static int stop(void *user, const char *step, int64_t done, int64_t total) {
  (void)user;
  assert_string_equal(step, "reading");
  assert_true(done > 0 && done <= total);
  return 1;
}

static void test_interrupted(void **state) {
  (void)state;
  npz_member members[N_MEMBERS];
  const csrn_io_progress progress = {stop, NULL};
  csrn_io_matrix matrix;
  fill(members);
  npz_sample(io_path("a.npz"), members, N_MEMBERS, 1);
  csrn_io_input *input = io_open("a.npz", NULL);
  assert_int_equal(csrn_io_read(input, io_context, &matrix, &progress, &io_error), CSRN_IO_FAILED);
  io_says("interrupted");
  io_read(input, &matrix); /* and can be read all the same */
  const io_expected expected = usual(CSRN_F32);
  io_expect_matrix(&matrix, &expected);
  csrn_io_matrix_free(&matrix);
  csrn_io_close(input);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_spare_values), TEST(test_layouts),    TEST(test_integer_types), TEST(test_negative_integers),
      TEST(test_bool),         TEST(test_real_types), TEST(test_halves),        TEST(test_headers),
      TEST(test_format_texts), TEST(test_empty),      TEST(test_interrupted),
  };
  return io_run(tests);
}
