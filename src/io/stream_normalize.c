/*
 * Normalization by the streaming engine: a plan that fits the memory allowed, the first pass for the
 * totals, the target from them, and the last pass, which writes the values into the result. A
 * row may be split between two units there, since its total is known.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
  csrn_stream_job base;
  csrn_io_normalization *n;
  csrn_normalize_options options;
  bool by_column; /* the cells are the columns: CSC */
  int64_t n_cells;
  double *totals;
  int64_t n_excluded;
  void *factors;
  double begin; /* when it all began */
} job;

csrn_io_status csrn_io_normalize_plan(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                                      csrn_io_normalization *n, csrn_io_error *error) {
  const bool by_column = csrn_stream_cells_are_columns(input);
  const csrn_stream_request request = {.memory = n->memory,
                                       .unit = n->unit,
                                       .output = output,
                                       .device = n->device,
                                       .parts = CSRN_IO_TOTALS | CSRN_IO_VALUES |
                                                (n->options->exclude_highly_expressed ? CSRN_IO_MARKS : 0),
                                       .passes = n->options->exclude_highly_expressed ? 4 : 2,
                                       .by_column = by_column,
                                       .with_columns = by_column || n->options->exclude_highly_expressed};
  return csrn_stream_plan(input, ctx, &request, &n->plan, error);
}

/* ---- The target -------------------------------------------------------------- */

/* Target, factors and report follow from the totals alone: they are those of a matrix that has every total as
 * its row's only value. */
static csrn_io_status find_target(job *j) {
  const int64_t n = j->n_cells;
  const csrn_dtype type = j->n->plan.out_type;
  int64_t *each = malloc(((size_t)n + 1) * sizeof *each);
  void *scaled = malloc((size_t)n * csrn_dtype_size(type) + 1);
  j->factors = malloc((size_t)n * csrn_dtype_size(type) + 1);
  csrn_normalize_options options = *j->n->options;
  options.axis = CSRN_PER_ROW;
  options.exclude_highly_expressed = options.log1p = 0;
  options.log_base = 0;
  options.excluded = NULL;
  csrn_io_status status = CSRN_IO_OK;
  for (int64_t i = 0; each && i <= n; i++)
    each[i] = i;
  const csrn_csr A = {n, 1, n, each, NULL, j->totals, CSRN_I64, CSRN_NONE, CSRN_F64};
  if (!each || !scaled || !j->factors)
    status = csrn_io_fail(j->base.error, CSRN_IO_FAILED, "%s: out of memory for %" PRId64 " factors",
                          j->base.input->path, n);
  else if (csrn_normalize_total(j->base.ctx, &A, &options, scaled, type, j->factors, &j->n->report))
    status = csrn_io_fail(j->base.error, CSRN_IO_FAILED, "%s: %s", j->base.input->path,
                          csrn_error_detail(j->base.ctx));
  j->n->report.n_excluded = j->n_excluded;
  free(scaled);
  free(each);
  return status;
}

/* ---- The last pass ----------------------------------------------------------- */

/* Normalizes the n values of a unit: the rows that have a part in it, with their totals. */
static csrn_io_status normalize(csrn_stream_worker *worker, const void *user, int64_t unit, int64_t n,
                                void *result) {
  const job *j = user;
  int64_t first, n_rows;
  void *values = NULL;
  csrn_dtype type = CSRN_NONE;
  csrn_io_status status = csrn_stream_load(worker, &j->base.matrix, unit, &values, &type);
  const int64_t *starts = status ? NULL : csrn_stream_starts(worker, &j->base.matrix, unit, &first, &n_rows);
  if (!starts)
    return CSRN_IO_FAILED;
  const csrn_csr A = {n_rows, j->base.matrix.rows.n_cols, n, starts, NULL, values, CSRN_I64, CSRN_NONE, type};
  csrn_context *ctx = csrn_stream_take_context(worker);
  const csrn_status done = csrn_normalize_with(ctx, &A, j->totals + first, &j->n->report.target, &j->options,
                                               result, j->n->plan.out_type, NULL, NULL);
  return csrn_stream_give_back(worker, ctx, done, j->base.input->path);
}

/* The same where the cells are columns: each value by the factor of its own. */
static csrn_io_status normalize_columns(csrn_stream_worker *worker, const void *user, int64_t unit, int64_t n,
                                        void *result) {
  const job *j = user;
  const csrn_dtype out_type = j->n->plan.out_type;
  const int64_t starts[2] = {0, n};
  int32_t *columns = NULL;
  void *values = NULL;
  csrn_dtype type = CSRN_NONE;
  csrn_io_status status = csrn_stream_columns(worker, &j->base.matrix, unit, &columns);
  if (!status)
    status = csrn_stream_load(worker, &j->base.matrix, unit, &values, &type);
  if (status)
    return status;
  csrn_csr A = {1, j->base.matrix.rows.n_cols, n, starts, columns, values, CSRN_I64, CSRN_I32, type};
  csrn_context *ctx = csrn_stream_take_context(worker);
  csrn_status done = csrn_axis_scale(ctx, &A, CSRN_PER_COLUMN, CSRN_DIVIDE, j->factors, out_type,
                                     CSRN_ZERO_AS_ONE, result, out_type);
  A.data = result;
  A.data_type = out_type;
  if (done == CSRN_OK && j->options.log1p)
    done = csrn_log1p(ctx, &A, j->options.log_base, result, out_type);
  return csrn_stream_give_back(worker, ctx, done, j->base.input->path);
}

/* ---- The totals --------------------------------------------------------------- */

/* Totals of the cells; without exact ones the plan is dropped. */
static csrn_io_status take_totals(job *j, const uint8_t *excluded) {
  bool exact = true;
  csrn_io_status status = j->by_column
                              ? csrn_stream_column_totals(&j->base.pool, &j->base.matrix, excluded, j->totals,
                                                          CSRN_F64, &exact, j->base.progress, j->base.error)
                              : csrn_stream_totals(&j->base.pool, &j->base.matrix, excluded, j->totals,
                                                   CSRN_F64, &exact, j->base.progress, j->base.error);
  if (!status && !exact)
    j->n->plan.streams = 0;
  if (j->base.pool.columns_on_cpu)
    j->n->plan.on_device &= ~CSRN_IO_TOTALS;
  return status;
}

/* The totals again, without the genes that are highly expressed in any cell. */
static csrn_io_status exclude(job *j) {
  const int64_t n_genes = j->by_column ? j->base.matrix.rows.n_rows : j->base.matrix.rows.n_cols;
  uint8_t *mask = calloc((size_t)n_genes + 1, 1);
  if (!mask)
    return csrn_stream_no_memory(&j->base, "the genes");
  csrn_io_status status = (j->by_column ? csrn_stream_highly_expressed_rows : csrn_stream_highly_expressed)(
      &j->base.pool, &j->base.matrix, j->totals, j->options.max_fraction, mask, j->base.progress,
      j->base.error);
  for (int64_t i = 0; i < n_genes; i++)
    j->n_excluded += mask[i];
  if (!status && j->n_excluded > 0)
    status = take_totals(j, mask);
  if (j->options.excluded)
    memcpy(j->options.excluded, mask, (size_t)n_genes);
  free(mask);
  return status;
}

/* All that is known of the totals when the last pass begins. */
static csrn_io_status find_totals(void *user) {
  job *j = user;
  const int64_t room = j->base.matrix.room;
  csrn_io_status status = take_totals(j, NULL);
  j->n->kept_bytes = room - j->base.matrix.room;
  if (!status && j->n->plan.streams && j->options.exclude_highly_expressed)
    status = exclude(j);
  j->n->seconds[0] = csrn_stream_now() - j->begin;
  return status || !j->n->plan.streams ? CSRN_IO_FAILED : CSRN_IO_OK;
}

static csrn_io_status find_factors(void *user, const void **factors) {
  job *j = user;
  csrn_io_status status = find_target(j);
  *factors = j->factors;
  return status;
}

/* Memory and matrix, and then everything. */
static csrn_io_status run(job *j) {
  static const csrn_stream_preparation totals = {find_totals, find_factors};
  double *seconds = j->n->seconds, written[2] = {0, 0};
  csrn_io_status status = csrn_stream_begin(&j->base);
  j->totals = malloc((size_t)j->n_cells * sizeof *j->totals + 1);
  if (!status && !j->totals)
    status = csrn_stream_no_memory(&j->base, "the totals");
  const double begin = csrn_stream_now();
  if (!status)
    status = csrn_stream_write(&j->base, j->by_column ? normalize_columns : normalize, j, &totals, written);
  seconds[1] = begin - j->begin + written[0] - seconds[0];
  seconds[2] = written[1];
  seconds[3] = csrn_stream_now() - begin - written[0] - written[1];
  return j->n->plan.streams ? status : CSRN_IO_OK;
}

csrn_io_status csrn_io_normalize(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                                 csrn_io_normalization *n, const csrn_io_progress *progress,
                                 csrn_io_error *error) {
  job j = {.base = {.input = input,
                    .ctx = ctx,
                    .output = output,
                    .device = n->device,
                    .plan = &n->plan,
                    .progress = progress,
                    .error = error},
           .n = n,
           .options = *n->options,
           .by_column = csrn_stream_cells_are_columns(input),
           .n_cells = input->description.n_cells,
           .begin = csrn_stream_now()};
  j.base.looks_at_columns = j.by_column;
  csrn_io_status status = csrn_io_output_check(input, output, error);
  if (!status)
    status = csrn_io_normalize_plan(input, ctx, output, n, error);
  if (status || !n->plan.streams)
    return status;
  status = csrn_stream_end(&j.base, run(&j));
  free(j.totals);
  free(j.factors);
  return status;
}
