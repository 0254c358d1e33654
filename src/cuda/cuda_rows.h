/*
 * The operations of a walk (cuda_walk.h) that sum rows, and those that normalize them. The
 * struct of an operation is instantiated for each type in cuda_sums.cu, cuda_mark.cu and
 * cuda_normalize_*.cu, so that they compile side by side.
 */
#ifndef CSRN_CUDA_ROWS_H
#define CSRN_CUDA_ROWS_H

#include "cuda_scale.h"
#include "cuda_select.h"
#include "cuda_walk.h"

/* ---- Sums --------------------------------------------------------------------- */

/* sums[row] = total; counted for the selection of the median if wanted. */
template <typename Type, bool HAS_MASK> struct csrn_sum_rows {
  using T = Type;
  static constexpr bool SUMS = true, FINISHES = false, MASKED = HAS_MASK, GATED = false;
  struct row {};
  const T *data;
  const uint8_t *excluded; /* [n_cols] or NULL */
  void *sums;              /* [n_rows] of sums_type */
  csrn_dtype sums_type;
  bool notes; /* sums are totals in float64 */

  __device__ __forceinline__ bool is_excluded(int64_t c) const {
    return excluded[c] != 0;
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &A, int64_t r,
                                       typename csrn_sum_of<T>::total total, int64_t, bool first) const {
    if (first) {
      csrn_total<T>::store(A, total, sums_type, sums, r);
      if (notes)
        note_total(A.control, static_cast<double *>(sums)[r]);
    }
    return {};
  }
};

/* ---- Normalization -------------------------------------------------------------- */

/* Counts a total that is not positive and finite for the report. */
inline __device__ __noinline__ void count_total(csrn_cuda_control *control, double total) {
  if (total == 0.0)
    atomicAdd(&control->now.n_zero, 1ULL);
  if (total < 0.0)
    atomicAdd(&control->now.n_negative, 1ULL);
  if (!isfinite(total))
    atomicAdd(&control->now.n_nonfinite, 1ULL);
}

/* What csrn_normalize_total() and _with() do to a cell whose total is known. */
template <typename O> struct csrn_cell {
  const double *target; /* device memory; NULL: fixed_target */
  double fixed_target;
  O *factors; /* [cells] or NULL */

  /* The divisor of cell r; where `first`, its factor is written and counted for the report. */
  __device__ __forceinline__ O divisor(csrn_cuda_control *control, int64_t r, double total,
                                       bool first) const {
    const double t = target ? *target : fixed_target;
    O factor = 0;
    if constexpr (sizeof(O) == sizeof(float))
      factor = isnan(t) ? 0.0F : __fdiv_rn(static_cast<float>(total), static_cast<float>(t));
    else
      factor = isnan(t) ? 0.0 : __ddiv_rn(total, t);
    if (first) {
      if (factors)
        factors[r] = factor;
      if (!select_key(total))
        count_total(control, total);
    }
    return factor == O(0) ? O(1) : factor;
  }
};

/* Rows divided by their factors, and the logarithm: with totals taken in the same walk, without excluded
 * columns if HAS_MASK, or with given ones. */
template <typename Type, typename O, bool GIVEN, bool HAS_MASK> struct csrn_normalize_rows {
  using T = Type;
  static constexpr bool SUMS = !GIVEN, FINISHES = true, MASKED = HAS_MASK, GATED = false;
  using row = csrn_row_scaler<O, O>;
  const T *data;
  O *out;
  csrn_cell<O> cell;
  csrn_cuda_how how;
  const double *totals;    /* [n_rows], if GIVEN */
  const uint8_t *excluded; /* [n_cols], if HAS_MASK */

  __device__ __forceinline__ bool is_excluded(int64_t c) const {
    return excluded[c] != 0;
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &A, int64_t r,
                                       typename csrn_sum_of<T>::total sum, int64_t n, bool first) const {
    double total;
    if constexpr (GIVEN)
      total = totals[r];
    else
      total = csrn_total<T>::as_double(A, sum);
    row result;
    result.set(how, cell.divisor(A.control, r, total, first), n);
    return result;
  }
  template <bool WARP>
  __device__ __forceinline__ void finish(const csrn_device_matrix &, const row &scaler, int64_t i, T x,
                                         bool active) const {
    const O y = scaler.template apply<WARP>(how, static_cast<O>(x));
    if (active)
      out[i] = y;
  }
};

/* What the kernels of a normalization share, whatever the types. */
struct csrn_normalize_job {
  const csrn_normalize_plan *plan;
  csrn_cuda_how how;
  const double *target;    /* device memory, or NULL for a fixed one */
  const double *totals;    /* device memory, or NULL: taken in the walk */
  const uint8_t *excluded; /* columns to leave out of the totals, or NULL */
};

csrn_status csrn_cuda_normalize_rows_f32(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_job *job);
csrn_status csrn_cuda_normalize_rows_f64(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_job *job);

template <typename T, typename O, bool GIVEN, bool HAS_MASK>
csrn_status normalize_rows_of(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_job *job) {
  csrn_normalize_rows<T, O, GIVEN, HAS_MASK> op;
  op.data = static_cast<const T *>(A->data);
  op.out = static_cast<O *>(job->plan->out);
  op.cell = {job->target, job->plan->options.target_sum, static_cast<O *>(job->plan->factors)};
  op.how = job->how;
  op.totals = job->totals;
  op.excluded = job->excluded;
  return csrn_cuda_walk_rows(ctx, A, op);
}

template <typename O>
csrn_status csrn_cuda_normalize_rows_to(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_job *job) {
#define CASE(code, T)                                                                                        \
  case code:                                                                                                 \
    return job->totals     ? normalize_rows_of<T, O, true, false>(ctx, A, job)                               \
           : job->excluded ? normalize_rows_of<T, O, false, true>(ctx, A, job)                               \
                           : normalize_rows_of<T, O, false, false>(ctx, A, job);
  switch (A->data_type) {
    CSRN_CUDA_DATA_TYPES(CASE)
  default:
    return CSRN_INVALID_ARGUMENT; /* api.c lets no other type through */
  }
#undef CASE
}

#endif
