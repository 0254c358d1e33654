/*
 * Sums and scaling of the rows or columns of a matrix in a file, by the passes of the streaming
 * engine: one for sums, one that writes for scaling.
 */
#include "stream.h"

#include <stdlib.h>

/* The axis of the stored matrix that an axis of cells x genes is. */
static csrn_axis stored_axis(const csrn_io_input *input, csrn_axis axis) {
  if (!csrn_stream_cells_are_columns(input))
    return axis;
  return axis == CSRN_PER_ROW ? CSRN_PER_COLUMN : CSRN_PER_ROW;
}

/* ---- Sums ------------------------------------------------------------------------ */

csrn_io_status csrn_io_sums(csrn_io_input *input, csrn_context *ctx, csrn_io_summing *s,
                            const csrn_io_progress *progress, csrn_io_error *error) {
  const bool by_column = stored_axis(input, s->axis) == CSRN_PER_COLUMN;
  const csrn_stream_request request = {.memory = s->memory,
                                       .unit = s->unit,
                                       .device = s->device,
                                       .parts = CSRN_IO_TOTALS,
                                       .passes = 1,
                                       .by_column = by_column,
                                       .with_columns = by_column};
  csrn_stream_job job = {.input = input,
                         .ctx = ctx,
                         .device = s->device,
                         .plan = &s->plan,
                         .progress = progress,
                         .error = error};
  csrn_io_status status = csrn_stream_plan(input, ctx, &request, &s->plan, error);
  if (status || !s->plan.streams)
    return status;
  bool exact = true;
  status = csrn_stream_begin(&job);
  /* Only columns of reals may need another pass, for which values are kept. */
  if (!by_column || (job.matrix.data.type != CSRN_F32 && job.matrix.data.type != CSRN_F64))
    job.matrix.room = 0;
  const int64_t room = job.matrix.room;
  if (!status)
    status = (by_column ? csrn_stream_column_totals : csrn_stream_totals)(
        &job.pool, &job.matrix, NULL, s->sums, s->sums_type, &exact, progress, error);
  s->kept_bytes = room - job.matrix.room;
  s->plan.streams = exact;
  if (job.pool.columns_on_cpu)
    s->plan.on_device &= ~CSRN_IO_TOTALS;
  return csrn_stream_end(&job, status);
}

/* ---- Scaling --------------------------------------------------------------------- */

typedef struct scaling_job {
  csrn_stream_job base;
  const csrn_io_scaling *s;
  bool by_column;
} scaling_job;

static csrn_io_status scale_unit(csrn_stream_worker *worker, const void *user, int64_t unit, int64_t n,
                                 void *result) {
  const scaling_job *j = user;
  const csrn_stream_matrix *matrix = &j->base.matrix;
  int64_t first, n_rows;
  int32_t *columns = NULL;
  void *values = NULL;
  csrn_io_status status = j->by_column ? csrn_stream_columns(worker, matrix, unit, &columns) : CSRN_IO_OK;
  if (!status)
    status = csrn_stream_read(worker, matrix, unit, &values);
  const int64_t *starts = status ? NULL : csrn_stream_starts(worker, matrix, unit, &first, &n_rows);
  if (!starts)
    return CSRN_IO_FAILED;
  const csrn_csr A = {.n_rows = n_rows,
                      .n_cols = matrix->rows.n_cols,
                      .nnz = n,
                      .indptr = starts,
                      .indices = columns,
                      .data = values,
                      .indptr_type = CSRN_I64,
                      .indices_type = columns ? CSRN_I32 : CSRN_NONE,
                      .data_type = matrix->data.type};
  csrn_context *ctx = csrn_stream_take_context(worker);
  const csrn_status done = csrn_axis_scale(ctx, &A, j->by_column ? CSRN_PER_COLUMN : CSRN_PER_ROW, j->s->op,
                                           j->s->factors + (j->by_column ? 0 : first), CSRN_F64, j->s->zeros,
                                           result, j->base.plan->out_type);
  return csrn_stream_give_back(worker, ctx, done, j->base.input->path);
}

csrn_io_status csrn_io_scale(csrn_io_input *input, csrn_context *ctx, const csrn_io_output *output,
                             csrn_io_scaling *s, const csrn_io_progress *progress, csrn_io_error *error) {
  scaling_job j = {.base = {.input = input,
                            .ctx = ctx,
                            .output = output,
                            .device = s->device,
                            .plan = &s->plan,
                            .progress = progress,
                            .error = error},
                   .s = s,
                   .by_column = stored_axis(input, s->axis) == CSRN_PER_COLUMN};
  const csrn_stream_request request = {.memory = s->memory,
                                       .unit = s->unit,
                                       .output = output,
                                       .device = s->device,
                                       .parts = CSRN_IO_VALUES,
                                       .passes = 1,
                                       .with_columns = j.by_column};
  double seconds[2];
  j.base.looks_at_columns = j.by_column;
  csrn_io_status status = csrn_io_output_check(input, output, error);
  if (!status)
    status = csrn_stream_plan(input, ctx, &request, &s->plan, error);
  if (status || !s->plan.streams)
    return status;
  status = csrn_stream_begin(&j.base);
  if (!status)
    status = csrn_stream_write(&j.base, scale_unit, &j, NULL, seconds);
  return csrn_stream_end(&j.base, status);
}
