/* See fuzz_io.h. */
#include "fuzz_io.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  MOST_VALUES = 1 << 20, /* files that claim more are not worth the time */
  SMALL = 256            /* values at once: memory that is not taken need not be watched */
};

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
  options.threads = 1; /* and another that waits for the disk */
  if (!ctx && csrn_context_create(&options, &ctx))
    abort();
  return ctx;
}

static void normalize(csrn_io_input *input, const csrn_io_output *output, unsigned how) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  csrn_io_error error = {""};
  options.exclude_highly_expressed = (how >> 3 & 1) != 0;
  options.log1p = (how >> 4 & 1) != 0;
  csrn_io_normalization n = {.options = &options, .memory = 64 << 20, .unit = how >> 5 & 1 ? 7 : SMALL};
  expect_sentence(csrn_io_normalize(input, context(), output, &n, NULL, &error), &error);
}

/* Sums by one axis, and scaling by them. */
static void sum_and_scale(csrn_io_input *input, const csrn_io_output *output, unsigned how) {
  const csrn_io_description *d = csrn_io_describe(input);
  const csrn_axis axis = how >> 3 & 1 ? CSRN_PER_COLUMN : CSRN_PER_ROW;
  csrn_io_error error = {""};
  double *sums = calloc((size_t)(axis == CSRN_PER_ROW ? d->n_cells : d->n_genes) + 1, sizeof *sums);
  if (!sums)
    return;
  csrn_io_summing summing = {.axis = axis,
                             .sums_type = CSRN_F64,
                             .sums = sums,
                             .memory = 64 << 20,
                             .unit = how >> 5 & 1 ? 7 : SMALL};
  csrn_io_scaling scaling = {.axis = axis,
                             .op = how >> 4 & 1 ? CSRN_DIVIDE : CSRN_MULTIPLY,
                             .factors = sums,
                             .memory = 64 << 20,
                             .unit = SMALL};
  csrn_io_status status = csrn_io_sums(input, context(), &summing, NULL, &error);
  expect_sentence(status, &error);
  if (!status)
    expect_sentence(csrn_io_scale(input, context(), output, &scaling, NULL, &error), &error);
  free(sums);
}

static void in_pieces(csrn_io_input *input, unsigned how) {
  const bool normalizes = how & 1 << 10;
  const csrn_io_output output = {.path = fuzz_path(1, ".h5ad"),
                                 .force = 1,
                                 .compression = (csrn_io_compression)(how % 3),
                                 .key_added = normalizes && how & 4 ? "factor" : NULL,
                                 .log1p = normalizes && how & 1 << 4};
  (normalizes ? normalize : sum_and_scale)(input, &output, how);
  unlink(output.path);
}

static void as_a_whole(csrn_io_input *input, unsigned how) {
  static const char *const suffixes[] = {".npz", ".mtx.gz", ".h5ad", ".mtx"};
  csrn_io_error error = {""};
  csrn_io_matrix matrix;
  csrn_io_status status = csrn_io_read(input, context(), &matrix, NULL, &error);
  expect_sentence(status, &error);
  if (status)
    return;
  const csrn_io_output output = {.path = fuzz_path(2, suffixes[how >> 11 & 3]), .force = 1, .threads = 2};
  expect_sentence(csrn_io_write(input, &matrix, &output, NULL, &error), &error);
  unlink(output.path);
  csrn_io_matrix_free(&matrix);
}

void fuzz_use(const char *path, unsigned how) {
  static const char *const layers[] = {NULL, NULL, "raw", "a"};
  const csrn_io_select select = {.layer = layers[how >> 7 & 3],
                                 .feature_types = how >> 6 & 1 ? "all" : NULL,
                                 .genome = how >> 13 & 1 ? "mm10" : NULL,
                                 .cells = (csrn_io_cells)((how >> 14) % 3)};
  csrn_io_input *input = NULL;
  csrn_io_error error = {""};
  csrn_io_status status = csrn_io_open(path, &select, &input, &error);
  expect_sentence(status, &error);
  if (status)
    return;
  const csrn_io_description *d = csrn_io_describe(input);
  if (d->nnz_file <= MOST_VALUES && d->n_cells <= MOST_VALUES && d->n_genes <= MOST_VALUES &&
      (d->layout != CSRN_IO_DENSE || d->nnz <= MOST_VALUES)) {
    in_pieces(input, how);
    as_a_whole(input, how);
  }
  csrn_io_close(input);
}
