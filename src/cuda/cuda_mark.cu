/*
 * Highly expressed genes: marks of the columns (or rows) in which any entry exceeds a
 * fraction of the total of its row (or column).
 */
#include "cuda_rows.h"

namespace {

/* Columns where an entry exceeds the threshold of its row, in the same walk as the totals. The index of an
 * entry is read only where it is marked. */
template <typename Type> struct mark_columns {
  using T = Type;
  static constexpr bool SUMS = true, FINISHES = true, WRITES = false, MASKED = false, GATED = false,
                        VISITS_FEW = true;
  struct input {};
  struct row {
    double threshold;
  };
  const T *data;
  double max_fraction;
  uint8_t *mask;
  double *totals; /* [n_rows] or NULL */

  __device__ __forceinline__ input fetch(int64_t) const {
    return {};
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &A, int64_t r,
                                       typename csrn_sum_of<T>::total sum, const input &, bool first) const {
    const double total = csrn_total<T>::as_double(A, sum);
    if (first && totals)
      totals[r] = total;
    return {max_fraction * total};
  }
  __device__ __forceinline__ bool wants(const row &its, T x) const {
    return static_cast<double>(x) > its.threshold;
  }
  __device__ __forceinline__ void visit(const csrn_device_matrix &A, const row &, int64_t i, T) const {
    const int64_t c = A.indices[i];
    if (A.has_column(c))
      mask[c] = 1;
    else
      note_bad_column(A.control, i);
  }
};

/* Rows where an entry exceeds the threshold of its column. */
template <typename Type> struct mark_rows {
  using T = Type;
  static constexpr bool SUMS = false, FINISHES = true, WRITES = false, MASKED = false, GATED = false,
                        VISITS_FEW = false;
  struct input {};
  struct row {
    int64_t r;
  };
  const T *data;
  double max_fraction;
  uint8_t *mask;
  const double *totals; /* [n_cols] */

  __device__ __forceinline__ input fetch(int64_t) const {
    return {};
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &, int64_t r, typename csrn_sum_of<T>::total,
                                       const input &, bool) const {
    return {r};
  }
  __device__ __forceinline__ bool wants(const row &, T) const {
    return true;
  }
  __device__ __forceinline__ void visit(const csrn_device_matrix &A, const row &its, int64_t i, T x) const {
    const int64_t c = A.indices[i];
    if (!A.has_column(c))
      note_bad_column(A.control, i);
    else if (static_cast<double>(x) > max_fraction * totals[c])
      mask[its.r] = 1;
  }
};

__global__ void __launch_bounds__(CSRN_THREADS)
    pack_mask_kernel(csrn_cuda_control *control, const uint8_t *mask, int64_t n, uint32_t *bits) {
  csrn_after_previous();
  const int64_t n_words = (n + CSRN_WARP - 1) / CSRN_WARP,
                step = int64_t(gridDim.x) * (CSRN_THREADS / CSRN_WARP);
  const int lane = static_cast<int>(threadIdx.x % CSRN_WARP);
  unsigned long long count = 0;
  for (int64_t w = (int64_t(blockIdx.x) * CSRN_THREADS + threadIdx.x) / CSRN_WARP; w < n_words; w += step) {
    const int64_t i = w * CSRN_WARP + lane;
    const unsigned word = __ballot_sync(FULL_WARP, i < n && mask[i] != 0);
    if (lane == 0)
      bits[w] = word;
    count += static_cast<unsigned>(__popc(word));
  }
  if (control && lane == 0 && count)
    atomicAdd(&control->now.n_excluded, count);
}

/* Loads that a thread has under way: with as many threads as there can be, enough for the memory. */
enum { CHECK_LOADS = 8 };

template <typename I>
__device__ __forceinline__ void check_columns(const csrn_device_matrix &A, const I *indices) {
  const int64_t begin = A.indptr[0], end = A.indptr[A.n_rows],
                step = static_cast<int64_t>(gridDim.x) * CSRN_THREADS;
  for (int64_t i = begin + static_cast<int64_t>(blockIdx.x) * CSRN_THREADS + threadIdx.x; i < end;
       i += step * CHECK_LOADS) {
    I c[CHECK_LOADS];
    unsigned bad = 0;
#pragma unroll
    for (int k = 0; k < CHECK_LOADS; k++)
      c[k] = i + step * k < end ? indices[i + step * k] : I(0);
#pragma unroll
    for (int k = 0; k < CHECK_LOADS; k++)
      bad |= A.has_column(static_cast<int64_t>(c[k])) ? 0U : 1U << k;
    for (; bad; bad &= bad - 1) {
      const int64_t at = i + step * (__ffs(static_cast<int>(bad)) - 1);
      if (at < end) /* what is beyond is no column only where there is none */
        note_bad_column(A.control, at);
    }
  }
}

__global__ void __launch_bounds__(CSRN_THREADS, MOST_THREADS / CSRN_THREADS)
    check_columns_kernel(csrn_device_matrix A) {
  if (!A.is_sound())
    return;
  A.indices.with([&A](auto *indices) { check_columns(A, indices); });
}

} // namespace

csrn_status csrn_cuda_mark_columns(csrn_context *ctx, const csrn_csr *A, double max_fraction, uint8_t *mask,
                                   double *totals) {
#define CASE(code, T)                                                                                        \
  case code:                                                                                                 \
    return csrn_cuda_walk_rows(                                                                              \
        ctx, A, mark_columns<T>{static_cast<const T *>(A->data), max_fraction, mask, totals}, false);
  switch (A->data_type) {
    CSRN_CUDA_DATA_TYPES(CASE)
  default:
    return CSRN_INVALID_ARGUMENT; /* api.c lets no other type through */
  }
#undef CASE
}

csrn_status csrn_cuda_mark_rows(csrn_context *ctx, const csrn_csr *A, double max_fraction, uint8_t *mask,
                                const double *totals) {
#define CASE(code, T)                                                                                        \
  case code:                                                                                                 \
    return csrn_cuda_walk_rows(                                                                              \
        ctx, A, mark_rows<T>{static_cast<const T *>(A->data), max_fraction, mask, totals}, false);
  switch (A->data_type) {
    CSRN_CUDA_DATA_TYPES(CASE)
  default:
    return CSRN_INVALID_ARGUMENT; /* api.c lets no other type through */
  }
#undef CASE
}

csrn_status csrn_cuda_pack_mask(csrn_context *ctx, csrn_status status, const uint8_t *mask, int64_t n,
                                bool counts, const uint32_t **bits) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const csrn_launch shape = {csrn_cuda_blocks(n, CSRN_THREADS, state->n_units), CSRN_THREADS, 0};
  auto *packed = static_cast<uint32_t *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_BITS));
  *bits = packed;
  return csrn_cuda_launch(ctx, status, shape, pack_mask_kernel, counts ? state->control : nullptr, mask, n,
                          packed);
}

csrn_status csrn_cuda_check_columns(csrn_context *ctx, const csrn_csr *A) {
  const int64_t most = int64_t(csrn_cuda_state_of(ctx)->n_units) * 8;
  const csrn_launch shape = {csrn_cuda_blocks(A->nnz, CSRN_THREADS, most), CSRN_THREADS, 0};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, check_columns_kernel, csrn_device_view(ctx, A));
}
