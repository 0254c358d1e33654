/*
 * Normalization: which kernels, in which order. A fixed target needs one walk, that sums a
 * row and divides it while it is in shared memory. Median and mean need the totals of all
 * cells first, and gene exclusion a walk that marks the genes before the totals are taken
 * without them. Whatever one kernel finds out for the next stays on the device.
 */
#include "cuda_each.h"
#include "cuda_elements.h"
#include "cuda_rows.h"

namespace {

struct clear_mark {
  csrn_device_matrix A;
  uint8_t *mask;
  __device__ void operator()(int64_t i) const {
    if (A.may_run())
      mask[i] = 0;
  }
};

/* Factors and divisors of cells that are columns, from their totals. */
template <typename O> struct find_divisor {
  csrn_device_matrix A;
  csrn_cell<O> cell;
  const double *totals;
  O *divisors;
  __device__ void operator()(int64_t c) const {
    if (A.may_run())
      divisors[c] = cell.divisor(A.control, c, totals[c], cell.find_target(), true);
  }
};

__global__ void write_report_kernel(const csrn_cuda_control *control, const double *target,
                                    double fixed_target, csrn_normalize_report *report) {
  csrn_after_previous();
  const csrn_cuda_now &now = control->now;
  const bool bad = (now.flags & (CSRN_FLAG_INVALID_MATRIX | CSRN_FLAG_INVALID_COLUMN)) != 0;
  report->target = target ? *target : fixed_target;
  report->n_zero = static_cast<int64_t>(now.n_zero);
  report->n_negative = static_cast<int64_t>(now.n_negative);
  report->n_nonfinite = static_cast<int64_t>(now.n_nonfinite);
  report->n_excluded = static_cast<int64_t>(now.n_excluded);
  report->flags = (bad ? CSRN_FLAG_INVALID_MATRIX : 0) |
                  static_cast<int64_t>(now.flags & (CSRN_FLAG_OVERFLOW | CSRN_FLAG_INVALID_TARGET));
}

/* One normalization: what is known to the host of it. */
struct normalization {
  csrn_context *ctx;
  const csrn_csr *A;
  const csrn_normalize_plan *plan;
  int64_t n_cells, n_genes;
  csrn_normalize_job job;
  double *totals; /* scratch */
  uint8_t *mask;  /* the caller's or scratch; NULL without exclusion */
};

bool by_rows(const normalization &n) {
  return n.plan->options.axis == CSRN_PER_ROW;
}

/* What the call needs is allocated before anything is written. */
csrn_status allocate(normalization *n) {
  const csrn_normalize_options *options = &n->plan->options;
  const bool given = n->plan->totals != nullptr, fixed = options->target == CSRN_TARGET_FIXED;
  const bool keeps_totals = !given && (!by_rows(*n) || !fixed);
  const bool excludes = !given && options->exclude_highly_expressed;
  unsigned slots = csrn_cuda_bit(CSRN_CUDA_LISTS), of_cells = 0;
  if (keeps_totals)
    of_cells |= csrn_cuda_bit(CSRN_CUDA_TOTALS);
  if (keeps_totals && !fixed)
    of_cells |= csrn_cuda_bit(options->target == CSRN_TARGET_MEAN ? CSRN_CUDA_PIECES : CSRN_CUDA_CANDIDATES);
  if (!by_rows(*n))
    slots |= csrn_cuda_bit(CSRN_CUDA_FACTORS) | (given ? 0 : csrn_cuda_bit(CSRN_CUDA_COLUMNS));
  if (excludes)
    slots |= csrn_cuda_bit(CSRN_CUDA_BITS) | (options->excluded ? 0 : csrn_cuda_bit(CSRN_CUDA_MASK));
  csrn_status status = csrn_cuda_need_for(n->ctx, slots, n->A);
  status = status ? status : csrn_cuda_need(n->ctx, of_cells, n->n_cells, 0, 0);
  if (keeps_totals)
    n->totals = static_cast<double *>(csrn_cuda_slot_of(n->ctx, CSRN_CUDA_TOTALS));
  if (excludes)
    n->mask = options->excluded ? options->excluded
                                : static_cast<uint8_t *>(csrn_cuda_slot_of(n->ctx, CSRN_CUDA_MASK));
  return status;
}

/* The target from n->totals. */
csrn_status find_target(normalization *n) {
  if (n->plan->options.target == CSRN_TARGET_FIXED)
    return CSRN_OK;
  n->job.target = &csrn_cuda_state_of(n->ctx)->control->target;
  return n->plan->options.target == CSRN_TARGET_MEAN
             ? csrn_cuda_mean(n->ctx, CSRN_OK, n->totals, n->n_cells)
             : csrn_cuda_select_median(n->ctx, CSRN_OK, n->totals, n->n_cells, nullptr);
}

csrn_status clear_mask(const normalization &n, uint8_t *mask) {
  return csrn_cuda_each(n.ctx, CSRN_OK, n.n_genes, clear_mark{csrn_device_view(n.ctx, n.A), mask});
}

/* The marks as bits, and their number for the report. */
csrn_status pack_marks(normalization *n, csrn_status status) {
  return csrn_cuda_pack_mask(n->ctx, status, n->mask, n->n_genes, true, &n->job.excluded);
}

csrn_status normalize_rows(normalization *n) {
  const csrn_normalize_options *options = &n->plan->options;
  csrn_status status = CSRN_OK;
  if (n->mask) {
    status = csrn_cuda_mark_columns(n->ctx, n->A, options->max_fraction, n->mask, nullptr);
    status = pack_marks(n, status);
  }
  if (!status && n->totals) {
    status = csrn_cuda_row_sums(n->ctx, n->A, n->job.excluded, n->totals, CSRN_F64, n->mask != nullptr);
    n->job.totals = n->totals;
    status = status ? status : find_target(n);
  }
  if (status)
    return status;
  n->job.backwards = (n->mask != nullptr) != (n->totals != nullptr); /* after one pass, not after two */
  return n->plan->out_type == CSRN_F32 ? csrn_cuda_normalize_rows_f32(n->ctx, n->A, &n->job)
                                       : csrn_cuda_normalize_rows_f64(n->ctx, n->A, &n->job);
}

csrn_status column_totals(normalization *n) {
  const csrn_normalize_options *options = &n->plan->options;
  csrn_status status = csrn_cuda_column_sums(n->ctx, n->A, nullptr, n->totals, CSRN_F64);
  if (!status && n->mask) {
    status = csrn_cuda_mark_rows(n->ctx, n->A, options->max_fraction, n->mask, n->totals);
    status = pack_marks(n, status);
    status = status ? status : csrn_cuda_column_sums(n->ctx, n->A, n->mask, n->totals, CSRN_F64);
  }
  n->job.totals = n->totals;
  return status ? status : find_target(n);
}

template <typename O> csrn_status divide_columns(normalization *n) {
  auto *divisors = static_cast<O *>(csrn_cuda_slot_of(n->ctx, CSRN_CUDA_FACTORS));
  const csrn_cell<O> cell = {n->job.target, n->plan->options.target_sum, static_cast<O *>(n->plan->factors)};
  const find_divisor<O> find = {csrn_device_view(n->ctx, n->A), cell, n->job.totals, divisors};
  const csrn_status status = csrn_cuda_each(n->ctx, CSRN_OK, n->n_cells, find);
  return status
             ? status
             : csrn_cuda_divide_columns(n->ctx, n->A, n->job.how, divisors, n->plan->out, n->plan->out_type);
}

csrn_status normalize_columns(normalization *n) {
  if (!n->job.totals) {
    const csrn_status status = column_totals(n);
    if (status)
      return status;
  }
  return n->plan->out_type == CSRN_F32 ? divide_columns<float>(n) : divide_columns<double>(n);
}

} // namespace

csrn_status csrn_cuda_normalize(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan) {
  const csrn_normalize_options *options = &plan->options;
  const bool rows = options->axis == CSRN_PER_ROW;
  normalization n = {ctx, A,       plan,   rows ? A->n_rows : A->n_cols, rows ? A->n_cols : A->n_rows,
                     {},  nullptr, nullptr};
  n.job = {plan,         csrn_cuda_log_how(CSRN_CUDA_DIVIDE, options->log1p != 0, options->log_base),
           plan->target, plan->totals,
           nullptr,      false};
  csrn_status status = allocate(&n);
  uint8_t *mask = n.mask ? n.mask : options->excluded;
  if (!status)
    status = csrn_cuda_begin(ctx, A, plan->target, plan->out_type, true);
  if (!status && mask)
    status = clear_mask(n, mask);
  if (!status)
    status = rows ? normalize_rows(&n) : normalize_columns(&n);
  if (!status && plan->report)
    status = csrn_cuda_launch(ctx, status, {1, 1, 0}, write_report_kernel, csrn_cuda_state_of(ctx)->control,
                              n.job.target, options->target_sum, plan->report);
  return status;
}

csrn_status csrn_cuda_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                       double max_fraction, uint8_t *mask) {
  const bool rows = axis == CSRN_PER_ROW;
  const normalization n = {ctx, A,       nullptr, rows ? A->n_rows : A->n_cols, rows ? A->n_cols : A->n_rows,
                           {},  nullptr, mask};
  const unsigned columns = csrn_cuda_bit(CSRN_CUDA_TOTALS) | csrn_cuda_bit(CSRN_CUDA_COLUMNS);
  csrn_status status = csrn_cuda_need_for(ctx, csrn_cuda_bit(CSRN_CUDA_LISTS) | (rows ? 0 : columns), A);
  auto *totals = static_cast<double *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_TOTALS));
  status = status ? status : csrn_cuda_begin(ctx, A, nullptr, CSRN_NONE, true);
  status = status ? status : clear_mask(n, mask);
  if (rows)
    return status ? status : csrn_cuda_mark_columns(ctx, A, max_fraction, mask, nullptr);
  status = status ? status : csrn_cuda_column_sums(ctx, A, nullptr, totals, CSRN_F64);
  return status ? status : csrn_cuda_mark_rows(ctx, A, max_fraction, mask, totals);
}

csrn_status csrn_cuda_median_positive(csrn_context *ctx, const double *values, int64_t n, double *median) {
  csrn_status status = csrn_cuda_need(ctx, csrn_cuda_bit(CSRN_CUDA_CANDIDATES), n, 0, 0);
  status = status ? status : csrn_cuda_begin(ctx, nullptr, nullptr, CSRN_NONE, false);
  return csrn_cuda_select_median(ctx, status, values, n, median);
}
