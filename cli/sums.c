/* `csrnorm sums`: the sums of cells or genes, as decimals that read back to the same bits. */
#include "choose.h"
#include "commands.h"
#include "json.h"

#include <inttypes.h>
#include <stdlib.h>

const cli_option cli_sums_options[] = {
    {"axis", 'a', "AXIS", "rows (one sum per cell) or columns (per gene)"},
    {"output", 'o', "FILE", "write there (.npy: as an array) instead of to standard output"},
    {"force", 'f', NULL, "replace an existing output"},
    CLI_OPTIONS_SELECT,
    CLI_OPTIONS_COMPUTE,
    CLI_OPTIONS_REPORT,
    CLI_OPTIONS_END,
};

static csrn_dtype sums_type(csrn_dtype data_type) {
  if (data_type == CSRN_F32 || data_type == CSRN_F64)
    return CSRN_F64;
  return data_type == CSRN_I32 || data_type == CSRN_I64 ? CSRN_I64 : CSRN_U64;
}

static void print_sums(FILE *stream, const void *sums, csrn_dtype type, int64_t n) {
  char text[32];
  for (int64_t i = 0; i < n; i++) {
    if (type == CSRN_F64)
      fprintf(stream, "%s\n", cli_format_real(((const double *)sums)[i], text));
    else if (type == CSRN_I64)
      fprintf(stream, "%" PRId64 "\n", ((const int64_t *)sums)[i]);
    else
      fprintf(stream, "%" PRIu64 "\n", ((const uint64_t *)sums)[i]);
  }
}

static void print_json(const cli_session *session, const void *sums, csrn_dtype type, int64_t n) {
  cli_json json = {.stream = stdout};
  cli_json_open(&json, NULL, '{');
  cli_json_string(&json, "input", session->arguments->operand);
  cli_json_string(&json, "axis", cli_value(session->arguments, "axis"));
  cli_json_string(&json, "type", csrn_dtype_name(type));
  cli_session_json(session, &json);
  cli_json_open(&json, "sums", '[');
  for (int64_t i = 0; i < n; i++) {
    if (type == CSRN_F64)
      cli_json_real(&json, NULL, ((const double *)sums)[i]);
    else
      cli_json_integer(&json, NULL, ((const int64_t *)sums)[i]);
  }
  cli_json_close(&json, ']');
  cli_json_close(&json, '}');
}

static csrn_status try_sums(csrn_context *ctx, const csrn_csr *rows, void *out, const void *arg) {
  const csrn_axis *axis = arg;
  return csrn_axis_sum(ctx, rows, *axis, out, sums_type(rows->data_type));
}

/* Where, if that is left to the program. Columns of reals that are no counts would take two passes more,
 * which only the values can tell. */
static int choose(cli_session *session, const csrn_csr *csr, csrn_axis axis) {
  cli_job job = {.value_bytes = (int64_t)csrn_dtype_size(csr->data_type), .passes = 1};
  if (axis == CSRN_PER_COLUMN) {
    job.index_bytes = (int64_t)csrn_dtype_size(csr->indices_type);
    job.index_passes = 1;
  }
  return cli_session_choose(session, csr, &job, try_sums, &axis);
}

static int sum_matrix(cli_session *session, csrn_io_matrix *matrix, int columns) {
  const cli_arguments *a = session->arguments;
  const char *path = cli_value(a, "output");
  int code = cli_session_read(session, matrix);
  if (code)
    return code;
  csrn_axis axis = cli_stored_axis(matrix, columns);
  const int64_t n = axis == CSRN_PER_ROW ? matrix->csr.n_rows : matrix->csr.n_cols;
  const csrn_dtype type = sums_type(matrix->csr.data_type);
  if (axis == CSRN_PER_COLUMN && csrn_io_matrix_indices(matrix, &session->error))
    return cli_session_fail(session, CSRN_IO_FAILED);
  code = choose(session, &matrix->csr, axis);
  if (code)
    return code;
  void *sums = malloc((size_t)n * 8 + 1);
  if (!sums)
    return cli_fail(a, "out of memory");
  if (csrn_axis_sum(session->ctx, &matrix->csr, axis, sums, type)) {
    code = cli_session_core_fail(session);
  } else if (path) {
    csrn_io_status status = csrn_io_write_vector(path, cli_flag(a, "force"), sums, type, n, &session->error);
    code = status ? cli_session_fail(session, status) : CLI_OK;
  } else if (cli_flag(a, "json")) {
    print_json(session, sums, type, n);
  } else {
    print_sums(stdout, sums, type, n);
  }
  free(sums);
  return code;
}

int cli_sums(const cli_arguments *arguments) {
  static const char *const axes[] = {"rows", "columns", NULL};
  cli_session session;
  csrn_io_matrix matrix = {0};
  int columns = -1;
  if (!cli_choice(arguments, "axis", axes, &columns))
    return CLI_USAGE;
  if (columns < 0)
    return cli_usage(arguments, "--axis is missing; expected rows or columns");
  int code = cli_session_begin(&session, arguments);
  if (!code)
    code = cli_session_open(&session);
  if (!code)
    code = sum_matrix(&session, &matrix, columns);
  csrn_io_matrix_free(&matrix);
  cli_session_end(&session);
  return code;
}
