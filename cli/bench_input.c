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

static bool read_file(const char *path, csrn_io_matrix *read, char error[BENCH_DETAIL]) {
  csrn_io_select select = {0};
  csrn_io_error io_error = {""};
  csrn_io_input *input = NULL;
  csrn_context *ctx = NULL;
  if (csrn_context_create(NULL, &ctx)) {
    snprintf(error, BENCH_DETAIL, "%s", csrn_error_detail(NULL));
    return false;
  }
  const bool done = !csrn_io_open(path, &select, &input, &io_error) &&
                    !csrn_io_read(input, ctx, read, NULL, &io_error) &&
                    !csrn_io_matrix_indices(read, &io_error);
  if (!done)
    snprintf(error, BENCH_DETAIL, "%.*s", BENCH_DETAIL - 1, io_error.text);
  if (input)
    csrn_io_close(input);
  csrn_context_destroy(ctx);
  return done;
}

bool bench_matrix_read(const bench_settings *settings, bench_matrix *matrix, char error[BENCH_DETAIL]) {
  *matrix = (bench_matrix){.max_fraction = settings->max_fraction};
  csrn_io_matrix *read = calloc(1, sizeof *read);
  if (read && !read_file(settings->input, read, error)) {
    free_io_matrix(read);
    return false;
  }
  if (read) {
    matrix->csr = read->csr;
    matrix->release = free_io_matrix;
    matrix->user = read;
    matrix->source = strdup(settings->input);
  }
  if (!matrix->source || !bench_matrix_describe(matrix)) {
    snprintf(error, BENCH_DETAIL, "not enough memory to read %s", settings->input);
    return false;
  }
  csrn_io_make_printable(matrix->source);
  return true;
}
