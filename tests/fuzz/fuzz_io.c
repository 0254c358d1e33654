/* See fuzz_io.h. */
#include "fuzz_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Files that claim more are not worth the time. */
enum { MOST_VALUES = 1 << 20 };

const char *fuzz_path(int number, const char *suffix) {
  static char paths[4][64];
  char *path = paths[number % 4];
  snprintf(path, sizeof paths[0], "/dev/shm/csrnorm-fuzz-%d-%d%s", (int)getpid(), number, suffix);
  return path;
}

/* A failure without a sentence is a fault. */
static void expect_sentence(csrn_io_status status, const csrn_io_error *error) {
  if (status && !error->text[0])
    abort();
}

static csrn_context *context(void) {
  static csrn_context *ctx;
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.threads = 2;
  if (!ctx && csrn_context_create(&options, &ctx))
    abort();
  return ctx;
}

static void stream(csrn_io_input *input, unsigned how) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  csrn_io_error error = {""};
  const csrn_io_output output = {.path = fuzz_path(1, ".h5ad"),
                                 .force = 1,
                                 .compression = (csrn_io_compression)(how % 3),
                                 .key_added = how & 4 ? "factor" : NULL};
  options.exclude_highly_expressed = how >> 3 & 1;
  options.log1p = how >> 4 & 1;
  csrn_io_normalization n = {.options = &options, .memory = 64 << 20, .unit = how >> 5 & 1 ? 7 : 0};
  expect_sentence(csrn_io_normalize(input, context(), &output, &n, NULL, &error), &error);
  unlink(output.path);
}

static void read_whole(csrn_io_input *input, unsigned how) {
  csrn_io_error error = {""};
  csrn_io_matrix matrix;
  csrn_io_status status = csrn_io_read(input, context(), &matrix, NULL, &error);
  expect_sentence(status, &error);
  if (status)
    return;
  const csrn_io_output output = {
      .path = fuzz_path(2, how & 1 ? ".mtx.gz" : ".npz"), .force = 1, .threads = 2};
  expect_sentence(csrn_io_write(input, &matrix, &output, NULL, &error), &error);
  unlink(output.path);
  csrn_io_matrix_free(&matrix);
}

void fuzz_use(const char *path, unsigned how) {
  const csrn_io_select select = {.feature_types = how >> 6 & 1 ? "all" : NULL};
  csrn_io_input *input = NULL;
  csrn_io_error error = {""};
  csrn_io_status status = csrn_io_open(path, &select, &input, &error);
  expect_sentence(status, &error);
  if (status)
    return;
  const csrn_io_description *d = csrn_io_describe(input);
  if (d->nnz_file <= MOST_VALUES && d->n_cells <= MOST_VALUES && d->n_genes <= MOST_VALUES &&
      (d->layout != CSRN_IO_DENSE || d->nnz <= MOST_VALUES)) {
    stream(input, how);
    read_whole(input, how);
  }
  csrn_io_close(input);
}
