/*
 * Operations on elements: scaling by rows or by columns, and log1p alone.
 */
#include "cuda_elements.h"
#include "cuda_scale.h"
#include "cuda_walk.h"

namespace {

/* A factor of the caller's, in the type of the arithmetic. */
struct factor_array {
  const void *values;
  csrn_dtype type;
  bool zero_as_one;

  template <typename C> __device__ __forceinline__ C get(int64_t i) const {
    double factor = type == CSRN_F32 ? static_cast<double>(static_cast<const float *>(values)[i])
                                     : static_cast<const double *>(values)[i];
    if (zero_as_one)
      factor = csrn_divisor_f64(factor);
    return static_cast<C>(factor);
  }
};

/* By row, as a walk. */
template <typename Type, typename Compute, typename Out> struct scale_rows {
  using T = Type;
  using C = Compute;
  using O = Out;
  static constexpr bool SUMS = false, FINISHES = true, WRITES = true, MASKED = false, GATED = false;
  struct input {
    C factor;
  };
  using row = csrn_row_scaler<C, O>;
  const T *data;
  O *out;
  csrn_cuda_how how;
  factor_array factors;

  __device__ __forceinline__ input fetch(int64_t r) const {
    return {factors.get<C>(r)};
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &, int64_t, typename csrn_sum_of<T>::total,
                                       const input &its, int64_t n, bool) const {
    row result;
    result.set(how, its.factor, n);
    return result;
  }
};

/* Without a factor: by packs, a block for every LOG_BLOCK elements. */
enum { LOG_BLOCK = 4096, LOG_THREADS = 128 };

template <typename T, typename C, typename O>
__global__ void __launch_bounds__(LOG_THREADS, (sizeof(C) > 4 ? 640 : 896) / LOG_THREADS)
    log1p_kernel(csrn_walk w, scale_rows<T, C, O> op) {
  if (!w.A.is_sound())
    return;
  const int64_t end = w.A.indptr[w.A.n_rows],
                begin = w.A.indptr[0] + static_cast<int64_t>(blockIdx.x) * LOG_BLOCK;
  if (begin >= end)
    return;
  const int n = end - begin < LOG_BLOCK ? static_cast<int>(end - begin) : LOG_BLOCK;
  finish_row<LOG_THREADS>(w, op, 0, typename csrn_sum_of<T>::total(0), n, false, {C(1)},
                          csrn_packed_row(w, begin, n));
}

/* By column: one element after the other, four of them under way. */
template <typename T, typename C, typename O>
__global__ void __launch_bounds__(CSRN_THREADS)
    scale_columns_kernel(csrn_device_matrix A, const T *data, csrn_cuda_how how, factor_array factors,
                         O *out) {
  constexpr int BATCH = 4;
  if (!A.is_sound())
    return;
  const int64_t end = A.indptr[A.n_rows], step = static_cast<int64_t>(gridDim.x) * CSRN_THREADS * BATCH;
  int64_t base = A.indptr[0] + static_cast<int64_t>(blockIdx.x) * CSRN_THREADS * BATCH + threadIdx.x;
  for (; base < end; base += step) {
    C x[BATCH], factor[BATCH];
    bool takes[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      const int64_t i = base + k * CSRN_THREADS, c = i < end ? A.indices[i] : 0;
      takes[k] = i < end && A.has_column(c);
      x[k] = i < end ? static_cast<C>(data[i]) : C(0);
      factor[k] = takes[k] ? factors.get<C>(c) : C(1);
      if (i < end && !takes[k])
        note_bad_column(A.control, i);
    }
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      const C y = how.step == CSRN_CUDA_DIVIDE ? x[k] / factor[k] : x[k] * factor[k];
      const O result = static_cast<O>(y);
      if (takes[k])
        out[base + k * CSRN_THREADS] = how.log1p ? take_log1p(how, result) : result;
    }
  }
}

template <typename T, typename C, typename O>
csrn_status scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const csrn_cuda_how &how,
                  const factor_array &factors, void *out) {
  const scale_rows<T, C, O> op = {static_cast<const T *>(A->data), static_cast<O *>(out), how, factors};
  if (how.step == CSRN_CUDA_NONE) {
    csrn_walk w = {};
    w.A = csrn_device_view(ctx, A);
    csrn_cuda_place(&w, op);
    return csrn_cuda_launch(ctx, CSRN_OK, {csrn_cuda_blocks(A->nnz, LOG_BLOCK, 0), LOG_THREADS, 0},
                            log1p_kernel<T, C, O>, w, op);
  }
  if (axis == CSRN_PER_ROW)
    return csrn_cuda_walk_rows(ctx, A, op);
  const csrn_launch shape = {
      csrn_cuda_blocks(A->nnz, CSRN_THREADS * 4, csrn_cuda_state_of(ctx)->n_units * 32), CSRN_THREADS, 0};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, scale_columns_kernel<T, C, O>, csrn_device_view(ctx, A),
                          op.data, how, factors, op.out);
}

template <typename C, typename O>
csrn_status scale_any(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const csrn_cuda_how &how,
                      const factor_array &factors, void *out) {
#define CASE(code, T)                                                                                        \
  case code:                                                                                                 \
    return scale<T, C, O>(ctx, A, axis, how, factors, out);
  switch (A->data_type) {
    CSRN_CUDA_DATA_TYPES(CASE)
  default:
    return CSRN_INVALID_ARGUMENT; /* api.c lets no other type through */
  }
#undef CASE
}

csrn_status scale_by(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const csrn_cuda_how &how,
                     const factor_array &factors, void *out, csrn_dtype out_type) {
  if (out_type == CSRN_F64)
    return scale_any<double, double>(ctx, A, axis, how, factors, out);
  return factors.type == CSRN_F64 ? scale_any<double, float>(ctx, A, axis, how, factors, out)
                                  : scale_any<float, float>(ctx, A, axis, how, factors, out);
}

} // namespace

csrn_status csrn_cuda_divide_columns(csrn_context *ctx, const csrn_csr *A, const csrn_cuda_how &how,
                                     const void *divisors, void *out, csrn_dtype out_type) {
  return scale_by(ctx, A, CSRN_PER_COLUMN, how, {divisors, out_type, false}, out, out_type);
}

csrn_status csrn_cuda_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                 const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                 void *out, csrn_dtype out_type) {
  csrn_status status =
      axis == CSRN_PER_ROW ? csrn_cuda_need_for(ctx, csrn_cuda_bit(CSRN_CUDA_LISTS), A) : CSRN_OK;
  status = status ? status : csrn_cuda_begin(ctx, A, nullptr, CSRN_NONE);
  if (status)
    return status;
  const csrn_cuda_how how = {op == CSRN_MULTIPLY ? CSRN_CUDA_MULTIPLY : CSRN_CUDA_DIVIDE, false, 0.0};
  return scale_by(ctx, A, axis, how, {factors, factors_type, op == CSRN_DIVIDE && zeros == CSRN_ZERO_AS_ONE},
                  out, out_type);
}

csrn_status csrn_cuda_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                            csrn_dtype out_type) {
  const csrn_status status = csrn_cuda_begin(ctx, A, nullptr, CSRN_NONE);
  if (status)
    return status;
  return scale_by(ctx, A, CSRN_PER_ROW, csrn_cuda_log_how(CSRN_CUDA_NONE, true, base),
                  {nullptr, out_type, false}, out, out_type);
}
