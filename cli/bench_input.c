/*
 * A matrix from a file for `csrnorm bench`: apart from bench_matrix.c, since this alone
 * needs the file formats.
 */
#include "bench.h"
#include "io.h"

#include <stdlib.h>
#include <string.h>

static void free_io_matrix(void *user) {
  csrn_io_matrix_free(user);
  free(user);
}

static bool read_into(const bench_settings *settings, csrn_context *ctx, csrn_io_matrix *matrix,
                      csrn_io_error *error) {
  csrn_io_select select = {0};
  csrn_io_input *input = NULL;
  bool done = !csrn_io_open(settings->input, &select, &input, error) &&
              !csrn_io_read(input, ctx, matrix, NULL, error) && !csrn_io_matrix_indices(matrix, error);
  if (input)
    csrn_io_close(input);
  return done;
}

bool bench_matrix_read(const bench_settings *settings, bench_matrix *matrix, char error[BENCH_DETAIL]) {
  *matrix = (bench_matrix){.max_fraction = settings->max_fraction};
  csrn_io_matrix *read = calloc(1, sizeof *read);
  csrn_context *ctx = NULL;
  csrn_io_error io_error = {""};
  bool done = false;
  snprintf(error, BENCH_DETAIL, "not enough memory to read %s", settings->input);
  if (!read)
    return false;
  if (csrn_context_create(NULL, &ctx)) {
    snprintf(error, BENCH_DETAIL, "%s", csrn_error_detail(NULL));
  } else if (!read_into(settings, ctx, read, &io_error)) {
    snprintf(error, BENCH_DETAIL, "%.*s", BENCH_DETAIL - 1, io_error.text);
  } else {
    matrix->csr = read->csr;
    matrix->source = strdup(settings->input);
    matrix->release = free_io_matrix;
    matrix->user = read;
    read = NULL;
    done = matrix->source && bench_matrix_describe(matrix);
  }
  if (read)
    free_io_matrix(read);
  csrn_context_destroy(ctx);
  return done;
}
