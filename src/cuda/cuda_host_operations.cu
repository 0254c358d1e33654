/*
 * The operations on matrices in host memory as passes of chunks: see cuda_host.h. Each chunk goes
 * through the same kernels as a matrix on the device. Between the passes the host does what is
 * O(rows) or O(columns), with the code of the CPU backend, so that the bits are the same: target,
 * factors, report; and the totals of rows that are longer than a chunk.
 */
#include "cuda_elements.h"
#include "cuda_host.h"
#include "cuda_rows.h"

#include <cmath>
#include <cstring>

namespace {

/* The CPU's part of the context. */
csrn_context *cpu_of(csrn_context *ctx, csrn_status *status) {
  return csrn_context_on_host(ctx, status);
}

/* Nothing to send: the CPU is done at once. */
bool is_empty(const csrn_csr *A) {
  return A->n_rows == 0 || A->n_cols == 0 || csrn_cpu_offset(A, A->n_rows) == csrn_cpu_offset(A, 0);
}

/* Row `row` alone. */
csrn_csr one_row(const csrn_csr *A, int64_t row) {
  csrn_csr view = *A;
  view.indptr =
      static_cast<const char *>(A->indptr) + static_cast<size_t>(row) * csrn_dtype_size(A->indptr_type);
  view.n_rows = 1;
  return view;
}

/* Ends an operation; an index that is no column is named as the CPU would. */
csrn_status close(csrn_context *ctx, const csrn_csr *A, csrn_status status) {
  const bool ran = status == CSRN_OK;
  status = csrn_host_close(ctx, status);
  if (ran && status == CSRN_INVALID_MATRIX) {
    const csrn_status found = ctx->on_host->ops->check_indices(ctx->on_host, A);
    status = found ? found : status;
  }
  return status;
}

void *slot_of(const csrn_context *ctx, csrn_cuda_slot slot) {
  return csrn_cuda_slot_of(ctx, slot);
}

/* ---- Row sums ------------------------------------------------------------------------- */

struct row_sums {
  const csrn_csr *A;
  const uint8_t *excluded; /* host; NULL: none */
  const uint8_t *excluded_on_device;
  void *sums; /* host */
  csrn_dtype type;
};

csrn_status sum_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const row_sums *>(arg);
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE);
  return status
             ? status
             : csrn_cuda_row_sums(ctx, &chunk->A, job->excluded_on_device, chunk->row_out, job->type, false);
}

csrn_status sum_long_row(csrn_context *ctx, int64_t row, const void *arg) {
  const auto *job = static_cast<const row_sums *>(arg);
  const csrn_csr A = one_row(job->A, row);
  return ctx->on_host->ops->axis_sum(
      ctx->on_host, &A, CSRN_PER_ROW, job->excluded,
      static_cast<char *>(job->sums) + static_cast<size_t>(row) * sizeof(double), job->type);
}

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

csrn_status run_row_sums(csrn_context *ctx, const row_sums *job) {
  const csrn_csr empty = empty_row(job->A);
  double sum;
  const csrn_status status =
      ctx->on_host->ops->axis_sum(ctx->on_host, &empty, CSRN_PER_ROW, job->excluded, &sum, job->type);
  if (status)
    return status;
  csrn_host_pass pass = {};
  pass.data = true;
  pass.indices = job->excluded != nullptr;
  pass.row_out = job->sums;
  pass.row_out_size = sizeof(double);
  pass.work = sum_chunk;
  pass.long_row = sum_long_row;
  pass.arg = job;
  return csrn_host_run(ctx, &pass);
}

/* ---- Column sums ----------------------------------------------------------------------- */

struct column_sums_step {
  csrn_columns_step step;
  bool narrow, masked;
};

csrn_status add_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const column_sums_step *>(arg);
  const csrn_status status = csrn_cuda_continue(ctx);
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

enum { COLUMN_PASSES = 3, COLUMN_INDICES = 2 }; /* of reals that are no counts */

bool is_real(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

/* To sums[n_cols] in host memory, within an operation that is open with CSRN_CUDA_COLUMNS and _TOTALS. */
csrn_status run_column_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded_rows, void *sums,
                            csrn_dtype type) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  void *on_device = slot_of(ctx, CSRN_CUDA_TOTALS);
  csrn_status status = csrn_cuda_begin(ctx, nullptr, nullptr, CSRN_NONE);
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
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE);
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

/* Columns where an entry exceeds its fraction, to mask[n_cols] in host memory; room: [2 * n_cols]. */
csrn_status mark_columns(csrn_context *ctx, const csrn_csr *A, double max_fraction, uint8_t *mask,
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

csrn_status mark_rows_of_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const marks *>(arg);
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE);
  return status ? status
                : csrn_cuda_mark_rows(ctx, &chunk->A, job->max_fraction,
                                      static_cast<uint8_t *>(chunk->row_out), job->totals);
}

/* Rows where an entry exceeds its fraction of totals[n_cols], to mask[n_rows], all in host memory. */
csrn_status mark_rows(csrn_context *ctx, const csrn_csr *A, double max_fraction, const double *totals,
                      uint8_t *mask) {
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
  const csrn_status status = csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE);
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

/* ---- Normalization -------------------------------------------------------------------------- */

struct normalization {
  csrn_context *ctx;
  const csrn_csr *A;
  const csrn_normalize_plan *plan;
  bool rows;
  int64_t n_cells, n_genes;
  /* In one piece of host memory: */
  double *totals;     /* [n_cells] */
  void *factors;      /* [n_cells] of the output type */
  uint8_t *mask;      /* [n_genes] */
  uint8_t *room;      /* [2 * n_genes] */
  uint8_t *no_values; /* [n_cells + 1]: an indptr of rows without values */
  void *memory;
  size_t bytes;
  bool excludes;
  double target;
};

bool has_given_totals(const normalization *n) {
  return n->plan->totals != nullptr;
}

bool is_fused(const normalization *n) {
  return n->rows && !has_given_totals(n) && n->plan->options.target == CSRN_TARGET_FIXED;
}

csrn_status take_memory(normalization *n) {
  const size_t cells = static_cast<size_t>(n->n_cells), genes = static_cast<size_t>(n->n_genes);
  n->bytes = cells * 2 * sizeof(double) + genes * 3 + cells + 1;
  n->memory = csrn_scratch_allocate(n->ctx, n->bytes);
  if (!n->memory)
    return CSRN_OUT_OF_MEMORY;
  n->totals = static_cast<double *>(n->memory);
  n->factors = n->totals + cells;
  n->mask = reinterpret_cast<uint8_t *>(n->totals + 2 * cells);
  n->room = n->mask + genes;
  n->no_values = n->room + 2 * genes;
  memset(n->totals, 0, cells * sizeof(double));
  memset(n->mask, 0, genes);
  memset(n->no_values, 0, cells + 1);
  return CSRN_OK;
}

/* How many passes there are at most, and how many of them need the indices. */
csrn_status open(const normalization *n) {
  const bool sums = !has_given_totals(n) && !is_fused(n);
  unsigned slots = csrn_cuda_bit(CSRN_CUDA_MASK) | csrn_cuda_bit(CSRN_CUDA_FACTORS);
  int passes = 1 + sums, indices = 0;
  if (n->excludes) {
    passes++;
    indices = 2;
  }
  if (!n->rows) {
    slots |= csrn_cuda_bit(CSRN_CUDA_TOTALS) | csrn_cuda_bit(CSRN_CUDA_COLUMNS);
    passes += sums ? COLUMN_PASSES : 0;
    indices = passes;
  }
  return csrn_host_open(n->ctx, n->A, n->plan->out_type, passes, indices, slots);
}

csrn_status find_target(normalization *n) {
  csrn_context *cpu = n->ctx->on_host;
  if (has_given_totals(n)) {
    n->target = *n->plan->target;
    return CSRN_OK;
  }
  n->target = n->plan->options.target_sum;
  if (n->plan->options.target == CSRN_TARGET_FIXED)
    return CSRN_OK;
  return n->plan->options.target == CSRN_TARGET_MEAN
             ? csrn_cpu_mean(cpu, n->totals, n->n_cells, &n->target)
             : csrn_cpu_median(cpu, n->totals, n->n_cells, &n->target);
}

/* Factors and report, as the CPU finds them for cells without values that have these totals. */
csrn_status find_factors(normalization *n, csrn_normalize_report *report) {
  const csrn_csr no_values = {n->n_cells, 1,       0,       n->no_values, n->no_values,
                              n->totals,  CSRN_U8, CSRN_U8, CSRN_F64};
  csrn_normalize_plan plan = *n->plan;
  plan.options.axis = CSRN_PER_ROW;
  plan.options.exclude_highly_expressed = 0;
  plan.options.excluded = nullptr;
  plan.totals = n->totals;
  plan.target = &n->target;
  plan.out = n->room;
  plan.factors = n->factors;
  plan.report = report;
  const csrn_status status = n->ctx->on_host->ops->normalize(n->ctx->on_host, &no_values, &plan);
  for (int64_t g = 0; g < n->n_genes; g++)
    report->n_excluded += n->mask[g] != 0;
  return status;
}

/* A chunk of rows whose totals are known, or are taken first. */
struct division {
  const normalization *n;
  row_sums sums;
  const double *target; /* on the device */
};

csrn_status divide_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg) {
  const auto *job = static_cast<const division *>(arg);
  const csrn_normalize_options *options = &job->n->plan->options;
  const bool sums = is_fused(job->n) && !chunk->is_part;
  csrn_normalize_plan plan = *job->n->plan;
  plan.out = chunk->out;
  plan.factors = nullptr;
  const csrn_normalize_job rows = {
      &plan, csrn_cuda_log_how(CSRN_CUDA_DIVIDE, options->log1p != 0, options->log_base), job->target,
      static_cast<const double *>(sums ? chunk->row_out : chunk->row_in), nullptr};
  csrn_status status = sums ? sum_chunk(ctx, chunk, &job->sums) : CSRN_OK;
  status = status ? status : csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE);
  if (status)
    return status;
  return plan.out_type == CSRN_F32 ? csrn_cuda_normalize_rows_f32(ctx, &chunk->A, &rows)
                                   : csrn_cuda_normalize_rows_f64(ctx, &chunk->A, &rows);
}

csrn_status sum_long_row_of_division(csrn_context *ctx, int64_t row, const void *arg) {
  return sum_long_row(ctx, row, &static_cast<const division *>(arg)->sums);
}

row_sums sums_of(const normalization *n) {
  const uint8_t *excluded = n->excludes ? n->mask : nullptr;
  return {n->A, excluded, excluded ? static_cast<const uint8_t *>(slot_of(n->ctx, CSRN_CUDA_MASK)) : nullptr,
          n->totals, CSRN_F64};
}

csrn_status divide_rows(normalization *n) {
  auto *target = static_cast<double *>(slot_of(n->ctx, CSRN_CUDA_FACTORS));
  const division job = {n, sums_of(n), target};
  csrn_host_pass pass = {};
  pass.data = true;
  pass.indices = is_fused(n) && n->excludes;
  pass.out = n->plan->out;
  pass.row_in = n->totals;
  pass.row_in_size = sizeof(double);
  pass.row_out = is_fused(n) ? n->totals : nullptr;
  pass.row_out_size = sizeof(double);
  pass.work = divide_chunk;
  pass.long_row = is_fused(n) ? sum_long_row_of_division : nullptr;
  pass.sends_parts = true;
  pass.arg = &job;
  csrn_status status = csrn_host_copy(n->ctx, target, &n->target, sizeof n->target);
  if (!status && is_fused(n)) {
    const csrn_csr empty = empty_row(n->A);
    double sum;
    status = n->ctx->on_host->ops->axis_sum(n->ctx->on_host, &empty, CSRN_PER_ROW, job.sums.excluded, &sum,
                                            CSRN_F64);
  }
  return status ? status : csrn_host_run(n->ctx, &pass);
}

csrn_status normalize_rows(normalization *n) {
  const csrn_normalize_options *options = &n->plan->options;
  csrn_status status = CSRN_OK;
  if (n->excludes) {
    status = mark_columns(n->ctx, n->A, options->max_fraction, n->mask, n->room);
    status = status ? status
                    : csrn_host_copy(n->ctx, slot_of(n->ctx, CSRN_CUDA_MASK), n->mask,
                                     static_cast<size_t>(n->n_genes));
  }
  if (!status && !has_given_totals(n) && !is_fused(n)) {
    const row_sums job = sums_of(n);
    status = run_row_sums(n->ctx, &job);
  }
  status = status ? status : find_target(n);
  return status ? status : divide_rows(n);
}

csrn_status column_totals(normalization *n) {
  csrn_status status = run_column_sums(n->ctx, n->A, nullptr, n->totals, CSRN_F64);
  if (!status && n->excludes) {
    status = mark_rows(n->ctx, n->A, n->plan->options.max_fraction, n->totals, n->mask);
    status = status ? status : run_column_sums(n->ctx, n->A, n->mask, n->totals, CSRN_F64);
  }
  return status;
}

/* A factor of zero divides as one. */
template <typename O> void replace_zeros(void *divisors, int64_t n) {
  O *values = static_cast<O *>(divisors);
  for (int64_t i = 0; i < n; i++)
    values[i] = values[i] == O(0) ? O(1) : values[i];
}

csrn_status normalize_columns(normalization *n) {
  const csrn_normalize_options *options = &n->plan->options;
  const csrn_dtype type = n->plan->out_type;
  void *divisors = slot_of(n->ctx, CSRN_CUDA_FACTORS);
  csrn_normalize_report report;
  csrn_status status = has_given_totals(n) ? CSRN_OK : column_totals(n);
  status = status ? status : find_target(n);
  status = status ? status : find_factors(n, &report);
  if (status)
    return status;
  if (type == CSRN_F32)
    replace_zeros<float>(n->factors, n->n_cells);
  else
    replace_zeros<double>(n->factors, n->n_cells);
  status =
      csrn_host_copy(n->ctx, divisors, n->factors, static_cast<size_t>(n->n_cells) * csrn_dtype_size(type));
  elements job = {};
  job.out_type = type;
  job.factors = divisors;
  job.how = csrn_cuda_log_how(CSRN_CUDA_DIVIDE, options->log1p != 0, options->log_base);
  csrn_host_pass pass = pass_of_elements(&job, n->plan->out);
  pass.indices = true;
  pass.work = divide_columns_of_chunk;
  return status ? status : csrn_host_run(n->ctx, &pass);
}

/* What the caller gets beside the values. */
csrn_status write_results(normalization *n) {
  const csrn_normalize_plan *plan = n->plan;
  csrn_normalize_report report;
  const csrn_status status = find_factors(n, &report);
  if (status)
    return status;
  if (plan->factors)
    memcpy(plan->factors, n->factors, static_cast<size_t>(n->n_cells) * csrn_dtype_size(plan->out_type));
  if (plan->report)
    *plan->report = report;
  if (!plan->totals && plan->options.excluded)
    memcpy(plan->options.excluded, n->mask, static_cast<size_t>(n->n_genes));
  return CSRN_OK;
}

} // namespace

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
  if (is_empty(A))
    return cpu->ops->axis_sum(cpu, A, axis, excluded, sums, sums_type);
  const bool rows = axis == CSRN_PER_ROW;
  const unsigned columns = csrn_cuda_bit(CSRN_CUDA_COLUMNS) | csrn_cuda_bit(CSRN_CUDA_TOTALS);
  const bool counts = rows || !is_real(A->data_type);
  csrn_status status = csrn_host_open(ctx, A, CSRN_NONE, counts ? 1 : COLUMN_PASSES,
                                      rows     ? excluded != nullptr
                                      : counts ? 1
                                               : COLUMN_INDICES,
                                      rows ? csrn_cuda_bit(CSRN_CUDA_MASK) : columns);
  if (!status && rows) {
    auto *on_device = static_cast<uint8_t *>(slot_of(ctx, CSRN_CUDA_MASK));
    const row_sums job = {A, excluded, excluded ? on_device : nullptr, sums, sums_type};
    if (excluded)
      status = csrn_host_copy(ctx, on_device, excluded, static_cast<size_t>(A->n_cols));
    status = status ? status : run_row_sums(ctx, &job);
  } else if (!status) {
    status = run_column_sums(ctx, A, excluded, sums, sums_type);
  }
  return close(ctx, A, status);
}

csrn_status csrn_host_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                 const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                 void *out, csrn_dtype out_type) {
  if (is_empty(A))
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
  return close(ctx, A, status ? status : csrn_host_run(ctx, &pass));
}

csrn_status csrn_host_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                            csrn_dtype out_type) {
  if (is_empty(A))
    return CSRN_OK;
  elements job = {};
  job.base = base;
  job.out_type = out_type;
  csrn_host_pass pass = pass_of_elements(&job, out);
  pass.work = log_chunk;
  const csrn_status status = csrn_host_open(ctx, A, out_type, 1, 0, 0);
  return close(ctx, A, status ? status : csrn_host_run(ctx, &pass));
}

csrn_status csrn_host_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                       double max_fraction, uint8_t *mask) {
  csrn_context *cpu = ctx->on_host;
  if (is_empty(A))
    return cpu->ops->highly_expressed(cpu, A, axis, max_fraction, mask);
  const bool rows = axis == CSRN_PER_ROW;
  const size_t n = static_cast<size_t>(A->n_cols), bytes = n * (rows ? 2 : sizeof(double));
  void *room = csrn_scratch_allocate(ctx, bytes); /* marks of long rows, or totals */
  if (!room)
    return CSRN_OUT_OF_MEMORY;
  const unsigned columns = csrn_cuda_bit(CSRN_CUDA_COLUMNS) | csrn_cuda_bit(CSRN_CUDA_TOTALS);
  csrn_status status =
      csrn_host_open(ctx, A, CSRN_NONE, rows ? 1 : 1 + COLUMN_PASSES, rows ? 1 : 1 + COLUMN_INDICES,
                     rows ? csrn_cuda_bit(CSRN_CUDA_MASK) : columns);
  if (!status && rows) {
    status = mark_columns(ctx, A, max_fraction, mask, static_cast<uint8_t *>(room));
  } else if (!status) {
    auto *totals = static_cast<double *>(room);
    status = run_column_sums(ctx, A, nullptr, totals, CSRN_F64);
    status = status ? status : mark_rows(ctx, A, max_fraction, totals, mask);
  }
  csrn_scratch_release(ctx, room, bytes);
  return close(ctx, A, status);
}

csrn_status csrn_host_normalize(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan) {
  csrn_context *cpu = ctx->on_host;
  if (is_empty(A))
    return cpu->ops->normalize(cpu, A, plan);
  normalization n = {};
  n.ctx = ctx;
  n.A = A;
  n.plan = plan;
  n.rows = plan->options.axis == CSRN_PER_ROW;
  n.n_cells = n.rows ? A->n_rows : A->n_cols;
  n.n_genes = n.rows ? A->n_cols : A->n_rows;
  n.excludes = !plan->totals && plan->options.exclude_highly_expressed;
  csrn_status status = take_memory(&n);
  status = status ? status : open(&n);
  if (!status && plan->totals)
    memcpy(n.totals, plan->totals, static_cast<size_t>(n.n_cells) * sizeof(double));
  if (!status)
    status = n.rows ? normalize_rows(&n) : normalize_columns(&n);
  status = close(ctx, A, status);
  status = status ? status : write_results(&n);
  csrn_scratch_release(ctx, n.memory, n.bytes);
  return status;
}
