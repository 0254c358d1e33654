/* `csrnorm sums`: the sums of cells or genes, as decimals that read back to the same bits. */
#include "choose.h"
#include "commands.h"
#include "json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_sums_options[] = {
    {"axis", 'a', "AXIS", "rows (one sum per cell) or columns (per gene)"},
    {"output", 'o', "FILE", "write there (.npy: as an array) instead of to standard output"},
    {"force", 'f', NULL, "replace an existing output"},
    CLI_OPTIONS_SELECT,
    CLI_OPTIONS_COMPUTE,
    CLI_OPTION_MEMORY,
    CLI_OPTIONS_REPORT,
    CLI_OPTIONS_END,
};

typedef struct job {
  cli_session session;
  csrn_io_matrix matrix;
  csrn_io_summing summing; /* of the file in pieces */
  csrn_dtype type;
  void *sums;
  int64_t n;
} job;

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

static int allocate(job *j, int64_t n, csrn_dtype data_type) {
  j->n = n;
  j->type = sums_type(data_type);
  free(j->sums);
  j->sums = malloc((size_t)n * 8 + 1);
  return j->sums ? CLI_OK : cli_fail(j->session.arguments, "out of memory");
}

static int sum_in_pieces(job *j) {
  cli_session *s = &j->session;
  const csrn_io_description *d = csrn_io_describe(s->input);
  int code = allocate(j, j->summing.axis == CSRN_PER_ROW ? d->n_cells : d->n_genes, d->data_type);
  if (code)
    return code;
  j->summing.sums = j->sums;
  j->summing.sums_type = j->type;
  j->summing.device = cli_session_device(s);
  s->plan = &j->summing.plan;
  csrn_io_status status = csrn_io_sums(s->input, s->reader, &j->summing, &s->progress, &s->error);
  cli_session_end_progress(s);
  return status ? cli_session_fail(s, status) : CLI_OK;
}

static csrn_status try_sums(csrn_context *ctx, const csrn_csr *rows, void *out, const void *arg) {
  const csrn_axis *axis = arg;
  return csrn_axis_sum(ctx, rows, *axis, out, sums_type(rows->data_type));
}

/* Where, if that is left to the program. Columns of reals that are no counts would take two passes more,
 * which only the values can tell. */
static int choose(job *j, csrn_axis axis) {
  const csrn_csr *csr = &j->matrix.csr;
  cli_job its = {.value_bytes = (int64_t)csrn_dtype_size(csr->data_type), .passes = 1};
  if (axis == CSRN_PER_COLUMN) {
    its.index_bytes = (int64_t)csrn_dtype_size(csr->indices_type);
    its.index_passes = 1;
  }
  return cli_session_choose(&j->session, csr, &its, try_sums, &axis);
}

static int sum_whole(job *j) {
  cli_session *s = &j->session;
  csrn_io_matrix *matrix = &j->matrix;
  int code = cli_session_affords(s, j->summing.memory,
                                 &(csrn_io_whole){.sums_cells = j->summing.axis == CSRN_PER_ROW,
                                                  .sums_genes = j->summing.axis == CSRN_PER_COLUMN,
                                                  .threads = csrn_context_threads(s->ctx)});
  if (!code)
    code = cli_session_read(s, matrix);
  if (code)
    return code;
  const csrn_axis axis = cli_stored_axis(matrix, j->summing.axis == CSRN_PER_COLUMN);
  code = allocate(j, axis == CSRN_PER_ROW ? matrix->csr.n_rows : matrix->csr.n_cols, matrix->csr.data_type);
  if (code)
    return code;
  if (axis == CSRN_PER_COLUMN && csrn_io_matrix_indices(matrix, &s->error))
    return cli_session_fail(s, CSRN_IO_FAILED);
  code = choose(j, axis);
  if (code)
    return code;
  return csrn_axis_sum(s->ctx, &matrix->csr, axis, j->sums, j->type) ? cli_session_core_fail(s) : CLI_OK;
}

static void json_sums(const job *j, cli_json *json) {
  cli_json_open(json, "sums", '[');
  for (int64_t i = 0; i < j->n; i++) {
    if (j->type == CSRN_F64)
      cli_json_real(json, NULL, ((const double *)j->sums)[i]);
    else
      cli_json_integer(json, NULL, ((const int64_t *)j->sums)[i]);
  }
  cli_json_close(json, ']');
}

/* With the sums, unless they are in the file `path`. */
static void print_json(const job *j, const char *path) {
  const cli_arguments *a = j->session.arguments;
  cli_json json = {.stream = stdout};
  cli_json_open(&json, NULL, '{');
  cli_json_string(&json, "input", a->operand);
  if (path)
    cli_json_string(&json, "output", path);
  cli_json_string(&json, "axis", cli_value(a, "axis"));
  cli_json_string(&json, "type", csrn_dtype_name(j->type));
  cli_session_json(&j->session, &json);
  if (!path)
    json_sums(j, &json);
  cli_json_close(&json, '}');
}

static int give(job *j) {
  const cli_arguments *a = j->session.arguments;
  const char *path = cli_value(a, "output");
  if (path) {
    csrn_io_status status =
        csrn_io_write_vector(path, cli_flag(a, "force"), j->sums, j->type, j->n, &j->session.error);
    if (status)
      return cli_session_fail(&j->session, status);
  }
  if (cli_flag(a, "json"))
    print_json(j, path);
  else if (!path)
    print_sums(stdout, j->sums, j->type, j->n);
  return CLI_OK;
}

/* The sums themselves do not say that another device than the one asked for has taken them. */
static void tell_of_pieces(job *j) {
  cli_session *s = &j->session;
  cli_session_chose_pieces(s);
  if (cli_session_device(s) && !j->summing.plan.on_device && !cli_flag(s->arguments, "quiet"))
    fprintf(stderr,
            "csrnorm sums: %s: summed by the CPU: in pieces a device sums the columns of counts alone\n",
            s->arguments->operand);
}

static int run_job(job *j) {
  const cli_arguments *a = j->session.arguments;
  const char *path = cli_value(a, "output");
  j->session.select.memory = j->summing.memory;
  int code = cli_session_open(&j->session);
  if (code)
    return code;
  csrn_io_status status =
      path ? csrn_io_vector_check(path, cli_flag(a, "force"), &j->session.error) : CSRN_IO_OK;
  if (status)
    return cli_session_fail(&j->session, status);
  code = sum_in_pieces(j);
  if (!code && !j->summing.plan.streams)
    code = sum_whole(j);
  else if (!code)
    tell_of_pieces(j);
  return code ? code : give(j);
}

int cli_sums(const cli_arguments *arguments) {
  static const char *const axes[] = {"rows", "columns", NULL};
  int columns = -1;
  job j;
  memset(&j, 0, sizeof j);
  if (!cli_choice(arguments, "axis", axes, &columns) || !cli_bytes(arguments, "memory", &j.summing.memory))
    return CLI_USAGE;
  if (columns < 0)
    return cli_usage(arguments, "--axis is missing; expected rows or columns");
  j.summing.axis = columns ? CSRN_PER_COLUMN : CSRN_PER_ROW;
  int code = cli_session_begin(&j.session, arguments);
  if (!code)
    code = run_job(&j);
  csrn_io_matrix_free(&j.matrix);
  free(j.sums);
  cli_session_end(&j.session);
  return code;
}
