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

__global__ void __launch_bounds__(CSRN_THREADS) check_columns_kernel(csrn_device_matrix A) {
  if (!A.is_sound())
    return;
  const int64_t begin = A.indptr[0], end = A.indptr[A.n_rows],
                step = static_cast<int64_t>(gridDim.x) * CSRN_THREADS;
  for (int64_t i = begin + static_cast<int64_t>(blockIdx.x) * CSRN_THREADS + threadIdx.x; i < end; i += step)
    if (!A.has_column(A.indices[i]))
      note_bad_column(A.control, i);
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

csrn_status csrn_cuda_check_columns(csrn_context *ctx, const csrn_csr *A) {
  const csrn_launch shape = {csrn_cuda_blocks(A->nnz, CSRN_THREADS, csrn_cuda_state_of(ctx)->n_units * 8),
                             CSRN_THREADS, 0};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, check_columns_kernel, csrn_device_view(ctx, A));
}
