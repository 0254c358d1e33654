/*
 * MatrixMarket files that cannot be read: each is one sentence that names the file, the
 * line, what is there and what was expected. And files cut off or altered at any byte.
 */
#include "io_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INTEGER "%%MatrixMarket matrix coordinate integer general\n"
#define REAL    "%%MatrixMarket matrix coordinate real general\n"
#define PATTERN "%%MatrixMarket matrix coordinate pattern general\n"

static const struct {
  const char *text, *words[3];
} bad[] = {
    {"%%MatrixMarket matrix array real general\n2 2\n1\n2\n3\n4\n", {"\"array\"", "coordinate"}},
    {"%%MatrixMarket matrix coordinate real symmetric\n1 1 1\n1 1 1\n", {"\"symmetric\"", "general"}},
    {"%%MatrixMarket matrix coordinate real skew-symmetric\n", {"\"skew-symmetric\"", "general"}},
    {"%%MatrixMarket matrix coordinate complex hermitian\n", {"\"hermitian\"", "general"}},
    {"%%MatrixMarket matrix coordinate complex general\n1 1 1\n",
     {"\"complex\"", "integer, real or pattern"}},
    {"%%MatrixMarket vector coordinate real general\n", {"line 1", "vector"}},
    {"%%MatrixMarket matrix coordinate real\n", {"line 1"}},
    {"%%MatrixMarket\n", {"line 1"}},
    {INTEGER, {"ends before its sizes"}},
    {INTEGER "% only comments\n\n", {"ends before its sizes"}},
    {INTEGER "3 2\n", {"line 2", "\"3 2\"", "rows, columns and entries"}},
    {INTEGER "3 2 4 5\n", {"line 2", "\"3 2 4 5\""}},
    {INTEGER "3 -2 4\n", {"line 2", "\"3 -2 4\""}},
    {INTEGER "3 2 x\n", {"line 2", "\"3 2 x\""}},
    {INTEGER "2147483648 2 0\n", {"2147483648", "2^31 - 1"}},
    {INTEGER "2 2147483648 0\n", {"2147483648", "2^31 - 1"}},
    {INTEGER "3 2 1000000000000\n1 1 1\n", {"1000000000000 entries", "more than a file of"}},
    {INTEGER "3 2 90\n1 1 1\n1 2 1\n", {"90 entries", "more than a file of"}},
    {INTEGER "3 99999999999999999999 1\n1 1 1\n", {"9223372036854775807", "2^31 - 1"}},
    {INTEGER "3 2 99999999999999999999\n1 1 1\n", {"entries", "more than a file of"}},
    {INTEGER "3 2 2\n1 1 1\n", {"ends after 1 entries", "expected 2"}},
    {INTEGER "3 2 1\n1 1 1\n% fine\n2 1 1\n", {"line 5", "\"2 1 1\"", "more entries"}},
    {INTEGER "3 2 1\n4 1 1\n", {"line 3", "\"4 1 1\"", "row is outside"}},
    {INTEGER "3 2 1\n0 1 1\n", {"line 3", "\"0 1 1\"", "row is outside"}},
    {INTEGER "3 2 1\n1 3 1\n", {"line 3", "\"1 3 1\"", "column is outside"}},
    {INTEGER "3 2 1\n1 0 1\n", {"line 3", "\"1 0 1\"", "column is outside"}},
    {INTEGER "3 2 1\n-1 1 1\n", {"line 3", "\"-1 1 1\"", "a row and a column"}},
    {INTEGER "3 2 1\n1.0 1 1\n", {"line 3", "\"1.0 1 1\"", "a row and a column"}},
    {INTEGER "3 2 1\n99999999999999999999 1 1\n", {"line 3", "a row and a column"}},
    {INTEGER "3 2 1\nx y z\n", {"line 3", "\"x y z\"", "a row and a column"}},
    {INTEGER "3 2 1\n1     \n", {"line 3", "a row and a column"}},
    {INTEGER "3 2 1\n1 1   \n", {"line 3", "expected an integer"}},
    {INTEGER "3 2 1\n1 1 x\n", {"line 3", "\"1 1 x\"", "expected an integer"}},
    {INTEGER "3 2 1\n1 1 1.5\n", {"line 3", "\"1 1 1.5\"", "expected an integer"}},
    {INTEGER "3 2 1\n1 1 1 1\n", {"line 3", "\"1 1 1 1\"", "expected an integer"}},
    {INTEGER "3 2 1\n1 1 9223372036854775808\n", {"line 3", "64 bits"}},
    {INTEGER "3 2 1\n1 1 -9223372036854775809\n", {"line 3", "64 bits"}},
    {REAL "3 2 1\n1 1 1.5x\n", {"line 3", "\"1 1 1.5x\"", "expected a number"}},
    {REAL "3 2 1\n1 1 1,5\n", {"line 3", "\"1 1 1,5\"", "expected a number"}},
    {REAL "3 2 1\n1 1 1e999\n", {"line 3", "\"1 1 1e999\"", "within float64"}},
    {REAL "3 2 1\n1 1 1 2\n", {"line 3", "expected a number"}},
    {PATTERN "3 2 1\n1 1 1\n", {"line 3", "\"1 1 1\"", "no values"}},
};

static void test_sentences(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(bad); i++)
    for (int gz = 0; gz < 2; gz++) {
      const char *const words[] = {bad[i].words[0], bad[i].words[1], bad[i].words[2], NULL};
      if (gz && strstr(bad[i].text, "3 2 9"))
        continue; /* what gzip could hold */
      if (gz)
        io_gzip("a.mtx", bad[i].text, 2);
      else
        io_write_text("a.mtx", bad[i].text);
      io_expect_failure("a.mtx", NULL, words);
    }
}

static void test_selection(void **state) {
  (void)state;
  const csrn_io_select layer = {.layer = "counts"}, genome = {.genome = "GRCh38"},
                       types = {.feature_types = "all"};
  io_write_text("a.mtx", INTEGER "1 1 0\n");
  io_fails("a.mtx", &layer, "no layers");
  io_fails("a.mtx", &genome, "no layers, genomes");
  io_fails("a.mtx", &types, "feature types");
}

static void test_not_text(void **state) {
  (void)state;
  static const char zero[] = INTEGER "3 2 1\n1 1 1\0 1\n";
  io_write_bytes("a.mtx", zero, sizeof zero - 1);
  io_fails("a.mtx", NULL, "zero byte");
  const size_t length = 3 << 20;
  char *text = malloc(length + 1);
  assert_non_null(text);
  memset(text, '1', length);
  text[length] = '\0';
  memcpy(text, INTEGER, sizeof INTEGER - 1);
  io_write_text("a.mtx", text);
  io_fails("a.mtx", NULL, "line 2 is too long");
  free(text);
}

/* What a file holds is quoted, but must not drive the terminal. */
static void test_control_characters(void **state) {
  (void)state;
  io_write_text("a.mtx", INTEGER "3 2 1\n1 1 \x1b[2J\r\a\n");
  io_fails("a.mtx", NULL, "line 3 is \"1 1 ?[2J??\"");
  io_write_text("a.mtx", INTEGER "3 2 1\n1 1 \xc2\x9b"
                                 "2J\x7f \xc2\xa0 \xe2\x82\xac \xe2\x82 \x9b\n");
  io_fails("a.mtx", NULL, "line 3 is \"1 1 ??2J? \xc2\xa0 \xe2\x82\xac ?? ?\"");
}

static void test_file_changes(void **state) {
  (void)state;
  csrn_io_matrix matrix;
  io_write_text("a.mtx", INTEGER "2 2 1\n1 1 1\n");
  csrn_io_input *input = io_open("a.mtx", NULL);
  io_read(input, &matrix);
  csrn_io_matrix_free(&matrix);
  io_write_text("a.mtx", INTEGER "2 9 1\n1 9 1\n");
  assert_int_equal(csrn_io_read(input, io_context, &matrix, NULL, &io_error), CSRN_IO_FAILED);
  io_says("has changed");
  assert_null(matrix.csr.data);
  assert_int_equal(unlink(io_path("a.mtx")), 0);
  assert_int_equal(csrn_io_read(input, io_context, &matrix, NULL, &io_error), CSRN_IO_FAILED);
  io_says("No such file");
  csrn_io_close(input);
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
  static const char text[] = INTEGER "%comment\n12 34 5\n1 1 7\n12 34 80\n11 3 9\n5 6 7\n8 9 10\n";
  size_t n;
  io_gzip("whole.gz", text, 3);
  char *bytes = io_read_bytes("whole.gz", &n);
  for (size_t cut = 0; cut < n; cut++) {
    io_write_bytes("a.gz", bytes, cut);
    assert_false(survives("a.gz"));
  }
  assert_true(survives("whole.gz"));
  io_write_bytes("a.gz", bytes, n - 4);
  io_fails("a.gz", NULL, "cut off");
  free(bytes);
  /* Plain text is whole again only with the last digit, or "1" for "10". */
  for (size_t cut = 0; cut < sizeof text - 3; cut++) {
    io_write_bytes("a.mtx", text, cut);
    assert_false(survives("a.mtx"));
  }
}

/* Of a file however small, that its checksum is another is no reason to say that it is no matrix. */
static void test_wrong_checksum(void **state) {
  (void)state;
  size_t n;
  io_gzip("whole.gz", INTEGER "2 2 1\n1 1 7\n", 1);
  char *bytes = io_read_bytes("whole.gz", &n);
  for (size_t i = n - 8; i < n; i++) {
    bytes[i] ^= 1;
    io_write_bytes("a.mtx.gz", bytes, n);
    io_fails("a.mtx.gz", NULL, "cannot be read",
             i < n - 4 ? "incorrect data check" : "incorrect length check");
    bytes[i] ^= 1;
  }
  free(bytes);
}

static void test_altered(void **state) {
  (void)state;
  static const char text[] = INTEGER "%comment\n12 34 5\n1 1 7\n12 34 80\n11 3 9\n5 6 7\n8 9 10\n";
  uint64_t seed = 7;
  char copy[sizeof text];
  size_t n;
  io_gzip("whole.gz", text, 2);
  char *bytes = io_read_bytes("whole.gz", &n);
  for (int i = 0; i < 3000; i++) {
    memcpy(copy, text, sizeof text);
    for (int k = 0; k < 1 + i % 3; k++)
      copy[io_random(&seed) % (sizeof text - 1)] = " \n%-0123456789.ex\t\r"[io_random(&seed) % 19];
    io_write_bytes("a.mtx", copy, sizeof text - 1);
    survives("a.mtx");
  }
  for (size_t i = 0; i < n; i++) /* a wrong bit anywhere in gzip is noticed, or does not matter */
    for (int bit = 0; bit < 8; bit++) {
      bytes[i] = (char)(bytes[i] ^ 1 << bit);
      io_write_bytes("a.gz", bytes, n);
      survives("a.gz");
      bytes[i] = (char)(bytes[i] ^ 1 << bit);
    }
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_sentences),    TEST(test_selection), TEST(test_not_text),       TEST(test_control_characters),
      TEST(test_file_changes), TEST(test_cut_off),   TEST(test_wrong_checksum), TEST(test_altered),
  };
  return io_run(tests);
}
