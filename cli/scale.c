/* `csrnorm scale`: rows or columns multiplied or divided by numbers from a file. */
#include "choose.h"
#include "commands.h"
#include "json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_scale_options[] = {
    {"output", 'o', "FILE", "where the result goes: .h5ad, .mtx, .mtx.gz or .npz"},
    {"axis", 'a', "AXIS", "rows (one number per cell) or columns (per gene)"},
    {"by", 'b', "FILE", "the numbers: one a line, or a .npy"},
    {"op", 0, "OP", "multiply or divide"},
    {"zero", 0, "HOW", "a divisor of zero: ieee (default) or one"},
    CLI_OPTIONS_SELECT,
    CLI_OPTIONS_COMPUTE,
    CLI_OPTION_MEMORY,
    {"compression", 0, "HOW", "of the result: keep (default), none or gzip[:LEVEL]"},
    {"force", 'f', NULL, "replace an existing output"},
    CLI_OPTIONS_REPORT,
    CLI_OPTIONS_END,
};

typedef struct job {
  cli_session session;
  csrn_io_matrix matrix;
  csrn_io_output output;
  int columns, op, zero;
  double *factors;
  int64_t n_factors;
  csrn_io_scaling scaling; /* of the file in pieces */
} job;

static int parse(job *j) {
  static const char *const axes[] = {"rows", "columns", NULL};
  static const char *const ops[] = {"multiply", "divide", NULL};
  static const char *const zeros[] = {"ieee", "one", NULL};
  const cli_arguments *a = j->session.arguments;
  j->columns = j->op = -1;
  j->output.path = cli_value(a, "output");
  j->output.force = cli_flag(a, "force");
  j->output.layer = cli_value(a, "layer");
  if (!cli_choice(a, "axis", axes, &j->columns) || !cli_choice(a, "op", ops, &j->op) ||
      !cli_choice(a, "zero", zeros, &j->zero) || !cli_compression(a, &j->output) ||
      !cli_bytes(a, "memory", &j->scaling.memory))
    return CLI_USAGE;
  if (j->columns < 0 || j->op < 0 || !cli_value(a, "by") || !j->output.path)
    return cli_usage(a, "--output, --axis, --by and --op are all needed");
  return CLI_OK;
}

static csrn_dtype output_type(const csrn_csr *csr) {
  return csr->data_type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
}

static csrn_status scale(csrn_context *ctx, const csrn_csr *csr, void *out, const void *arg) {
  const job *j = arg;
  return csrn_axis_scale(ctx, csr, cli_stored_axis(&j->matrix, j->columns), (csrn_scale_op)j->op, j->factors,
                         CSRN_F64, (csrn_zero_policy)j->zero, out, output_type(csr));
}

/* Where, if that is left to the program. */
static int choose(job *j, csrn_axis axis) {
  const csrn_csr *csr = &j->matrix.csr;
  cli_job its = {.value_bytes = (int64_t)csrn_dtype_size(csr->data_type),
                 .out_bytes = (int64_t)csrn_dtype_size(output_type(csr)),
                 .passes = 1};
  if (axis == CSRN_PER_COLUMN) {
    its.index_bytes = (int64_t)csrn_dtype_size(csr->indices_type);
    its.index_passes = 1;
  }
  return cli_session_choose(&j->session, csr, &its, scale, j);
}

/* Reals keep their type; integers become float32, as everywhere. The factors are float64,
 * so each value is rounded once. */
static int compute(job *j) {
  csrn_csr *csr = &j->matrix.csr;
  const csrn_axis axis = cli_stored_axis(&j->matrix, j->columns);
  const csrn_dtype out_type = output_type(csr);
  if (axis == CSRN_PER_COLUMN && csrn_io_matrix_indices(&j->matrix, &j->session.error))
    return cli_session_fail(&j->session, CSRN_IO_FAILED);
  const int code = choose(j, axis);
  if (code)
    return code;
  const bool in_place = csrn_dtype_size(csr->data_type) == csrn_dtype_size(out_type);
  void *out = in_place ? csr->data : malloc((size_t)csr->nnz * csrn_dtype_size(out_type) + 1);
  if (!out)
    return cli_fail(j->session.arguments, "out of memory");
  if (scale(j->session.ctx, csr, out, j)) {
    if (!in_place)
      free(out);
    return cli_session_core_fail(&j->session);
  }
  if (!in_place)
    free(csr->data);
  csr->data = out;
  csr->data_type = out_type;
  return CLI_OK;
}

static void print_report(const job *j) {
  const cli_session *s = &j->session;
  if (cli_flag(s->arguments, "json")) {
    cli_json json = {.stream = stdout};
    cli_json_open(&json, NULL, '{');
    cli_json_string(&json, "input", s->arguments->operand);
    cli_json_string(&json, "output", j->output.path);
    cli_json_integer(&json, "nnz",
                     j->scaling.plan.streams ? csrn_io_describe(s->input)->nnz : j->matrix.csr.nnz);
    cli_session_json(s, &json);
    cli_json_close(&json, '}');
  } else if (!cli_flag(s->arguments, "quiet")) {
    cli_print_shape(stdout, s->arguments->operand, csrn_io_describe(s->input));
    printf("%s: %s by %" PRId64 " numbers\n", j->output.path, j->op ? "divided" : "multiplied", j->n_factors);
  }
}

static int check_factors(const job *j) {
  const csrn_io_description *d = csrn_io_describe(j->session.input);
  const int64_t n = j->columns ? d->n_genes : d->n_cells;
  if (n == j->n_factors)
    return CLI_OK;
  return cli_fail(j->session.arguments, "%s: holds %" PRId64 " numbers; expected %" PRId64 ", one per %s",
                  cli_value(j->session.arguments, "by"), j->n_factors, n, j->columns ? "gene" : "cell");
}

static int scale_in_pieces(job *j) {
  cli_session *s = &j->session;
  csrn_io_scaling *scaling = &j->scaling;
  scaling->axis = j->columns ? CSRN_PER_COLUMN : CSRN_PER_ROW;
  scaling->op = (csrn_scale_op)j->op;
  scaling->zeros = (csrn_zero_policy)j->zero;
  scaling->factors = j->factors;
  scaling->device = cli_session_device(s);
  s->plan = &scaling->plan;
  csrn_io_status status = csrn_io_scale(s->input, s->reader, &j->output, scaling, &s->progress, &s->error);
  cli_session_end_progress(s);
  return status ? cli_session_fail(s, status) : CLI_OK;
}

static int scale_whole(job *j) {
  cli_session *s = &j->session;
  const csrn_dtype type = csrn_io_describe(s->input)->data_type;
  int code = cli_session_affords(s, j->scaling.memory,
                                 &(csrn_io_whole){.output = &j->output,
                                                  .out_type = type == CSRN_F64 ? CSRN_F64 : CSRN_F32,
                                                  .trial_values = s->is_auto ? CLI_TRIAL_VALUES : 0,
                                                  .threads = csrn_context_threads(s->ctx)});
  if (!code)
    code = cli_session_read(s, &j->matrix);
  if (!code)
    code = compute(j);
  if (code)
    return code;
  j->output.threads = csrn_context_threads(s->ctx);
  csrn_io_status status = csrn_io_write(s->input, &j->matrix, &j->output, &s->progress, &s->error);
  cli_session_end_progress(s);
  return status ? cli_session_fail(s, status) : CLI_OK;
}

static int run_job(job *j) {
  cli_session *s = &j->session;
  s->select.memory = j->scaling.memory;
  int code = cli_session_open(s);
  if (code)
    return code;
  csrn_io_status status = csrn_io_output_check(s->input, &j->output, &s->error);
  if (!status)
    status = csrn_io_read_vector(cli_value(s->arguments, "by"), &j->factors, &j->n_factors, &s->error);
  if (status)
    return cli_session_fail(s, status);
  code = check_factors(j);
  if (!code)
    code = scale_in_pieces(j);
  if (!code && !j->scaling.plan.streams)
    code = scale_whole(j);
  else if (!code)
    cli_session_chose_pieces(s);
  if (!code)
    print_report(j);
  return code;
}

int cli_scale(const cli_arguments *arguments) {
  job j;
  memset(&j, 0, sizeof j);
  j.session.arguments = arguments;
  int code = parse(&j);
  if (code)
    return code;
  code = cli_session_begin(&j.session, arguments);
  if (!code)
    code = run_job(&j);
  csrn_io_matrix_free(&j.matrix);
  free(j.factors);
  cli_session_end(&j.session);
  return code;
}
