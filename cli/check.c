/*
 * `csrnorm check`: the whole structure, which reading checks, and what there is to know
 * about the values before normalizing them.
 */
#include "commands.h"
#include "json.h"
#include "session.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

const cli_option cli_check_options[] = {
    CLI_OPTIONS_SELECT,
    CLI_OPTIONS_COMPUTE,
    CLI_OPTIONS_REPORT,
    CLI_OPTIONS_END,
};

typedef struct findings {
  int64_t n_zeros, n_negative, n_nan, n_infinite, n_fractions; /* values */
  int64_t n_unsorted, n_duplicates, n_empty;                   /* stored rows */
} findings;

static void check_values(const csrn_csr *csr, int64_t begin, int64_t end, findings *f) {
  for (int64_t i = begin; i < end; i++) {
    double value = cli_value_at(csr, i);
    f->n_zeros += value == 0.0;
    f->n_negative += value < 0.0;
    f->n_nan += isnan(value);
    f->n_infinite += isinf(value);
    f->n_fractions += isfinite(value) && value != rint(value);
  }
}

/* `seen` [n_cols]: the last row, counted from 1, in which a column was met. */
static void check_row(const csrn_csr *csr, int64_t row, int64_t *seen, findings *f) {
  const int64_t begin = cli_index_at(csr->indptr, csr->indptr_type, row);
  const int64_t end = cli_index_at(csr->indptr, csr->indptr_type, row + 1);
  bool unsorted = false, duplicate = false;
  check_values(csr, begin, end, f);
  f->n_empty += begin == end;
  int64_t last = -1;
  for (int64_t i = begin; csr->indices && i < end; i++) {
    int64_t column = cli_index_at(csr->indices, csr->indices_type, i);
    unsorted |= column < last;
    duplicate |= seen[column] == row + 1;
    seen[column] = row + 1;
    last = column;
  }
  f->n_unsorted += unsorted;
  f->n_duplicates += duplicate;
}

typedef struct finding {
  const char *name, *text;
  int64_t count;
} finding;

static void print_findings(const cli_session *session, const csrn_io_matrix *matrix, const findings *f) {
  const bool rows = matrix->cells == CSRN_PER_ROW;
  const finding list[] = {
      {"n_explicit_zeros", "explicit zeros", f->n_zeros},
      {"n_negative", "negative values", f->n_negative},
      {"n_nan", "NaN", f->n_nan},
      {"n_infinite", "infinite values", f->n_infinite},
      {"n_fractions", "values that are no integers", f->n_fractions},
      {"n_empty", rows ? "cells without values" : "genes without values", f->n_empty},
      {"n_unsorted", rows ? "cells with unsorted indices" : "genes with unsorted indices", f->n_unsorted},
      {"n_duplicates", rows ? "cells with duplicate indices" : "genes with duplicate indices",
       f->n_duplicates},
  };
  const int n = sizeof list / sizeof list[0];
  if (cli_flag(session->arguments, "json")) {
    cli_json json = {.stream = stdout};
    cli_json_open(&json, NULL, '{');
    cli_json_string(&json, "input", session->arguments->operand);
    cli_json_bool(&json, "valid", true);
    cli_json_string(&json, "rows_are", rows ? "cells" : "genes");
    for (int i = 0; i < n; i++)
      cli_json_integer(&json, list[i].name, list[i].count);
    cli_session_json(session, &json);
    cli_json_close(&json, '}');
  } else if (!cli_flag(session->arguments, "quiet")) {
    cli_print_shape(stdout, session->arguments->operand, csrn_io_describe(session->input));
    printf("the structure is valid\n");
    for (int i = 0; i < n; i++)
      printf("%12" PRId64 "  %s\n", list[i].count, list[i].text);
  }
}

/* Reading has checked it on the CPU; on a device that was asked for, once more: there, since of a matrix in
 * host memory it would be the CPU that looks. */
static int check_on_device(const cli_session *session, const csrn_csr *csr) {
  if (session->reader == session->ctx || !csr->indices)
    return CLI_OK;
  const size_t bytes[2] = {(size_t)(csr->n_rows + 1) * csrn_dtype_size(csr->indptr_type),
                           (size_t)csr->nnz * csrn_dtype_size(csr->indices_type)};
  const void *const arrays[2] = {csr->indptr, csr->indices};
  void *placed[2] = {NULL, NULL};
  csrn_status status = CSRN_OK;
  for (int k = 0; k < 2 && !status; k++) {
    status = csrn_buffer_allocate(session->ctx, bytes[k], &placed[k]);
    if (!status)
      status = csrn_buffer_copy(session->ctx, placed[k], arrays[k], bytes[k]);
  }
  csrn_csr A = *csr;
  A.indptr = placed[0];
  A.indices = placed[1];
  A.data = NULL;
  if (!status)
    status = csrn_csr_check(session->ctx, &A);
  for (int k = 0; k < 2; k++)
    csrn_buffer_release(session->ctx, placed[k], bytes[k]);
  return status ? cli_session_core_fail(session) : CLI_OK;
}

int cli_check(const cli_arguments *arguments) {
  cli_session session;
  csrn_io_matrix matrix = {0};
  findings f = {0};
  int64_t *seen = NULL;
  int code = cli_session_begin(&session, arguments);
  if (!code)
    code = cli_session_open(&session);
  if (!code)
    code = cli_session_read(&session, &matrix);
  if (!code)
    code = check_on_device(&session, &matrix.csr);
  if (!code) {
    seen = calloc((size_t)matrix.csr.n_cols + 1, sizeof *seen);
    code = seen ? CLI_OK : cli_fail(arguments, "out of memory");
  }
  for (int64_t row = 0; seen && row < matrix.csr.n_rows; row++)
    check_row(&matrix.csr, row, seen, &f);
  if (!code)
    print_findings(&session, &matrix, &f);
  free(seen);
  csrn_io_matrix_free(&matrix);
  cli_session_end(&session);
  return code;
}
