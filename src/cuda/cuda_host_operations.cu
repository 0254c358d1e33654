/*
 * The operations on matrices in host memory as passes of chunks: see cuda_host.h. Each chunk goes
 * through the same kernels as a matrix on the device. Rows that are longer than a chunk are summed
 * by the code of the CPU backend, so that the bits are the same.
 */
#include "cuda_elements.h"
#include "cuda_host.h"

#include <cstring>

namespace {

/* The CPU's part of the context. */
csrn_context *cpu_of(csrn_context *ctx, csrn_status *status) {
  return csrn_context_on_host(ctx, status);
}

} // namespace

/* Nothing to send: the CPU is done at once. */
bool csrn_host_is_empty(const csrn_csr *A) {
  return A->n_rows == 0 || A->n_cols == 0 || csrn_cpu_offset(A, A->n_rows) == csrn_cpu_offset(A, 0);
}

namespace {

/* Row `row` alone. */
csrn_csr one_row(const csrn_csr *A, int64_t row) {
  csrn_csr view = *A;
  view.indptr =
      static_cast<const char *>(A->indptr) + static_cast<size_t>(row) * csrn_dtype_size(A->indptr_type);
  view.n_rows = 1;
  return view;
}

} // namespace

/* Ends an operation; an index that is no column is named as the CPU would. */
csrn_status csrn_host_end(csrn_context *ctx, const csrn_csr *A, csrn_status status) {
  const bool ran = status == CSRN_OK;
  status = csrn_host_close(ctx, status);
  if (ran && status == CSRN_INVALID_MATRIX) {
    const csrn_status found = ctx->on_host->ops->check_indices(ctx->on_host, A);
    status = found ? found : status;
  }
  return status;
}

namespace {

void *slot_of(const csrn_context *ctx, csrn_cuda_slot slot) {
  return csrn_cuda_slot_of(ctx, slot);
}

} // namespace

/* ---- Row sums ------------------------------------------------------------------------- */

csrn_status csrn_host_send_mask(csrn_context *ctx, const uint8_t *mask, int64_t n, const uint32_t **bits) {
  auto *on_device = static_cast<uint8_t *>(slot_of(ctx, CSRN_CUDA_MASK));
  const csrn_status status = csrn_host_copy(ctx, on_device, mask, static_cast<size_t>(n));
  return csrn_cuda_pack_mask(ctx, status, on_device, n, false, bits);
}

csrn_status csrn_host_sum_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const csrn_host_row_sums *>(arg);
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE, true);
  return status
             ? status
             : csrn_cuda_row_sums(ctx, &chunk->A, job->excluded_on_device, chunk->row_out, job->type, false);
}

csrn_status csrn_host_sum_long_row(csrn_context *ctx, int64_t row, const void *arg) {
  const auto *job = static_cast<const csrn_host_row_sums *>(arg);
  const csrn_csr A = one_row(job->A, row);
  return ctx->on_host->ops->axis_sum(
      ctx->on_host, &A, CSRN_PER_ROW, job->excluded,
      static_cast<char *>(job->sums) + static_cast<size_t>(row) * sizeof(double), job->type);
}

namespace {

/* A row without values, with which the CPU is tried before a pass: what it allocates for a row that is longer
 * than a chunk is there then, so that nothing fails for lack of memory once results are written. */
csrn_csr empty_row(const csrn_csr *A) {
  static const uint8_t offsets[2] = {0, 0};
  csrn_csr view = *A;
  view.indptr = offsets;
  view.indptr_type = CSRN_U8;
  view.n_rows = 1;
  return view;
}

} // namespace

csrn_status csrn_host_try_row(csrn_context *ctx, const csrn_host_row_sums *job) {
  const csrn_csr empty = empty_row(job->A);
  double sum;
  return ctx->on_host->ops->axis_sum(ctx->on_host, &empty, CSRN_PER_ROW, job->excluded, &sum, job->type);
}

csrn_status csrn_host_run_row_sums(csrn_context *ctx, const csrn_host_row_sums *job) {
  const csrn_status status = csrn_host_try_row(ctx, job);
  if (status)
    return status;
  csrn_host_pass pass = {};
  pass.data = true;
  pass.indices = job->excluded != nullptr;
  pass.row_out = job->sums;
  pass.row_out_size = sizeof(double);
  pass.work = csrn_host_sum_chunk;
  pass.long_row = csrn_host_sum_long_row;
  pass.arg = job;
  return csrn_host_run(ctx, &pass);
}

namespace {

/* ---- Column sums ----------------------------------------------------------------------- */

struct column_sums_step {
  csrn_columns_step step;
  bool narrow, masked;
};

csrn_status add_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const column_sums_step *>(arg);
  const csrn_status status = csrn_cuda_continue(ctx, &chunk->A, job->masked);
  return status ? status
                : csrn_cuda_columns_add(ctx, &chunk->A, job->step,
                                        job->masked ? static_cast<const uint8_t *>(chunk->row_in) : nullptr,
                                        job->narrow);
}

csrn_status add_columns(csrn_context *ctx, const csrn_csr *A, csrn_columns_step step,
                        const uint8_t *excluded_rows) {
  const column_sums_step job = {step, csrn_cuda_columns_narrow(A), excluded_rows != nullptr};
  csrn_host_pass pass = {};
  pass.data = true;
  pass.indices = step != CSRN_COLUMNS_LARGEST;
  pass.row_in = excluded_rows;
  pass.row_in_size = 1;
  pass.work = add_chunk;
  pass.sends_parts = true;
  pass.arg = &job;
  return csrn_host_run(ctx, &pass);
}

bool is_real(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

} // namespace

/* To sums[n_cols] in host memory, within an operation that is open with CSRN_CUDA_COLUMNS and _TOTALS. */
csrn_status csrn_host_run_column_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded_rows,
                                      void *sums, csrn_dtype type) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  void *on_device = slot_of(ctx, CSRN_CUDA_TOTALS);
  csrn_status status = csrn_cuda_begin(ctx, nullptr, nullptr, CSRN_NONE, false);
  status = status ? status : csrn_cuda_columns_begin(ctx, A->n_cols);
  status = status ? status : add_columns(ctx, A, CSRN_COLUMNS_COUNTS, excluded_rows);
  status = status ? status
                  : csrn_host_copy(ctx, &state->mirror->now.refused, &state->control->now.refused,
                                   sizeof state->control->now.refused);
  if (!status && is_real(A->data_type) && state->mirror->now.refused) {
    status = add_columns(ctx, A, CSRN_COLUMNS_LARGEST, excluded_rows);
    status = status ? status : add_columns(ctx, A, CSRN_COLUMNS_FIXED_POINT, excluded_rows);
  }
  status = status ? status : csrn_cuda_columns_store(ctx, A, csrn_cuda_columns_narrow(A), on_device, type);
  return status ? status
                : csrn_host_copy(ctx, sums, on_device, static_cast<size_t>(A->n_cols) * sizeof(double));
}

namespace {

/* ---- Marks of highly expressed genes ------------------------------------------------------ */

struct marks {
  const csrn_csr *A;
  double max_fraction;
  uint8_t *mask;      /* on the device: columns */
  double *totals;     /* on the device, of columns */
  uint8_t *long_mask; /* host: marks of long rows; and of one of them */
  uint8_t *row_mask;
};

csrn_status mark_columns_of_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const marks *>(arg);
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE, true);
  return status ? status : csrn_cuda_mark_columns(ctx, &chunk->A, job->max_fraction, job->mask, nullptr);
}

csrn_status mark_columns_of_long_row(csrn_context *ctx, int64_t row, const void *arg) {
  const auto *job = static_cast<const marks *>(arg);
  const csrn_csr A = one_row(job->A, row);
  const csrn_status status =
      ctx->on_host->ops->highly_expressed(ctx->on_host, &A, CSRN_PER_ROW, job->max_fraction, job->row_mask);
  for (int64_t c = 0; c < A.n_cols && !status; c++)
    job->long_mask[c] = job->long_mask[c] | job->row_mask[c];
  return status;
}

} // namespace

/* Columns where an entry exceeds its fraction, to mask[n_cols] in host memory; room: [2 * n_cols]. */
csrn_status csrn_host_mark_columns(csrn_context *ctx, const csrn_csr *A, double max_fraction, uint8_t *mask,
                                   uint8_t *room) {
  const size_t n = static_cast<size_t>(A->n_cols);
  auto *on_device = static_cast<uint8_t *>(slot_of(ctx, CSRN_CUDA_MASK));
  const marks job = {A, max_fraction, on_device, nullptr, room, room + n};
  csrn_host_pass pass = {};
  pass.data = pass.indices = true;
  pass.work = mark_columns_of_chunk;
  pass.long_row = mark_columns_of_long_row;
  pass.arg = &job;
  const csrn_csr empty = empty_row(A);
  csrn_status status =
      ctx->on_host->ops->highly_expressed(ctx->on_host, &empty, CSRN_PER_ROW, max_fraction, room);
  memset(room, 0, n);
  const cudaError_t error = cudaMemsetAsync(on_device, 0, n, csrn_cuda_state_of(ctx)->stream);
  if (!status && error != cudaSuccess)
    status = csrn_cuda_fail(ctx, error, "clearing a mask");
  status = status ? status : csrn_host_run(ctx, &pass);
  status = status ? status : csrn_host_copy(ctx, mask, on_device, n);
  for (size_t c = 0; c < n && !status; c++)
    mask[c] = mask[c] | room[c];
  return status;
}

namespace {

csrn_status mark_rows_of_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const marks *>(arg);
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE, true);
  return status ? status
                : csrn_cuda_mark_rows(ctx, &chunk->A, job->max_fraction,
                                      static_cast<uint8_t *>(chunk->row_out), job->totals);
}

} // namespace

/* Rows where an entry exceeds its fraction of totals[n_cols], to mask[n_rows], all in host memory. */
csrn_status csrn_host_mark_rows(csrn_context *ctx, const csrn_csr *A, double max_fraction,
                                const double *totals, uint8_t *mask) {
  auto *on_device = static_cast<double *>(slot_of(ctx, CSRN_CUDA_TOTALS));
  const marks job = {A, max_fraction, nullptr, on_device, nullptr, nullptr};
  csrn_host_pass pass = {};
  pass.data = pass.indices = true;
  pass.row_out = mask;
  pass.row_out_size = 1;
  pass.ors = true;
  pass.work = mark_rows_of_chunk;
  pass.sends_parts = true;
  pass.arg = &job;
  memset(mask, 0, static_cast<size_t>(A->n_rows));
  const csrn_status status =
      csrn_host_copy(ctx, on_device, totals, static_cast<size_t>(A->n_cols) * sizeof(double));
  return status ? status : csrn_host_run(ctx, &pass);
}

namespace {

/* ---- Element by element ------------------------------------------------------------------ */

struct elements {
  csrn_axis axis;
  csrn_scale_op op;
  csrn_dtype factors_type, out_type;
  csrn_zero_policy zeros;
  const void *factors; /* on the device, of columns */
  double base;
  csrn_cuda_how how;
};

csrn_status scale_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const elements *>(arg);
  return csrn_cuda_axis_scale(ctx, &chunk->A, job->axis, job->op,
                              job->axis == CSRN_PER_ROW ? chunk->row_in : job->factors, job->factors_type,
                              job->zeros, chunk->out, job->out_type);
}

csrn_status log_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const elements *>(arg);
  return csrn_cuda_log1p(ctx, &chunk->A, job->base, chunk->out, job->out_type);
}

csrn_status divide_columns_of_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const elements *>(arg);
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE, false);
  return status ? status
                : csrn_cuda_divide_columns(ctx, &chunk->A, job->how, job->factors, chunk->out, job->out_type);
}

csrn_host_pass pass_of_elements(const elements *job, void *out) {
  csrn_host_pass pass = {};
  pass.data = true;
  pass.out = out;
  pass.sends_parts = true;
  pass.arg = job;
  return pass;
}

} // namespace

csrn_status csrn_host_divide_columns(csrn_context *ctx, const csrn_cuda_how &how, const void *divisors,
                                     void *out, csrn_dtype out_type) {
  elements job = {};
  job.out_type = out_type;
  job.factors = divisors;
  job.how = how;
  csrn_host_pass pass = pass_of_elements(&job, out);
  pass.indices = true;
  pass.work = divide_columns_of_chunk;
  return csrn_host_run(ctx, &pass);
}

/* ---- The table ---------------------------------------------------------------------------------- */

csrn_status csrn_host_check_rows(csrn_context *ctx, const csrn_csr *A) {
  csrn_status status;
  csrn_context *cpu = cpu_of(ctx, &status);
  return cpu ? cpu->ops->check_rows(cpu, A) : status;
}

csrn_status csrn_host_check_indices(csrn_context *ctx, const csrn_csr *A) {
  csrn_status status;
  csrn_context *cpu = cpu_of(ctx, &status);
  return cpu ? cpu->ops->check_indices(cpu, A) : status;
}

csrn_status csrn_host_median_positive(csrn_context *ctx, const double *values, int64_t n, double *median) {
  csrn_status status;
  csrn_context *cpu = cpu_of(ctx, &status);
  return cpu ? cpu->ops->median_positive(cpu, values, n, median) : status;
}

csrn_status csrn_host_axis_sum(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const uint8_t *excluded,
                               void *sums, csrn_dtype sums_type) {
  csrn_context *cpu = ctx->on_host;
  if (csrn_host_is_empty(A))
    return cpu->ops->axis_sum(cpu, A, axis, excluded, sums, sums_type);
  const bool rows = axis == CSRN_PER_ROW;
  const unsigned columns = csrn_cuda_bit(CSRN_CUDA_COLUMNS) | csrn_cuda_bit(CSRN_CUDA_TOTALS);
  const unsigned mask = csrn_cuda_bit(CSRN_CUDA_MASK) | csrn_cuda_bit(CSRN_CUDA_BITS);
  const bool counts = rows || !is_real(A->data_type);
  csrn_status status = csrn_host_open(ctx, A, CSRN_NONE, counts ? 1 : CSRN_HOST_COLUMN_PASSES,
                                      rows     ? excluded != nullptr
                                      : counts ? 1
                                               : CSRN_HOST_COLUMN_INDICES,
                                      !rows      ? columns
                                      : excluded ? mask
                                                 : 0);
  if (!status && rows) {
    csrn_host_row_sums job = {A, excluded, nullptr, sums, sums_type};
    if (excluded)
      status = csrn_host_send_mask(ctx, excluded, A->n_cols, &job.excluded_on_device);
    status = status ? status : csrn_host_run_row_sums(ctx, &job);
  } else if (!status) {
    status = csrn_host_run_column_sums(ctx, A, excluded, sums, sums_type);
  }
  return csrn_host_end(ctx, A, status);
}

csrn_status csrn_host_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                 const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                 void *out, csrn_dtype out_type) {
  if (csrn_host_is_empty(A))
    return CSRN_OK;
  const bool rows = axis == CSRN_PER_ROW;
  const size_t size = csrn_dtype_size(factors_type);
  csrn_status status =
      csrn_host_open(ctx, A, out_type, 1, !rows, rows ? 0 : csrn_cuda_bit(CSRN_CUDA_FACTORS));
  elements job = {};
  job.axis = axis;
  job.op = op;
  job.factors_type = factors_type;
  job.out_type = out_type;
  job.zeros = zeros;
  csrn_host_pass pass = pass_of_elements(&job, out);
  pass.work = scale_chunk;
  if (rows) {
    pass.row_in = factors;
    pass.row_in_size = size;
  } else {
    void *on_device = slot_of(ctx, CSRN_CUDA_FACTORS);
    job.factors = on_device;
    pass.indices = true;
    if (!status)
      status = csrn_host_copy(ctx, on_device, factors, static_cast<size_t>(A->n_cols) * size);
  }
  return csrn_host_end(ctx, A, status ? status : csrn_host_run(ctx, &pass));
}

csrn_status csrn_host_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                            csrn_dtype out_type) {
  if (csrn_host_is_empty(A))
    return CSRN_OK;
  elements job = {};
  job.base = base;
  job.out_type = out_type;
  csrn_host_pass pass = pass_of_elements(&job, out);
  pass.work = log_chunk;
  const csrn_status status = csrn_host_open(ctx, A, out_type, 1, 0, 0);
  return csrn_host_end(ctx, A, status ? status : csrn_host_run(ctx, &pass));
}

csrn_status csrn_host_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                       double max_fraction, uint8_t *mask) {
  csrn_context *cpu = ctx->on_host;
  if (csrn_host_is_empty(A))
    return cpu->ops->highly_expressed(cpu, A, axis, max_fraction, mask);
  const bool rows = axis == CSRN_PER_ROW;
  const size_t n = static_cast<size_t>(A->n_cols), bytes = n * (rows ? 2 : sizeof(double));
  void *room = csrn_scratch_allocate(ctx, bytes); /* marks of long rows, or totals */
  if (!room)
    return CSRN_OUT_OF_MEMORY;
  const unsigned columns = csrn_cuda_bit(CSRN_CUDA_COLUMNS) | csrn_cuda_bit(CSRN_CUDA_TOTALS);
  csrn_status status =
      csrn_host_open(ctx, A, CSRN_NONE, rows ? 1 : 1 + CSRN_HOST_COLUMN_PASSES,
                     rows ? 1 : 1 + CSRN_HOST_COLUMN_INDICES, rows ? csrn_cuda_bit(CSRN_CUDA_MASK) : columns);
  if (!status && rows) {
    status = csrn_host_mark_columns(ctx, A, max_fraction, mask, static_cast<uint8_t *>(room));
  } else if (!status) {
    auto *totals = static_cast<double *>(room);
    status = csrn_host_run_column_sums(ctx, A, nullptr, totals, CSRN_F64);
    status = status ? status : csrn_host_mark_rows(ctx, A, max_fraction, totals, mask);
  }
  csrn_scratch_release(ctx, room, bytes);
  return csrn_host_end(ctx, A, status);
}
