/*
 * .npz files that cannot be read: members missing, of wrong sizes and types, headers that
 * are none, and files cut off or altered at any byte.
 */
#include "io_fixture.h"
#include "npz_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int32_t indptr[] = {0, 2, 4}, indices[] = {2, 1, 0, 2}, decreasing[] = {0, 5, 4},
                     late[] = {1, 2, 4};
static const int32_t outside[] = {2, 1, 3, 2}, negative[] = {2, 1, -1, 2};
static const int64_t shape[] = {2, 3}, negative_shape[] = {2, -3}, huge[] = {INT64_MAX, 3};
static const float data[] = {2, 5, 7, 1};
static const uint64_t too_large[] = {1, 2, 3, UINT64_MAX};

enum { DATA, INDICES, INDPTR, SHAPE, FORMAT, N_MEMBERS };

#define LEFT_OUT                                                                                             \
  { .name = NULL }
#define DICTIONARY(descr, shape_) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape_ ", }"

static void fill(npz_member members[N_MEMBERS]) {
  members[DATA] = (npz_member){"data.npy", 0, DICTIONARY("<f4", "(4,)"), data, sizeof data};
  members[INDICES] = (npz_member){"indices.npy", 0, DICTIONARY("<i4", "(4,)"), indices, sizeof indices};
  members[INDPTR] = (npz_member){"indptr.npy", 0, DICTIONARY("<i4", "(3,)"), indptr, sizeof indptr};
  members[SHAPE] = (npz_member){"shape.npy", 0, DICTIONARY("<i8", "(2,)"), shape, sizeof shape};
  members[FORMAT] = (npz_member){"format.npy", 0, DICTIONARY("|S3", "()"), "csr", 3};
}

/* One member replaced, and what the sentence says of it. */
static const struct {
  int role;
  npz_member member;
  const char *words[2];
} bad[] = {
    {DATA, LEFT_OUT, {"data.npy", "missing"}},
    {INDICES, LEFT_OUT, {"indices.npy", "missing"}},
    {INDPTR, LEFT_OUT, {"indptr.npy", "missing"}},
    {SHAPE, LEFT_OUT, {"shape.npy", "missing"}},
    {FORMAT, LEFT_OUT, {"format.npy", "missing"}},
    {FORMAT, {"format.npy", 0, DICTIONARY("|S3", "()"), "bsr", 3}, {"\"bsr\"", "csr or csc"}},
    {FORMAT, {"format.npy", 0, DICTIONARY("|S3", "()"), "dia", 3}, {"\"dia\"", "csr or csc"}},
    {FORMAT, {"format.npy", 0, DICTIONARY("|S3", "()"), "coo", 3}, {"\"coo\"", "csr or csc"}},
    {FORMAT, {"format.npy", 0, DICTIONARY("|S4", "()"), "csrx", 4}, {"\"csrx\"", "csr or csc"}},
    {FORMAT, {"format.npy", 0, DICTIONARY("|S3", "(2,)"), "csrcsr", 6}, {"format.npy", "one word"}},
    {SHAPE, {"shape.npy", 0, DICTIONARY("<i8", "(1,)"), shape, 8}, {"shape.npy", "two integers"}},
    {SHAPE, {"shape.npy", 0, DICTIONARY("<f8", "(2,)"), shape, 16}, {"shape.npy", "two integers"}},
    {SHAPE, {"shape.npy", 0, DICTIONARY("<i8", "(2,)"), negative_shape, 16}, {"shape.npy", "negative"}},
    {SHAPE,
     {"shape.npy", 0, DICTIONARY("<i8", "(2,)"), huge, 16},
     {"indptr has 3 elements", "expected 9223372036854775808"}},
    {INDPTR,
     {"indptr.npy", 0, DICTIONARY("<i4", "(2,)"), indptr, 8},
     {"indptr has 2 elements", "expected 3 for 2 rows"}},
    {INDPTR, {"indptr.npy", 0, DICTIONARY("<i4", "(0,)"), NULL, 0}, {"indptr has 0 elements"}},
    {INDPTR, {"indptr.npy", 0, DICTIONARY("<f4", "(3,)"), indptr, 12}, {"integers"}},
    {INDPTR, {"indptr.npy", 0, DICTIONARY("<i4", "(3,)"), decreasing, 12}, {"not a valid sparse matrix"}},
    {INDPTR, {"indptr.npy", 0, DICTIONARY("<i4", "(3,)"), late, 12}, {"indptr", "starts with 1; expected 0"}},
    {INDICES, {"indices.npy", 0, DICTIONARY("<i4", "(3,)"), indices, 12}, {"3 indices for 4 values"}},
    {INDICES, {"indices.npy", 0, DICTIONARY("<i4", "(4,)"), outside, 16}, {"not a valid sparse matrix"}},
    {INDICES, {"indices.npy", 0, DICTIONARY("<i4", "(4,)"), negative, 16}, {"not a valid sparse matrix"}},
    {INDICES, {"indices.npy", 0, DICTIONARY("<f4", "(4,)"), data, 16}, {"integers"}},
    {INDICES, {"indices.npy", 0, DICTIONARY("|b1", "(4,)"), indices, 4}, {"integers"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f4", "(4,)"), data, 12}, {"data.npy", "shorter or longer"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f4", "(3,)"), data, 16}, {"data.npy", "shorter or longer"}},
    {DATA,
     {"data.npy", 0, DICTIONARY("<f4", "(999999999999999999,)"), data, 16},
     {"data.npy", "shorter or longer"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f4", "(9999999999999999999,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f4", "(-4,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f4", "(4)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f4", "(2, 2)"), data, 16}, {"data.npy", "no one-dimensional"}},
    {DATA, {"data.npy", 0, DICTIONARY("<c8", "(2,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f16", "(1,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("|O", "(2,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("<M8[s]", "(2,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("?f4", "(4,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f", "(4,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("<f04294967300", "(4,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, DICTIONARY("|S4", "(4,)"), data, 16}, {"data.npy", "does not hold numbers"}},
    {DATA, {"data.npy", 0, DICTIONARY("<u8", "(4,)"), too_large, 32}, {"data.npy", "2^63"}},
    {DATA, {"data.npy", 4, DICTIONARY("<f4", "(4,)"), data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, "", data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, "{}", data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, "{'descr': '<f4', 'fortran_order': False, }", data, 16}, {"data.npy", "damaged"}},
    {DATA, {"data.npy", 0, "{'descr': '<f4', 'shape': (4,), }", data, 16}, {"data.npy", "damaged"}},
    {DATA,
     {"data.npy", 0, "{'descr': '<f4', 'fortran_order': 0, 'shape': (4,), }", data, 16},
     {"data.npy", "damaged"}},
    {DATA,
     {"data.npy", 0, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", data, 16},
     {"damaged"}},
    {DATA,
     {"data.npy", 0, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'x': 1}", data, 16},
     {"damaged"}},
    {DATA,
     {"data.npy", 0, "{'descr': '<f4' 'fortran_order': False, 'shape': (4,), }", data, 16},
     {"damaged"}},
    {DATA,
     {"data.npy", 0, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), } x", data, 16},
     {"damaged"}},
    {DATA,
     {"data.npy", 0, "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), ", data, 16},
     {"damaged"}},
};

static void test_sentences(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(bad); i++) {
    npz_member members[N_MEMBERS];
    const char *const words[] = {bad[i].words[0], bad[i].words[1], NULL};
    fill(members);
    members[bad[i].role] = bad[i].member;
    npz_sample(io_path("a.npz"), members, N_MEMBERS, (int)(i % 2));
    io_expect_failure("a.npz", NULL, words);
  }
}

static void test_long_header(void **state) {
  (void)state;
  static char text[3000];
  npz_member members[N_MEMBERS];
  memset(text, ' ', sizeof text - 1);
  memcpy(text, DICTIONARY("<f4", "(4,)"), strlen(DICTIONARY("<f4", "(4,)")));
  fill(members);
  members[DATA].text = text;
  npz_sample(io_path("a.npz"), members, N_MEMBERS, 0);
  io_fails("a.npz", NULL, "data.npy", "damaged");
}

static void test_selection(void **state) {
  (void)state;
  const csrn_io_select layer = {.layer = "counts"}, genome = {.genome = "GRCh38"},
                       types = {.feature_types = "all"};
  npz_member members[N_MEMBERS];
  fill(members);
  npz_sample(io_path("a.npz"), members, N_MEMBERS, 0);
  io_fails("a.npz", &layer, "no layers");
  io_fails("a.npz", &genome, "no layers, genomes");
  io_fails("a.npz", &types, "feature types");
}

static void test_no_zip(void **state) {
  (void)state;
  io_write_text("a.npz", "PK\x03\x04 and nothing of a zip");
  io_fails("a.npz", NULL, "no readable zip file");
}

/* Opens and reads; whatever is read is a valid matrix, whatever fails has a sentence. */
static bool survives(const char *name) {
  csrn_io_input *input = NULL;
  csrn_io_matrix matrix;
  memset(&io_error, 0, sizeof io_error);
  csrn_io_status status = csrn_io_open(io_path(name), NULL, &input, &io_error);
  if (!status)
    status = csrn_io_read(input, io_context, &matrix, NULL, &io_error);
  csrn_io_close(input);
  if (status) {
    assert_true(strlen(io_error.text) > 0);
    return false;
  }
  assert_int_equal(csrn_csr_check(io_context, &matrix.csr), CSRN_OK);
  csrn_io_matrix_free(&matrix);
  return true;
}

static void test_cut_off(void **state) {
  (void)state;
  for (int deflate = 0; deflate < 2; deflate++) {
    npz_member members[N_MEMBERS];
    size_t n;
    fill(members);
    npz_sample(io_path("whole.npz"), members, N_MEMBERS, deflate);
    assert_true(survives("whole.npz"));
    char *bytes = io_read_bytes("whole.npz", &n);
    for (size_t cut = 0; cut < n; cut++) {
      io_write_bytes("a.npz", bytes, cut);
      assert_false(survives("a.npz"));
    }
    free(bytes);
  }
}

/* A wrong bit in the values is noticed by their checksum, one elsewhere may not matter. */
static void test_altered(void **state) {
  (void)state;
  for (int deflate = 0; deflate < 2; deflate++) {
    npz_member members[N_MEMBERS];
    size_t n;
    int failures = 0;
    fill(members);
    npz_sample(io_path("whole.npz"), members, N_MEMBERS, deflate);
    char *bytes = io_read_bytes("whole.npz", &n);
    for (size_t i = 0; i < n; i++)
      for (int bit = 0; bit < 8; bit++) {
        bytes[i] = (char)(bytes[i] ^ 1 << bit);
        io_write_bytes("a.npz", bytes, n);
        failures += !survives("a.npz");
        bytes[i] = (char)(bytes[i] ^ 1 << bit);
      }
    assert_true(failures > (int)(5 * sizeof data * 8));
    free(bytes);
    for (size_t value = 0; !deflate && value < sizeof data; value++) {
      bytes = io_read_bytes("whole.npz", &n);
      for (size_t i = 0; i + sizeof data <= n; i++)
        if (memcmp(bytes + i, data, sizeof data) == 0)
          bytes[i + value]++;
      io_write_bytes("a.npz", bytes, n);
      io_fails("a.npz", NULL, "data.npy", "damaged");
      free(bytes);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_sentences), TEST(test_long_header), TEST(test_selection),
      TEST(test_no_zip),    TEST(test_cut_off),     TEST(test_altered),
  };
  return io_run(tests);
}
