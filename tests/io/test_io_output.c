/*
 * Finding the format of an input, and outputs that appear whole or not at all: names,
 * places, modes, links, full disks, interruption, and nothing left behind.
 */
#include "io_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const names[] = {"a.npz", "a.mtx", "a.mtx.gz", "a.h5ad"};

/* ---- Inputs ----------------------------------------------------------------- */

static void test_no_matrix(void **state) {
  (void)state;
  io_fails("missing.h5ad", NULL, "No such file");
  assert_int_equal(mkdir(io_path("d"), 0755), 0);
  io_fails("d", NULL, "Is a directory");
  assert_int_equal(rmdir(io_path("d")), 0);
  io_write_text("empty.npz", "");
  io_fails("empty.npz", NULL, "empty");
  const char *const none[] = {"x",        "PK\x05\x06",          "%%Matri", "hello, world\n",
                              "\x1f\x8b", "\x1f\x8b\x08\x01\x02"};
  for (size_t i = 0; i < COUNT(none); i++) {
    io_write_text("a.h5ad", none[i]);
    io_fails("a.h5ad", NULL, "not a count matrix", ".h5ad", "10x .h5", "MatrixMarket", ".npz");
  }
  io_gzip("a.gz", "no matrix\n", 1);
  io_fails("a.gz", NULL, "not a count matrix");
  unsigned char bytes[4096];
  uint64_t seed = 5;
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (unsigned char)io_random(&seed);
  io_write_bytes("a.h5ad", bytes, sizeof bytes);
  io_fails("a.h5ad", NULL, "not a count matrix");
}

/* As root everything may be read: then as somebody else for a moment. */
static void without_rights(mode_t directory, void (*body)(void)) {
  const bool root = geteuid() == 0;
  assert_int_equal(chmod(io_directory(), directory), 0);
  if (root)
    assert_int_equal(seteuid(65534), 0);
  body();
  if (root)
    assert_int_equal(seteuid(0), 0);
  assert_int_equal(chmod(io_directory(), 0755), 0);
}

static void expect_unreadable(void) {
  csrn_io_input *input;
  assert_int_equal(csrn_io_open(io_path("a.mtx"), NULL, &input, &io_error), CSRN_IO_FAILED);
}

static void test_no_permission(void **state) {
  (void)state;
  io_write_text("a.mtx", "%%MatrixMarket matrix coordinate integer general\n1 1 0\n");
  assert_int_equal(chmod(io_path("a.mtx"), 0), 0);
  without_rights(0755, expect_unreadable);
  io_says(io_path("a.mtx"), "Permission denied");
}

static void test_libraries(void **state) {
  (void)state;
  const char *text = csrn_io_libraries();
  assert_non_null(strstr(text, "HDF5 1."));
  assert_non_null(strstr(text, "libzip 1."));
  assert_non_null(strstr(text, "zlib 1."));
}

/* ---- Names and places ------------------------------------------------------- */

static csrn_io_status check_as(const csrn_io_input *input, const csrn_io_output *output) {
  memset(&io_error, 0, sizeof io_error);
  csrn_io_status status = csrn_io_output_check(input, output, &io_error);
  assert_true((status == CSRN_IO_OK) == (io_error.text[0] == '\0'));
  return status;
}

static csrn_io_status check(const char *path, int force) {
  const csrn_io_output output = {.path = path, .force = force};
  return check_as(NULL, &output);
}

static void test_names(void **state) {
  (void)state;
  const char *const unknown[] = {"a", "a.csv", "a.h5", "a.gz", ".npz", "a.npz.gz", ""};
  for (size_t i = 0; i < COUNT(unknown); i++) {
    assert_int_equal(check(unknown[i], 0), CSRN_IO_USAGE);
    io_says("name does not say a format", ".h5ad, .mtx, .mtx.gz or .npz");
  }
  for (size_t i = 0; i < COUNT(names); i++)
    assert_int_equal(check(io_path(names[i]), 0), CSRN_IO_OK);
  assert_int_equal(check(io_path("A.NPZ"), 0), CSRN_IO_OK);
  char longer[8192];
  memset(longer, 'x', sizeof longer);
  memcpy(longer + sizeof longer - sizeof ".npz", ".npz", sizeof ".npz");
  assert_int_equal(check(longer, 0), CSRN_IO_USAGE);
  io_says("too long");
  assert_int_equal(io_count_files(), 0);
}

static void test_options(void **state) {
  (void)state;
  csrn_io_output output = {.path = io_path("a.npz"), .key_added = "factors"};
  assert_int_equal(check_as(NULL, &output), CSRN_IO_USAGE);
  io_says("--key-added");
  output = (csrn_io_output){.path = io_path("a.npz"), .layer = "counts"};
  assert_int_equal(check_as(NULL, &output), CSRN_IO_USAGE);
  io_says("layer");
  output.path = io_path("a.h5ad");
  assert_int_equal(check_as(NULL, &output), CSRN_IO_USAGE);
}

static void expect_unwritable(void) {
  csrn_io_matrix matrix;
  assert_int_equal(check(io_path("a.npz"), 0), CSRN_IO_FAILED);
  io_random_matrix(&matrix, 2, 2, CSRN_F32, CSRN_I32, CSRN_I32, 1);
  const csrn_io_output output = {.path = io_path("a.npz")};
  assert_int_equal(io_write_as(NULL, &matrix, &output), CSRN_IO_FAILED);
  csrn_io_matrix_free(&matrix);
}

static void test_places(void **state) {
  (void)state;
  assert_int_equal(check(io_path("no/a.npz"), 0), CSRN_IO_FAILED);
  io_says("cannot write into the directory", "No such file");
  io_write_text("file", "x");
  assert_int_equal(check(io_path("file/a.npz"), 0), CSRN_IO_FAILED);
  io_says("cannot write into the directory", "Not a directory");
  assert_int_equal(mkdir(io_path("d.npz"), 0755), 0);
  assert_int_equal(check(io_path("d.npz"), 1), CSRN_IO_FAILED);
  io_says("not a regular file");
  assert_int_equal(rmdir(io_path("d.npz")), 0);
  io_write_text("a.npz", "before");
  assert_int_equal(check(io_path("a.npz"), 0), CSRN_IO_FAILED);
  io_says("exists already", "--force");
  assert_int_equal(check(io_path("a.npz"), 1), CSRN_IO_OK);
}

static void test_no_rights_in_directory(void **state) {
  (void)state;
  without_rights(0555, expect_unwritable);
  io_says("cannot write into the directory", "Permission denied");
  assert_int_equal(io_count_files(), 0);
}

/* ---- Modes and links -------------------------------------------------------- */

static mode_t mode_of(const char *name) {
  struct stat status;
  assert_int_equal(lstat(io_path(name), &status), 0);
  return status.st_mode;
}

static void write_any(csrn_io_input *input, const char *name) {
  csrn_io_matrix matrix;
  io_random_matrix(&matrix, 3, 3, CSRN_F32, CSRN_I32, CSRN_I32, 1);
  io_write(input, &matrix, name);
  csrn_io_matrix_free(&matrix);
}

static void test_modes(void **state) {
  (void)state;
  const mode_t mask = umask(027);
  for (size_t i = 0; i < COUNT(names); i++) {
    write_any(NULL, names[i]);
    assert_int_equal(mode_of(names[i]) & 07777, 0640);
    assert_int_equal(chmod(io_path(names[i]), 0604), 0);
    write_any(NULL, names[i]);
    assert_int_equal(mode_of(names[i]) & 07777, 0604);
    assert_int_equal(chmod(io_path(names[i]), 0444), 0); /* --force means it */
    write_any(NULL, names[i]);
    assert_int_equal(mode_of(names[i]) & 07777, 0444);
    assert_int_equal(io_count_files(), i + 1);
  }
  umask(mask);
}

static void test_links(void **state) {
  (void)state;
  struct stat status;
  write_any(NULL, "target.npz");
  const ino_t before = (assert_int_equal(stat(io_path("target.npz"), &status), 0), status.st_ino);
  assert_int_equal(symlink("target.npz", io_path("link.npz")), 0);
  assert_int_equal(check(io_path("link.npz"), 0), CSRN_IO_FAILED);
  write_any(NULL, "link.npz");
  assert_true(S_ISLNK(mode_of("link.npz")));
  assert_true(S_ISREG(mode_of("target.npz")));
  assert_int_equal(stat(io_path("target.npz"), &status), 0);
  assert_true(status.st_ino != before);
  assert_int_equal(symlink("nowhere.npz", io_path("dangling.npz")), 0);
  assert_int_equal(check(io_path("dangling.npz"), 1), CSRN_IO_FAILED);
  io_says("symbolic link");
  assert_int_equal(io_count_files(), 3);
}

/* The output may be the input, with force: the input stays readable until the end. */
static void test_onto_itself(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT(names); i++) {
    csrn_io_matrix matrix, back;
    io_random_matrix(&matrix, 30, 20, CSRN_F32, CSRN_I32, CSRN_I32, 1);
    io_write(NULL, &matrix, names[i]);
    csrn_io_matrix_free(&matrix);
    csrn_io_input *input = io_open(names[i], NULL);
    io_read(input, &matrix);
    for (int64_t k = 0; k < matrix.csr.nnz; k++)
      ((float *)matrix.csr.data)[k] = (float)k;
    const csrn_io_output careful = {.path = io_path(names[i])};
    assert_int_equal(io_write_as(input, &matrix, &careful), CSRN_IO_FAILED);
    io_write(input, &matrix, names[i]);
    csrn_io_close(input);
    io_read_file(names[i], NULL, &back);
    io_expect_same(&matrix, &back);
    csrn_io_matrix_free(&matrix);
    csrn_io_matrix_free(&back);
    assert_int_equal(io_count_files(), i + 1);
  }
}

/* ---- Failures on the way ---------------------------------------------------- */

static void expect_old_content(const char *name, bool existed) {
  size_t n;
  if (existed) {
    char *text = io_read_bytes(name, &n);
    assert_string_equal(text, "before");
    free(text);
  }
  assert_int_equal(io_exists(name), existed);
  assert_int_equal(io_count_files(), existed);
}

/* A disk that is full at `limit` bytes of the file. */
static void write_to_full_disk(const char *name, const csrn_io_matrix *matrix, rlim_t limit, bool exists) {
  struct rlimit before, full;
  if (exists)
    io_write_text(name, "before");
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  full = before;
  full.rlim_cur = limit;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
  const csrn_io_output output = {.path = io_path(name), .force = exists};
  csrn_io_status status = io_write_as(NULL, matrix, &output);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_DFL);
  assert_int_equal(status, CSRN_IO_FAILED);
  io_says(io_path(name));
  io_says("cannot be written", "File too large");
  expect_old_content(name, exists);
  unlink(io_path(name));
}

static void test_full_disk(void **state) {
  (void)state;
  static const rlim_t limits[] = {0, 10, 1000, 20000};
  csrn_io_matrix matrix;
  io_random_matrix(&matrix, 20000, 300, CSRN_F64, CSRN_I32, CSRN_I64, 9);
  for (size_t i = 0; i < COUNT(names); i++)
    for (size_t l = 0; l < COUNT(limits); l++)
      for (int exists = 0; exists < 2; exists++)
        write_to_full_disk(names[i], &matrix, limits[l], exists);
  csrn_io_matrix_free(&matrix);
}

static void test_full_disk_for_vector(void **state) {
  (void)state;
  struct rlimit before, full;
  double values[1000] = {0};
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  full = before;
  full.rlim_cur = 500;
  signal(SIGXFSZ, SIG_IGN);
  for (int i = 0; i < 2; i++) {
    const char *path = io_path(i ? "v.npy" : "v.txt");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    csrn_io_status status = csrn_io_write_vector(path, 0, values, CSRN_F64, 1000, &io_error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, CSRN_IO_FAILED);
    io_says(path, "File too large");
    assert_int_equal(io_count_files(), 0);
  }
  signal(SIGXFSZ, SIG_DFL);
}

static int refuse(void *user, const char *step, int64_t done, int64_t total) {
  assert_int_equal(strncmp(step, "writing", 7), 0);
  assert_true(done >= 0 && done <= total);
  ++*(int *)user;
  return 1;
}

static void test_interrupted(void **state) {
  (void)state;
  csrn_io_matrix matrix;
  io_random_matrix(&matrix, 2000, 300, CSRN_F64, CSRN_I32, CSRN_I64, 9);
  for (size_t i = 0; i < COUNT(names); i++) {
    int calls = 0;
    const csrn_io_progress progress = {refuse, &calls};
    const csrn_io_output output = {.path = io_path(names[i])};
    memset(&io_error, 0, sizeof io_error);
    assert_int_equal(csrn_io_write(NULL, &matrix, &output, &progress, &io_error), CSRN_IO_FAILED);
    io_says("interrupted");
    assert_int_equal(calls, 1);
    assert_int_equal(io_count_files(), 0);
  }
  csrn_io_matrix_free(&matrix);
}

/* Somebody else's file of that name, made while this one is written. */
static int make_another(void *user, const char *step, int64_t done, int64_t total) {
  (void)step;
  (void)done;
  (void)total;
  io_write_text(user, "before");
  return 0;
}

static void test_overtaken(void **state) {
  (void)state;
  csrn_io_matrix matrix;
  io_random_matrix(&matrix, 2000, 300, CSRN_F64, CSRN_I32, CSRN_I64, 9);
  for (size_t i = 0; i < COUNT(names); i++) {
    const csrn_io_progress progress = {make_another, (void *)(uintptr_t)names[i]};
    csrn_io_output output = {.path = io_path(names[i])};
    memset(&io_error, 0, sizeof io_error);
    assert_int_equal(csrn_io_write(NULL, &matrix, &output, &progress, &io_error), CSRN_IO_FAILED);
    io_says(io_path(names[i]), "exists already", "--force");
    expect_old_content(names[i], true);
    output.force = 1;
    assert_int_equal(csrn_io_write(NULL, &matrix, &output, &progress, &io_error), CSRN_IO_OK);
    assert_int_equal(io_count_files(), 1);
    unlink(io_path(names[i]));
  }
  csrn_io_matrix_free(&matrix);
}

/* What a signal handler does, in the middle of writing. */
static int abandon(void *user, const char *step, int64_t done, int64_t total) {
  (void)step;
  (void)done;
  (void)total;
  *(int *)user = io_count_files();
  csrn_io_abandon();
  _exit(*(int *)user == 1 ? 42 : 1);
}

static void test_abandoned(void **state) {
  (void)state;
  csrn_io_abandon(); /* nothing to abandon */
  for (size_t i = 0; i < COUNT(names); i++) {
    csrn_io_matrix matrix;
    int status, files = 0;
    const csrn_io_progress progress = {abandon, &files};
    io_random_matrix(&matrix, 2000, 300, CSRN_F64, CSRN_I32, CSRN_I64, 9);
    const csrn_io_output output = {.path = io_path(names[i])};
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
      csrn_io_write(NULL, &matrix, &output, &progress, &io_error);
      _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_int_equal(io_count_files(), 0);
    csrn_io_matrix_free(&matrix);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_no_matrix),
      TEST(test_no_permission),
      TEST(test_libraries),
      TEST(test_names),
      TEST(test_options),
      TEST(test_places),
      TEST(test_no_rights_in_directory),
      TEST(test_modes),
      TEST(test_links),
      TEST(test_onto_itself),
      TEST(test_full_disk),
      TEST(test_full_disk_for_vector),
      TEST(test_overtaken),
      TEST(test_interrupted),
      TEST(test_abandoned),
  };
  return io_run(tests);
}
