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

#include <type_traits>

/* ---- Sums --------------------------------------------------------------------- */

/* Bit i, which is not negative. */
template <typename I> __device__ __forceinline__ bool has_bit(const uint32_t *bits, I i) {
  const auto at = static_cast<std::make_unsigned_t<I>>(i);
  return bits[at / 32] >> (at % 32) & 1;
}

/* sums[row] = total. */
template <typename Type, bool HAS_MASK> struct csrn_sum_rows {
  using T = Type;
  static constexpr bool SUMS = true, FINISHES = false, WRITES = false, MASKED = HAS_MASK, GATED = false;
  struct input {};
  struct row {};
  const T *data;
  const uint32_t *excluded; /* [n_cols] bits, if HAS_MASK */
  void *sums;               /* [n_rows] of sums_type */
  csrn_dtype sums_type;

  template <typename I> __device__ __forceinline__ bool is_excluded(I c) const {
    return has_bit(excluded, c);
  }
  __device__ __forceinline__ input fetch(int64_t) const {
    return {};
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &A, int64_t r,
                                       typename csrn_sum_of<T>::total total, const input &,
                                       bool first) const {
    if (first)
      csrn_total<T>::store(A, total, sums_type, sums, r);
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

  __device__ __forceinline__ double find_target() const {
    return target ? *target : fixed_target;
  }
  /* The divisor of cell r with the target t; where `first`, its factor is written and counted for the report.
   */
  __device__ __forceinline__ O divisor(csrn_cuda_control *control, int64_t r, double total, double t,
                                       bool first) const {
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
 * columns if HAS_MASK, where the target is fixed; or with given ones. */
template <typename Type, typename Out, bool GIVEN, bool HAS_MASK> struct csrn_normalize_rows {
  using T = Type;
  using C = Out;
  using O = Out;
  static constexpr bool SUMS = !GIVEN, FINISHES = true, WRITES = true, MASKED = HAS_MASK, GATED = false;
  struct input {
    double target, total;
  };
  using row = csrn_row_scaler<O, O>;
  const T *data;
  O *out;
  csrn_cell<O> cell;
  csrn_cuda_how how;
  const double *totals;     /* [n_rows], if GIVEN */
  const uint32_t *excluded; /* [n_cols] bits, if HAS_MASK */

  template <typename I> __device__ __forceinline__ bool is_excluded(I c) const {
    return has_bit(excluded, c);
  }
  __device__ __forceinline__ input fetch(int64_t r) const {
    if constexpr (GIVEN)
      return {cell.find_target(), totals[r]};
    else
      return {cell.fixed_target, 0.0};
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &A, int64_t r,
                                       typename csrn_sum_of<T>::total sum, const input &its,
                                       bool first) const {
    const double total = GIVEN ? its.total : csrn_total<T>::as_double(A, sum);
    row result;
    result.scaler.set(how, cell.divisor(A.control, r, total, its.target, first));
    return result;
  }
};

/* What the kernels of a normalization share, whatever the types. */
struct csrn_normalize_job {
  const csrn_normalize_plan *plan;
  csrn_cuda_how how;
  const double *target;     /* device memory, or NULL for a fixed one */
  const double *totals;     /* device memory, or NULL: taken in the walk */
  const uint32_t *excluded; /* bits of columns to leave out of the totals, or NULL */
  bool backwards;           /* see csrn_cuda_walk_rows() */
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
  return csrn_cuda_walk_rows(ctx, A, op, job->backwards);
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
