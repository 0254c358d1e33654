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
                                       const input &its, bool) const {
    row result;
    result.scaler.set(how, its.factor);
    return result;
  }
};

/* ---- Logarithms alone ------------------------------------------------------------- */

/* A block for every LOG_BLOCK elements, so many that what it waits for at the beginning is little. The
 * formula needs no table to keep up with the memory, but all the threads there can be. */
enum { LOG_THREADS = 128, LOG_PACKS = 4, LOG_BLOCK = 4 * LOG_THREADS * LOG_PACKS * PACK };

/* Where the packs are: natural logarithms in float32. */
template <typename T>
__device__ __forceinline__ void log1p_packs(const csrn_walk &w, const T *data, float *out,
                                            const csrn_packed_row &its) {
  const int t = static_cast<int>(threadIdx.x), edge = its.edge(t);
  data += its.begin;
  out += its.begin;
  if (edge < its.n)
    out[edge] = csrn_log1p_f32(static_cast<float>(data[edge]));
  const auto *packs = reinterpret_cast<const csrn_pack<T> *>(data + its.head);
#pragma unroll 1
  for (int p = t; p < its.full; p += LOG_THREADS * LOG_PACKS) {
    csrn_pack<T> x[LOG_PACKS];
#pragma unroll
    for (int k = 0; k < LOG_PACKS; k++)
      if (p + LOG_THREADS * k < its.full)
        x[k] = packs[p + LOG_THREADS * k];
#pragma unroll
    for (int k = 0; k < LOG_PACKS; k++)
      if (p + LOG_THREADS * k < its.full) {
        csrn_pack<float> y;
#pragma unroll
        for (int j = 0; j < PACK; j++)
          y.x[j] = csrn_log1p_f32(static_cast<float>(x[k].x[j]));
        store_pack(w.packed, out + its.head + (p + LOG_THREADS * k) * PACK, y);
      }
  }
}

template <typename T, typename C, typename O>
__global__ void __launch_bounds__(LOG_THREADS,
                                  (sizeof(T) > 4 || sizeof(C) > 4 || MOST_THREADS < 1280 ? 1024 : 1280) /
                                      LOG_THREADS) log1p_kernel(csrn_walk w, scale_rows<T, C, O> op) {
  csrn_after_previous();
  const int64_t first = w.A.indptr[0], end = w.A.indptr[w.A.n_rows];
  if (!w.A.may_run())
    return;
  const int64_t begin = first + static_cast<int64_t>(blockIdx.x) * LOG_BLOCK;
  if (begin >= end)
    return;
  const int n = end - begin < LOG_BLOCK ? static_cast<int>(end - begin) : LOG_BLOCK;
  if constexpr (sizeof(C) == sizeof(float))
    if (op.how.log_base == 0.0)
      return log1p_packs(w, op.data, op.out, csrn_packed_row(w, begin, n));
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < n; i += LOG_THREADS)
    op.out[begin + i] = take_log1p(op.how, static_cast<O>(static_cast<C>(op.data[begin + i])));
}

/* ---- By column --------------------------------------------------------------------- */

/* The factors of as many columns as fit are in the shared memory of each block: read from the caches they
 * nearly doubled the time of the whole. One block on each multiprocessor. */
enum { COLUMN_THREADS = 1024 };

template <typename T, typename C, typename O> struct scale_columns {
  csrn_device_matrix A;
  const T *data;
  O *out;
  csrn_cuda_how how;
  factor_array factors;
  int n_shared;         /* columns in shared memory */
  int lead;             /* elements between a multiple of the size of a pack and data[0] */
  bool packed, indexed; /* results can be written in packs; int32 indices can be read in packs */

  __device__ __forceinline__ C factor_of(const C *kept, int64_t c) const {
    return c < n_shared ? kept[c] : factors.get<C>(c);
  }
  __device__ __forceinline__ O scaled(C x, C factor) const {
    const O result = static_cast<O>(how.step == CSRN_CUDA_DIVIDE ? x / factor : x * factor);
    return how.log1p ? take_log1p(how, result) : result;
  }
  __device__ __forceinline__ void do_one(const C *kept, int64_t i) const {
    const int64_t c = A.indices[i];
    if (A.has_column(c))
      out[i] = scaled(static_cast<C>(data[i]), factor_of(kept, c));
    else
      note_bad_column(A.control, i);
  }
  /* PACK elements from i on. */
  __device__ __forceinline__ void do_pack(const C *kept, int64_t i) const {
    const auto x = *reinterpret_cast<const csrn_pack<T> *>(data + i);
    const auto c =
        *reinterpret_cast<const csrn_pack<int32_t> *>(static_cast<const int32_t *>(A.indices.values) + i);
    bool all = true;
    csrn_pack<O> y;
#pragma unroll
    for (int j = 0; j < PACK; j++) {
      const bool exists = A.has_column(c.x[j]);
      y.x[j] = scaled(static_cast<C>(x.x[j]), exists ? factor_of(kept, c.x[j]) : C(1));
      all = all && exists;
    }
    if (all)
      return store_pack(packed, out + i, y);
#pragma unroll
    for (int j = 0; j < PACK; j++)
      if (A.has_column(c.x[j]))
        out[i + j] = y.x[j];
      else
        note_bad_column(A.control, i + j);
  }
};

template <typename T, typename C, typename O>
__global__ void __launch_bounds__(COLUMN_THREADS, 1) scale_columns_kernel(scale_columns<T, C, O> job) {
  CSRN_DYNAMIC_SHARED(shared);
  C *kept = reinterpret_cast<C *>(shared);
  if (!job.A.is_sound())
    return;
  for (int c = static_cast<int>(threadIdx.x); c < job.n_shared; c += COLUMN_THREADS)
    kept[c] = job.factors.template get<C>(c);
  __syncthreads();
  const int64_t begin = job.A.indptr[0], end = job.A.indptr[job.A.n_rows],
                first = begin - (begin + job.lead) % PACK;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * COLUMN_THREADS + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * COLUMN_THREADS * PACK;
  for (int64_t i = first + thread * PACK; i < end; i += step) {
    if (job.indexed && i >= begin && i + PACK <= end) {
      job.do_pack(kept, i);
      continue;
    }
    for (int64_t k = i < begin ? begin : i; k < i + PACK && k < end; k++)
      job.do_one(kept, k);
  }
}

template <typename T, typename C, typename O>
csrn_status scale_by_column(csrn_context *ctx, const csrn_csr *A, const scale_rows<T, C, O> &op) {
  enum { GRANULE = 1 << 10 };
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  csrn_walk w = {};
  csrn_cuda_place(&w, op);
  scale_columns<T, C, O> job = {
      csrn_device_view(ctx, A), op.data, op.out, op.how, op.factors, 0, w.lead, w.packed, false};
  job.indexed =
      A->indices_type == CSRN_I32 && csrn_cuda_lead(static_cast<const int32_t *>(A->indices)) == w.lead;
  const int64_t blocks =
      csrn_cuda_blocks(A->nnz > 0 ? A->nnz + PACK : 0, COLUMN_THREADS * PACK, state->n_units);
  const int64_t room = static_cast<int64_t>((state->shared_per_block - GRANULE) / sizeof(C));
  /* A block that looks up fewer factors than there are columns has no use for a copy of them. */
  if (blocks > 0 && A->nnz / blocks >= A->n_cols)
    job.n_shared = static_cast<int>(A->n_cols < room ? A->n_cols : room);
  const csrn_launch shape = {blocks, COLUMN_THREADS, static_cast<size_t>(job.n_shared) * sizeof(C)};
  const auto kernel = scale_columns_kernel<T, C, O>;
  /* Always the most, as this belongs to the kernel: another thread must not lower it before the launch. */
  const csrn_status status = csrn_cuda_allow_shared(ctx, CSRN_OK, reinterpret_cast<const void *>(kernel),
                                                    state->shared_per_block - GRANULE);
  return csrn_cuda_launch(ctx, status, shape, kernel, job);
}

/* ---- Which of them ------------------------------------------------------------------- */

template <typename T, typename C, typename O>
csrn_status scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const csrn_cuda_how &how,
                  const factor_array &factors, void *out) {
  const scale_rows<T, C, O> op = {static_cast<const T *>(A->data), static_cast<O *>(out), how, factors};
  if (how.step != CSRN_CUDA_NONE)
    return axis == CSRN_PER_ROW ? csrn_cuda_walk_rows(ctx, A, op, false) : scale_by_column(ctx, A, op);
  csrn_walk w = {};
  w.A = csrn_device_view(ctx, A);
  csrn_cuda_place(&w, op);
  return csrn_cuda_launch(ctx, CSRN_OK, {csrn_cuda_blocks(A->nnz, LOG_BLOCK, 0), LOG_THREADS, 0},
                          log1p_kernel<T, C, O>, w, op);
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
  status = status ? status : csrn_cuda_begin(ctx, A, nullptr, CSRN_NONE, axis == CSRN_PER_ROW);
  if (status)
    return status;
  const csrn_cuda_how how = {op == CSRN_MULTIPLY ? CSRN_CUDA_MULTIPLY : CSRN_CUDA_DIVIDE, false, 0.0};
  return scale_by(ctx, A, axis, how, {factors, factors_type, op == CSRN_DIVIDE && zeros == CSRN_ZERO_AS_ONE},
                  out, out_type);
}

csrn_status csrn_cuda_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                            csrn_dtype out_type) {
  const csrn_status status = csrn_cuda_begin(ctx, A, nullptr, CSRN_NONE, false);
  if (status)
    return status;
  return scale_by(ctx, A, CSRN_PER_ROW, csrn_cuda_log_how(CSRN_CUDA_NONE, true, base),
                  {nullptr, out_type, false}, out, out_type);
}
