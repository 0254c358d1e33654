/*
 * Normalization of matrices in host memory: which passes (cuda_host_operations.cu), and what the
 * CPU finds between them: target, factors, report.
 */
#include "cuda_host.h"
#include "cuda_rows.h"

#include <cstring>

namespace {

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
  const uint32_t *bits; /* of the mask, on the device; NULL without exclusion of columns */
  double target;
};

bool has_given_totals(const normalization *n) {
  return n->plan->totals != nullptr;
}

bool is_fused(const normalization *n) {
  return n->rows && !has_given_totals(n) && n->plan->options.target == CSRN_TARGET_FIXED;
}

csrn_status take_memory(normalization *n) {
  const size_t cells = static_cast<size_t>(n->n_cells);
  const size_t genes = n->excludes ? static_cast<size_t>(n->n_genes) : 0;
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
  unsigned slots = 0;
  int passes = 1 + sums, indices = 0;
  if (n->excludes) {
    slots = csrn_cuda_bit(CSRN_CUDA_MASK) | csrn_cuda_bit(CSRN_CUDA_BITS);
    passes++;
    indices = 2;
  }
  if (!n->rows) {
    slots |=
        csrn_cuda_bit(CSRN_CUDA_TOTALS) | csrn_cuda_bit(CSRN_CUDA_COLUMNS) | csrn_cuda_bit(CSRN_CUDA_FACTORS);
    passes += sums ? CSRN_HOST_COLUMN_PASSES : 0;
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
  for (int64_t g = 0; n->excludes && g < n->n_genes; g++)
    report->n_excluded += n->mask[g] != 0;
  return status;
}

/* A chunk of rows whose totals are known, or are taken first. */
struct division {
  const normalization *n;
  csrn_host_row_sums sums;
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
      &plan,       csrn_cuda_log_how(CSRN_CUDA_DIVIDE, options->log1p != 0, options->log_base),
      job->target, static_cast<const double *>(sums ? chunk->row_out : chunk->row_in),
      nullptr,     sums};
  csrn_status status = sums ? csrn_host_sum_chunk(ctx, chunk, &job->sums) : CSRN_OK;
  status = status ? status : csrn_cuda_begin(ctx, &chunk->A, nullptr, CSRN_NONE, true);
  if (status)
    return status;
  return plan.out_type == CSRN_F32 ? csrn_cuda_normalize_rows_f32(ctx, &chunk->A, &rows)
                                   : csrn_cuda_normalize_rows_f64(ctx, &chunk->A, &rows);
}

csrn_status sum_long_row_of_division(csrn_context *ctx, int64_t row, const void *arg) {
  return csrn_host_sum_long_row(ctx, row, &static_cast<const division *>(arg)->sums);
}

csrn_host_row_sums sums_of(const normalization *n) {
  return {n->A, n->excludes ? n->mask : nullptr, n->bits, n->totals, CSRN_F64};
}

csrn_status divide_rows(normalization *n) {
  double *target = &csrn_cuda_state_of(n->ctx)->control->target;
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
  if (!status && is_fused(n))
    status = csrn_host_try_row(n->ctx, &job.sums);
  return status ? status : csrn_host_run(n->ctx, &pass);
}

csrn_status normalize_rows(normalization *n) {
  const csrn_normalize_options *options = &n->plan->options;
  csrn_status status = CSRN_OK;
  if (n->excludes) {
    status = csrn_host_mark_columns(n->ctx, n->A, options->max_fraction, n->mask, n->room);
    status = status ? status : csrn_host_send_mask(n->ctx, n->mask, n->n_genes, &n->bits);
  }
  if (!status && !has_given_totals(n) && !is_fused(n)) {
    const csrn_host_row_sums job = sums_of(n);
    status = csrn_host_run_row_sums(n->ctx, &job);
  }
  status = status ? status : find_target(n);
  return status ? status : divide_rows(n);
}

csrn_status column_totals(normalization *n) {
  csrn_status status = csrn_host_run_column_sums(n->ctx, n->A, nullptr, n->totals, CSRN_F64);
  if (!status && n->excludes) {
    status = csrn_host_mark_rows(n->ctx, n->A, n->plan->options.max_fraction, n->totals, n->mask);
    status = status ? status : csrn_host_run_column_sums(n->ctx, n->A, n->mask, n->totals, CSRN_F64);
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
  void *divisors = csrn_cuda_slot_of(n->ctx, CSRN_CUDA_FACTORS);
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
  const csrn_cuda_how how = csrn_cuda_log_how(CSRN_CUDA_DIVIDE, options->log1p != 0, options->log_base);
  return status ? status : csrn_host_divide_columns(n->ctx, how, divisors, n->plan->out, type);
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
    for (int64_t g = 0; g < n->n_genes; g++)
      plan->options.excluded[g] = n->excludes ? n->mask[g] : 0;
  return CSRN_OK;
}

} // namespace

csrn_status csrn_host_normalize(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan) {
  csrn_context *cpu = ctx->on_host;
  if (csrn_host_is_empty(A))
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
  status = csrn_host_end(ctx, A, status);
  status = status ? status : write_results(&n);
  csrn_scratch_release(ctx, n.memory, n.bytes);
  return status;
}
