/*
 * What kernels share: loads of any type, exact 128-bit sums, and the canonical order in
 * which a group of threads adds up a row (numerics.h).
 *
 * A group is G threads of a warp, G a power of two, that work on one row. Thread t takes
 * the lanes t, t + G, t + 2 G ... of the 32: loads are coalesced, every lane adds its
 * elements in order, and the halving from 32 lanes to G happens in registers.
 */
#ifndef CSRN_CUDA_DEVICE_H
#define CSRN_CUDA_DEVICE_H

#include "cuda_internal.h"
#include "numerics.h"

#include <cstring>

enum { CSRN_WARP = 32, CSRN_THREADS = 256 };
constexpr unsigned FULL_WARP = 0xffffffffU;

/* As many threads as a multiprocessor has room for on every device that code is compiled for, at least. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int MOST_THREADS = 1024;
#else
constexpr int MOST_THREADS = 1536;
#endif

/* Data types with their C types: the one list from which kernels are made. */
#define CSRN_CUDA_DATA_TYPES(X)                                                                              \
  X(CSRN_F32, float)                                                                                         \
  X(CSRN_F64, double)                                                                                        \
  X(CSRN_U8, uint8_t)                                                                                        \
  X(CSRN_U16, uint16_t)                                                                                      \
  X(CSRN_U32, uint32_t)                                                                                      \
  X(CSRN_I32, int32_t)                                                                                       \
  X(CSRN_I64, int64_t)

#if defined(CSRN_SIMT_HOST)
void *simt_dynamic_shared(void);
#define CSRN_DYNAMIC_SHARED(name) unsigned char *name = static_cast<unsigned char *>(simt_dynamic_shared())
#else
#define CSRN_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

/* ---- The order of kernels ---------------------------------------------------- */

/* To be called by all threads of every kernel. A kernel is launched while the one before it still runs (see
 * csrn_cuda_launch()): its blocks take the places that become free, and wait here until that one is complete
 * and what it wrote can be seen. Only then do they let the next kernel begin, so that whatever is before the
 * one before is complete when a kernel begins: until it calls this, it may read what the one before does not
 * write, by csrn_load<true>(), and write nothing but shared memory. (That what complete kernels have written
 * is in the second-level cache then, where such loads and bulk copies find it, is how these devices work; to
 * let a kernel begin promises no more than that it does.) */
__device__ __forceinline__ void csrn_after_previous() {
#if defined(CSRN_SIMT_HOST) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

/* EARLY: past the cache of this multiprocessor, which may hold what was there before kernels that are
 * complete.
 */
template <bool EARLY, typename T> __device__ __forceinline__ T csrn_load(const T *p) {
  if constexpr (EARLY)
    return __ldcg(p);
  else
    return *p;
}

/* ---- Indices ---------------------------------------------------------------- */

/* An array of any index type, as 64 bits; u64 above INT64_MAX comes out negative. */
struct csrn_index_array {
  const void *values;
  int type; /* a csrn_dtype; anything where the array is not used */
  __device__ __forceinline__ int64_t operator[](int64_t i) const {
    return at<false>(i);
  }
  __host__ __device__ __forceinline__ int size() const {
    return type == CSRN_I32 || type == CSRN_U32 ? 4 : type == CSRN_U8 ? 1 : type == CSRN_U16 ? 2 : 8;
  }
  /* use(values), in their type. */
  template <typename Use> __device__ __forceinline__ auto with(const Use &use) const {
    switch (type) {
    case CSRN_I32:
      return use(static_cast<const int32_t *>(values));
    case CSRN_U8:
      return use(static_cast<const uint8_t *>(values));
    case CSRN_U16:
      return use(static_cast<const uint16_t *>(values));
    case CSRN_U32:
      return use(static_cast<const uint32_t *>(values));
    default: /* i64 and u64 */
      return use(static_cast<const int64_t *>(values));
    }
  }
  /* EARLY: see csrn_load(). */
  template <bool EARLY> __device__ __forceinline__ int64_t at(int64_t i) const {
    return with([i](auto *p) { return static_cast<int64_t>(csrn_load<EARLY>(p + i)); });
  }
};

/* Errors that kernels meet; rare, so kept out of line. */
inline __device__ __noinline__ void raise_flag(csrn_cuda_control *control, unsigned flag) {
  atomicOr(&control->now.flags, flag);
  atomicOr(&control->sticky_flags, flag);
}

inline __device__ __noinline__ void note_bad_column(csrn_cuda_control *control, int64_t i) {
  raise_flag(control, CSRN_FLAG_INVALID_COLUMN);
  atomicMin(&control->bad_index, static_cast<unsigned long long>(i));
}

/* A matrix as kernels see it. */
struct csrn_device_matrix {
  int64_t n_rows, n_cols, nnz;
  csrn_index_array indptr, indices;
  csrn_cuda_control *control;

  /* Whether the operation may run: its indptr and target are sound. */
  __device__ __forceinline__ bool may_run() const {
    return (control->now.flags & (CSRN_FLAG_INVALID_MATRIX | CSRN_FLAG_INVALID_TARGET)) == 0;
  }

  /* The same, asked at the beginning of a kernel. */
  __device__ __forceinline__ bool is_sound() const {
    csrn_after_previous();
    return may_run();
  }

  /* Whether c is a column; what is not is left out. */
  __device__ __forceinline__ bool has_column(int64_t c) const {
    return static_cast<uint64_t>(c) < static_cast<uint64_t>(n_cols);
  }
};

static inline csrn_index_array csrn_index_view(const void *values, const csrn_dtype *type) {
  csrn_index_array view = {values, 0};
  memcpy(&view.type, type, sizeof view.type);
  return view;
}

static inline csrn_device_matrix csrn_device_view(const csrn_context *ctx, const csrn_csr *A) {
  return {A->n_rows,
          A->n_cols,
          A->nnz,
          csrn_index_view(A->indptr, &A->indptr_type),
          csrn_index_view(A->indices, &A->indices_type),
          csrn_cuda_state_of(ctx)->control};
}

/* ---- Sums ------------------------------------------------------------------- */

__extension__ typedef __int128 csrn_int128;

/* What rows of T are added up in: float64 for reals; for integers what a piece of CSRN_BLOCK
 * elements cannot overflow, and 128 bits for what many pieces make. */
template <typename T> struct csrn_sum_of {
  using lane = int64_t;
  using total = csrn_int128;
};
template <> struct csrn_sum_of<int64_t> {
  using lane = csrn_int128;
  using total = csrn_int128;
};
template <> struct csrn_sum_of<float> {
  using lane = double;
  using total = double;
};
template <> struct csrn_sum_of<double> {
  using lane = double;
  using total = double;
};

/* A sum exchanged between threads: exchange(word) for each of its words of 64 bits. */
template <typename S, typename Exchange>
__device__ __forceinline__ S exchange_words(const S &value, const Exchange &exchange) {
  long long words[sizeof(S) / sizeof(long long)];
  static_assert(sizeof words == sizeof value, "whole words");
  memcpy(words, &value, sizeof words);
#pragma unroll
  for (long long &word : words)
    word = exchange(word);
  S result;
  memcpy(&result, words, sizeof words);
  return result;
}

template <typename S> __device__ __forceinline__ S shuffle_xor(unsigned mask, S value, int distance) {
  return exchange_words(value, [&](long long word) { return __shfl_xor_sync(mask, word, distance); });
}

/* What thread `from` of the warp has. */
template <typename S> __device__ __forceinline__ S shuffle_from(S value, int from) {
  return exchange_words(value, [&](long long word) { return __shfl_sync(FULL_WARP, word, from); });
}

/* The lanes of a group combined by halving; every thread gets the sum. Both partners of an exchange compute
 * the same sum, since a + b and b + a are the same bits. */
template <int G, typename S>
__device__ __forceinline__ S combine_lanes(S (&lanes)[CSRN_LANES / G], unsigned mask) {
#pragma unroll
  for (int half = CSRN_LANES / G / 2; half > 0; half /= 2)
#pragma unroll
    for (int j = 0; j < half; j++)
      lanes[j] += lanes[j + half];
#pragma unroll
  for (int half = G / 2; half > 0; half /= 2)
    lanes[0] += shuffle_xor(mask, lanes[0], half);
  return lanes[0];
}

/* The threads of this thread's group of G, and its number among them. */
template <int G> __device__ __forceinline__ unsigned group_mask() {
  const unsigned lane = threadIdx.x % CSRN_WARP;
  return G == CSRN_WARP ? FULL_WARP : ((1U << (G % CSRN_WARP)) - 1) << (lane / G * G);
}

template <int G> __device__ __forceinline__ int group_lane() {
  return static_cast<int>(threadIdx.x % G);
}

/* How many of the threads `who` of a warp, a ballot, come before this one. */
__device__ __forceinline__ int threads_before(unsigned who) {
  return __popc(who & ((1U << group_lane<CSRN_WARP>()) - 1));
}

/* A total as float64; integers are exact in 64 bits or flagged, as csrn_cpu_store_sum() does. */
template <typename T> struct csrn_total {
  using S = typename csrn_sum_of<T>::total;
  static constexpr bool is_signed = T(-1) < T(0);

  static __device__ __forceinline__ bool fits(S sum) {
    if constexpr (is_signed)
      return sum >= static_cast<S>(INT64_MIN) && sum <= static_cast<S>(INT64_MAX);
    else
      return sum >= 0 && sum <= static_cast<S>(UINT64_MAX);
  }

  static __device__ __forceinline__ double as_double(const csrn_device_matrix &A, S sum) {
    if (!fits(sum))
      raise_flag(A.control, CSRN_FLAG_OVERFLOW);
    return is_signed ? static_cast<double>(static_cast<int64_t>(sum))
                     : static_cast<double>(static_cast<uint64_t>(sum));
  }

  static __device__ __forceinline__ void store(const csrn_device_matrix &A, S sum, csrn_dtype type,
                                               void *sums, int64_t i) {
    bool good = fits(sum);
    if (type == CSRN_F64) {
      static_cast<double *>(sums)[i] = is_signed ? static_cast<double>(static_cast<int64_t>(sum))
                                                 : static_cast<double>(static_cast<uint64_t>(sum));
    } else if (type == CSRN_I64) {
      good = good && sum <= static_cast<S>(INT64_MAX);
      static_cast<int64_t *>(sums)[i] = static_cast<int64_t>(sum);
    } else {
      good = good && sum >= 0;
      static_cast<uint64_t *>(sums)[i] = static_cast<uint64_t>(sum);
    }
    if (!good)
      raise_flag(A.control, CSRN_FLAG_OVERFLOW);
  }
};

struct csrn_real_total {
  static __device__ __forceinline__ double as_double(const csrn_device_matrix &, double sum) {
    return sum;
  }
  static __device__ __forceinline__ void store(const csrn_device_matrix &, double sum, csrn_dtype, void *sums,
                                               int64_t i) {
    static_cast<double *>(sums)[i] = sum;
  }
};
template <> struct csrn_total<float> : csrn_real_total {};
template <> struct csrn_total<double> : csrn_real_total {};

#endif
