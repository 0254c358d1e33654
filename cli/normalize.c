/*
 * `csrnorm normalize`: the main job. Reads a matrix, normalizes it in place where the
 * types allow, and writes a copy of the file in which only the values have changed.
 */
#include "choose.h"
#include "commands.h"
#include "json.h"
#include "session.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_normalize_options[] = {
    {"output", 'o', "FILE", "where the result goes: .h5ad, .mtx, .mtx.gz or .npz"},
    {"target-sum", 't', "TARGET", "total of every cell: median (default), mean or a number"},
    {"log1p", 0, NULL, "take log(1 + x) of the normalized values"},
    {"log-base", 0, "B", "base of the logarithm (default: e); implies --log1p"},
    {"exclude-highly-expressed", 0, NULL, "leave highly expressed genes out of the totals"},
    {"max-fraction", 0, "F", "share of a cell's total from which a gene counts as that (default: 0.05)"},
    CLI_OPTIONS_SELECT,
    {"key-added", 0, "NAME", "write the factors to obs/NAME of the .h5ad"},
    CLI_OPTIONS_COMPUTE,
    CLI_OPTION_MEMORY,
    {"compression", 0, "HOW", "of the result: keep (default), none or gzip[:LEVEL]"},
    {"force", 'f', NULL, "replace an existing output"},
    {"dry-run", 'n', NULL, "say what would be done, and do nothing"},
    CLI_OPTIONS_REPORT,
    CLI_OPTIONS_END,
};

typedef struct job {
  cli_session session;
  csrn_io_matrix matrix;
  csrn_io_output output;
  csrn_normalize_options options;
  csrn_normalize_report report;
  csrn_dtype out_type;
  int64_t memory; /* bytes allowed; 0: not said */
  void *factors;
  csrn_io_normalization pieces; /* where the plan is to do it so */
  double seconds[3];            /* reading, computing, writing */
} job;

/* ---- Options --------------------------------------------------------------- */

static bool parse_target(job *j) {
  const char *text = cli_value(j->session.arguments, "target-sum");
  double number = 1;
  if (!text || strcmp(text, "median") == 0)
    return true;
  if (strcmp(text, "mean") == 0) {
    j->options.target = CSRN_TARGET_MEAN;
    return true;
  }
  char *end;
  number = strtod(text, &end);
  if (end == text || *end || !(number > 0) || !isfinite(number)) {
    cli_usage(j->session.arguments,
              "--target-sum is \"%s\"; expected median, mean or a positive finite number", text);
    return false;
  }
  j->options.target = CSRN_TARGET_FIXED;
  j->options.target_sum = number;
  return true;
}

static bool parse_method(job *j) {
  const cli_arguments *a = j->session.arguments;
  j->options.exclude_highly_expressed = cli_flag(a, "exclude-highly-expressed");
  j->options.log1p = cli_flag(a, "log1p") || cli_flag(a, "log-base");
  if (!parse_target(j) || !cli_real(a, "max-fraction", &j->options.max_fraction) ||
      !cli_real(a, "log-base", &j->options.log_base) || !cli_bytes(a, "memory", &j->memory))
    return false;
  if (!(j->options.max_fraction >= 0 && j->options.max_fraction <= 1)) {
    cli_usage(a, "--max-fraction is %s; expected a fraction from 0 to 1", cli_value(a, "max-fraction"));
    return false;
  }
  double base = j->options.log_base;
  if (cli_flag(a, "log-base") && !(base > 0 && isfinite(base) && base != 1)) {
    cli_usage(a, "--log-base is %s; expected a positive finite number other than 1",
              cli_value(a, "log-base"));
    return false;
  }
  return true;
}

static bool parse_output(job *j) {
  const cli_arguments *a = j->session.arguments;
  j->output.path = cli_value(a, "output");
  j->output.force = cli_flag(a, "force");
  j->output.layer = cli_value(a, "layer");
  j->output.key_added = cli_value(a, "key-added");
  j->output.log1p = j->options.log1p;
  j->output.log_base = j->options.log_base;
  if (!j->output.path && !cli_flag(a, "dry-run")) {
    cli_usage(a, "--output is missing");
    return false;
  }
  return cli_compression(a, &j->output);
}

/* ---- Steps ----------------------------------------------------------------- */

/* Reals keep their type, integers become float32. */
static csrn_dtype output_type(csrn_dtype type) {
  return type == CSRN_F64 ? CSRN_F64 : CSRN_F32;
}

/* Over the values: in memory, or in the file where they are not kept from the first. */
static int n_passes(const job *j) {
  const csrn_normalize_options *options = &j->options;
  return j->pieces.plan.streams
             ? j->pieces.plan.passes
             : 1 + (options->target != CSRN_TARGET_FIXED) + options->exclude_highly_expressed;
}

static csrn_io_whole whole_of(const job *j) {
  return (csrn_io_whole){.output = &j->output,
                         .out_type = j->out_type,
                         .sums_cells = 1,
                         .trial_values = j->session.is_auto ? CLI_TRIAL_VALUES : 0,
                         .threads = csrn_context_threads(j->session.ctx)};
}

static int64_t memory_of(const job *j) {
  const csrn_io_whole whole = whole_of(j);
  return j->pieces.plan.streams ? j->pieces.plan.memory : csrn_io_matrix_bytes(j->session.input, &whole);
}

static void print_plan_json(const job *j) {
  const csrn_io_description *d = csrn_io_describe(j->session.input);
  cli_json json = {.stream = stdout};
  cli_json_open(&json, NULL, '{');
  cli_json_bool(&json, "dry_run", true);
  cli_json_string(&json, "input", j->session.arguments->operand);
  cli_json_string(&json, "output", j->output.path);
  cli_json_string(&json, "format", d->format_name);
  cli_json_string(&json, "matrix", d->matrix_name);
  cli_json_integer(&json, "n_cells", d->n_cells);
  cli_json_integer(&json, "n_genes", d->n_genes);
  cli_json_integer(&json, "nnz", d->nnz);
  cli_json_string(&json, "data_type", csrn_dtype_name(d->data_type));
  cli_json_string(&json, "output_type", csrn_dtype_name(j->out_type));
  cli_json_integer(&json, "passes", n_passes(j));
  cli_json_bool(&json, "in_pieces", j->pieces.plan.streams);
  cli_json_integer(&json, "memory_bytes", memory_of(j));
  if (j->pieces.plan.streams) {
    cli_json_integer(&json, "memory_limit_bytes", j->pieces.plan.memory_limit);
    cli_json_integer(&json, "read_bytes", j->pieces.plan.read_bytes);
    cli_json_integer(&json, "write_bytes", d->nnz * (int64_t)csrn_dtype_size(j->out_type));
    cli_json_integer(&json, "values_at_once", j->pieces.plan.unit);
    cli_json_integer(&json, "workers", j->pieces.plan.n_workers);
  }
  cli_session_json(&j->session, &json);
  cli_json_close(&json, '}');
}

static int print_plan(const job *j) {
  char where[CLI_WHERE];
  const csrn_io_description *d = csrn_io_describe(j->session.input);
  int64_t value = (int64_t)csrn_dtype_size(d->data_type), out = (int64_t)csrn_dtype_size(j->out_type);
  if (cli_flag(j->session.arguments, "json")) {
    print_plan_json(j);
    return CLI_OK;
  }
  cli_print_shape(stdout, j->session.arguments->operand, d);
  printf("matrix: %s, filters %s\n", d->matrix_name, d->filters);
  printf("passes over the values: %d\n", n_passes(j));
  printf("values to read: %" PRId64 " bytes; to write: %" PRId64 " bytes (%s)\n", d->nnz_file * value,
         d->nnz * out, csrn_dtype_name(j->out_type));
  if (j->pieces.plan.streams) {
    const csrn_io_plan *plan = &j->pieces.plan;
    printf("in pieces of %" PRId64 " values, %d at once; %" PRId64 " bytes of the file in each pass\n",
           plan->unit, plan->n_workers, plan->read_bytes);
    printf("memory: %" PRId64 " bytes, and up to %" PRId64 " to keep values between passes\n", plan->memory,
           plan->memory_limit > plan->memory ? plan->memory_limit - plan->memory : 0);
  } else {
    printf("memory: %" PRId64 " bytes\n", memory_of(j));
  }
  printf("device: %s\n", cli_session_where(&j->session, where));
  return CLI_OK;
}

static csrn_status try_normalization(csrn_context *ctx, const csrn_csr *rows, void *out, const void *arg) {
  const job *j = arg;
  return csrn_normalize_total(ctx, rows, &j->options, out, j->out_type, NULL, NULL);
}

/* Where, if that is left to the program. */
static int choose(job *j) {
  const csrn_csr *csr = &j->matrix.csr;
  const bool by_rows = j->options.axis == CSRN_PER_ROW, excludes = j->options.exclude_highly_expressed;
  cli_job its = {.value_bytes = (int64_t)csrn_dtype_size(csr->data_type),
                 .out_bytes = (int64_t)csrn_dtype_size(j->out_type),
                 .passes = n_passes(j)};
  if (!by_rows || excludes)
    its.index_bytes = (int64_t)csrn_dtype_size(csr->indices_type);
  its.index_passes = by_rows ? 2 * excludes : its.passes;
  return cli_session_choose(&j->session, csr, &its, try_normalization, j);
}

/* The new values take the place of the old where these are of the same size. */
static int compute(job *j) {
  csrn_csr *csr = &j->matrix.csr;
  int code = choose(j);
  if (code)
    return code;
  const int64_t n_cells = j->matrix.cells == CSRN_PER_ROW ? csr->n_rows : csr->n_cols;
  bool in_place = csrn_dtype_size(csr->data_type) == csrn_dtype_size(j->out_type);
  void *out = in_place ? csr->data : malloc((size_t)csr->nnz * csrn_dtype_size(j->out_type) + 1);
  j->factors = malloc((size_t)n_cells * csrn_dtype_size(j->out_type) + 1);
  if (!out || !j->factors)
    code = cli_fail(j->session.arguments, "%s: out of memory", j->session.arguments->operand);
  else if (csrn_normalize_total(j->session.ctx, csr, &j->options, out, j->out_type, j->factors, &j->report))
    code = cli_session_core_fail(&j->session);
  if (in_place) {
    csr->data_type = code ? csr->data_type : j->out_type;
    return code;
  }
  if (code) {
    free(out);
  } else {
    free(csr->data);
    csr->data = out;
    csr->data_type = j->out_type;
  }
  return code;
}

static int read_matrix(job *j) {
  int code = cli_session_read(&j->session, &j->matrix);
  if (code)
    return code;
  j->options.axis = j->matrix.cells;
  j->out_type = output_type(j->matrix.csr.data_type); /* a text file says only now */
  if (!j->options.exclude_highly_expressed && j->matrix.cells == CSRN_PER_ROW)
    return CLI_OK;
  csrn_io_status status = csrn_io_matrix_indices(&j->matrix, &j->session.error);
  return status ? cli_session_fail(&j->session, status) : CLI_OK;
}

static int write_matrix(job *j) {
  j->output.factors = j->factors;
  j->output.factors_type = j->out_type;
  j->output.threads = csrn_context_threads(j->session.ctx);
  csrn_io_status status =
      csrn_io_write(j->session.input, &j->matrix, &j->output, &j->session.progress, &j->session.error);
  cli_session_end_progress(&j->session);
  return status ? cli_session_fail(&j->session, status) : CLI_OK;
}

static int run_steps(job *j) {
  int (*const steps[3])(job *) = {read_matrix, compute, write_matrix};
  int code = CLI_OK;
  for (int i = 0; i < 3 && !code; i++) {
    double begin = cli_now();
    code = steps[i](j);
    j->seconds[i] = cli_now() - begin;
  }
  return code;
}

/* Whether all in memory has the room. */
static int affords(const job *j) {
  const csrn_io_whole whole = whole_of(j);
  return cli_session_affords(&j->session, j->memory, &whole);
}

static int run_whole(job *j) {
  const int code = affords(j);
  return code ? code : run_steps(j);
}

/* A window on the values instead of all in memory, unless they turn out to be such that this does not do. */
static int stream(job *j) {
  csrn_io_status status = csrn_io_normalize(j->session.input, j->session.reader, &j->output, &j->pieces,
                                            &j->session.progress, &j->session.error);
  cli_session_end_progress(&j->session);
  j->report = j->pieces.report;
  j->matrix.csr.nnz = csrn_io_describe(j->session.input)->nnz;
  if (status)
    return cli_session_fail(&j->session, status);
  if (!j->pieces.plan.streams)
    return run_whole(j);
  cli_session_chose_pieces(&j->session);
  return CLI_OK;
}

/* ---- The report ------------------------------------------------------------ */

static void print_warnings(const job *j) {
  const csrn_normalize_report *r = &j->report;
  const char *name = j->session.arguments->operand;
  if (isnan(r->target))
    fprintf(stderr, "csrnorm normalize: %s: no cell has a positive total; the values are unchanged\n", name);
  if (r->n_negative)
    fprintf(stderr, "csrnorm normalize: %s: %" PRId64 " cells have a negative total; are these counts?\n",
            name, r->n_negative);
  if (r->n_nonfinite)
    fprintf(stderr, "csrnorm normalize: %s: %" PRId64 " cells hold NaN or infinite values\n", name,
            r->n_nonfinite);
}

static void print_summary(const job *j) {
  const csrn_io_description *d = csrn_io_describe(j->session.input);
  const csrn_normalize_report *r = &j->report;
  static const char *const how[] = {"median", "mean", "given"};
  char target[32], where[CLI_WHERE];
  cli_print_shape(stdout, j->session.arguments->operand, d);
  printf("target sum %s (%s)%s", cli_format_real(r->target, target), how[j->options.target],
         j->options.log1p ? ", log1p" : "");
  printf(", %" PRId64 " empty cells", r->n_zero);
  if (j->options.exclude_highly_expressed)
    printf(", %" PRId64 " highly expressed genes excluded", r->n_excluded);
  const double *s = j->pieces.plan.streams ? j->pieces.seconds : j->seconds;
  cli_session_where(&j->session, where);
  if (j->pieces.plan.streams)
    printf("\ntotals %.2f s, copied the rest %.2f s, normalized and wrote %.2f s (%s), synced %.2f s\n", s[0],
           s[1], s[2], where, s[3]);
  else
    printf("\nread %.2f s, normalized %.3f s (%s), wrote %.2f s\n", s[0], s[1], where, s[2]);
  printf("%s: %s values in %s\n", j->output.path, csrn_dtype_name(j->out_type), d->matrix_name);
}

static void print_seconds_json(const job *j, cli_json *json) {
  static const char *const whole[] = {"read", "normalize", "write"};
  static const char *const pieces[] = {"totals", "copy", "normalize", "sync"};
  const int streams = j->pieces.plan.streams;
  cli_json_open(json, "seconds", '{');
  for (int i = 0; i < (streams ? 4 : 3); i++)
    cli_json_real(json, streams ? pieces[i] : whole[i], streams ? j->pieces.seconds[i] : j->seconds[i]);
  cli_json_close(json, '}');
}

static void print_json(const job *j) {
  const csrn_io_description *d = csrn_io_describe(j->session.input);
  const csrn_normalize_report *r = &j->report;
  cli_json json = {.stream = stdout};
  cli_json_open(&json, NULL, '{');
  cli_json_string(&json, "version", csrn_version());
  cli_json_string(&json, "input", j->session.arguments->operand);
  cli_json_string(&json, "output", j->output.path);
  cli_json_string(&json, "format", d->format_name);
  cli_json_string(&json, "matrix", d->matrix_name);
  cli_json_integer(&json, "n_cells", d->n_cells);
  cli_json_integer(&json, "n_genes", d->n_genes);
  cli_json_integer(&json, "nnz", j->matrix.csr.nnz);
  cli_json_string(&json, "data_type", csrn_dtype_name(d->data_type));
  cli_json_string(&json, "output_type", csrn_dtype_name(j->out_type));
  cli_json_real(&json, "target_sum", r->target);
  cli_json_bool(&json, "log1p", j->options.log1p);
  cli_json_integer(&json, "n_empty_cells", r->n_zero);
  cli_json_integer(&json, "n_negative_cells", r->n_negative);
  cli_json_integer(&json, "n_nonfinite_cells", r->n_nonfinite);
  cli_json_integer(&json, "n_excluded_genes", r->n_excluded);
  cli_session_json(&j->session, &json);
  cli_json_bool(&json, "in_pieces", j->pieces.plan.streams);
  print_seconds_json(j, &json);
  cli_json_close(&json, '}');
}

/* ---- The command ----------------------------------------------------------- */

/* What the options mean for values of this type the library says of a matrix that has none, before any is
 * read.
 */
static int check_options(job *j) {
  const csrn_io_description *d = csrn_io_describe(j->session.input);
  const int64_t start = 0;
  const csrn_csr none = {
      .indptr = &start, .indptr_type = CSRN_I64, .indices_type = CSRN_I32, .data_type = d->data_type};
  char out[8];
  if (d->widest_type != CSRN_NONE ||
      !csrn_normalize_total(j->session.reader, &none, &j->options, out, j->out_type, NULL, NULL))
    return CLI_OK;
  return cli_fail(j->session.arguments, "%s: %s", j->session.arguments->operand,
                  csrn_error_detail(j->session.reader));
}

static int run_job(job *j) {
  const cli_arguments *a = j->session.arguments;
  j->session.select.memory = j->memory;
  int code = cli_session_open(&j->session);
  if (code)
    return code;
  const csrn_io_description *d = csrn_io_describe(j->session.input);
  j->out_type = output_type(d->data_type);
  csrn_io_status status = CSRN_IO_OK;
  code = check_options(j);
  if (code)
    return code;
  j->pieces.options = &j->options;
  j->pieces.memory = j->memory;
  j->pieces.device = cli_session_device(&j->session);
  j->session.plan = &j->pieces.plan;
  if (j->output.path)
    status = csrn_io_output_check(j->session.input, &j->output, &j->session.error);
  if (!status)
    status = csrn_io_normalize_plan(j->session.input, j->session.reader, &j->output, &j->pieces,
                                    &j->session.error);
  if (status)
    return cli_session_fail(&j->session, status);
  if (cli_flag(a, "dry-run")) {
    code = j->pieces.plan.streams ? CLI_OK : affords(j);
    return code ? code : print_plan(j);
  }
  code = j->pieces.plan.streams ? stream(j) : run_whole(j);
  if (code)
    return code;
  print_warnings(j);
  if (cli_flag(a, "json"))
    print_json(j);
  else if (!cli_flag(a, "quiet"))
    print_summary(j);
  return CLI_OK;
}

int cli_normalize(const cli_arguments *arguments) {
  const csrn_normalize_options defaults = CSRN_NORMALIZE_OPTIONS_INIT;
  job j;
  memset(&j, 0, sizeof j);
  j.options = defaults;
  j.session.arguments = arguments;
  if (!parse_method(&j) || !parse_output(&j))
    return CLI_USAGE;
  int code = cli_session_begin(&j.session, arguments);
  if (!code)
    code = run_job(&j);
  csrn_io_matrix_free(&j.matrix);
  free(j.factors);
  cli_session_end(&j.session);
  return code;
}
