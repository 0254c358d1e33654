/*
 * Column sums that do not depend on the order of the entries: integers are added, in
 * whatever order the device likes (numerics.h, docs/numerics.md).
 *
 * Counts, in whatever type they come, are added as integers in one pass over data and
 * indices. Most are small: those below 256 go to 32-bit sums of the block in shared memory,
 * as far as the columns fit, and from there to the 64-bit sums of all; others go there
 * directly. Where a value turns out to be no count, what was added is thrown away and the
 * values are added in fixed point. Which of the two it was, only the device knows: the
 * kernels of the other way return at once.
 */
#include "cuda_walk.h"

#include <initializer_list>

namespace {

/* What is not finite in a column. */
enum { HAS_INF = 1, HAS_MINUS_INF = 2, HAS_NAN = 4 };

/* The sums: 128 bits in two's complement for each column. Where `narrow`, no sum can leave 64 bits, and
 * `high` is not used. */
struct column_sums {
  unsigned long long *low, *high;
  unsigned *specials; /* HAS_* */
  bool narrow;

  __device__ __forceinline__ void add(int64_t c, int64_t value) const {
    const unsigned long long bits = static_cast<unsigned long long>(value);
    if (narrow)
      atomicAdd(&low[c], bits);
    else
      add_wide(c, value);
  }
  __device__ __forceinline__ void add_wide(int64_t c, int64_t value) const {
    const unsigned long long bits = static_cast<unsigned long long>(value);
    const unsigned long long carry = atomicAdd(&low[c], bits) + bits < bits;
    const unsigned long long upper = (value < 0 ? ~0ULL : 0ULL) + carry;
    if (upper)
      atomicAdd(&high[c], upper);
  }
};

size_t bytes_of(int64_t n_cols) {
  return static_cast<size_t>(n_cols) * (2 * sizeof(unsigned long long) + sizeof(unsigned));
}

/* ---- Counts ------------------------------------------------------------------------- */

/* The integer of at most 31 bits and a sign that a value is, if it is one. */
template <typename T> __device__ __forceinline__ bool is_count(T value, int64_t *count) {
  if constexpr (T(0.5) != T(0)) {
    const bool inside = value > T(-2147483648.0) && value < T(2147483648.0);
    const int whole = static_cast<int>(inside ? value : T(0));
    *count = whole;
    return static_cast<T>(whole) == value;
  } else {
    *count = static_cast<int64_t>(value);
    return true;
  }
}

/* Counts below this are added in shared memory, and so many of them before a sum of 32 bits could overflow.
 */
enum { SMALL = 256, ADDITIONS_PER_FLUSH = 1 << 24, COUNT_THREADS = 1024 };

/* Moves the block's sums to those of all. */
__device__ void flush(unsigned *shares, int64_t n, const column_sums &sums) {
  __syncthreads();
  for (int64_t c = threadIdx.x; c < n; c += blockDim.x) {
    if (shares[c])
      sums.add(c, shares[c]);
    shares[c] = 0;
  }
  __syncthreads();
}

/* All entries; the columns below n_shared have sums in the block's shared memory. */
template <typename T>
__global__ void __launch_bounds__(COUNT_THREADS)
    count_columns_kernel(csrn_device_matrix A, const T *data, column_sums sums, int64_t n_shared) {
  CSRN_DYNAMIC_SHARED(shared);
  constexpr int BATCH = 4;
  unsigned *shares = reinterpret_cast<unsigned *>(shared);
  if (!A.is_sound())
    return;
  for (int64_t c = threadIdx.x; c < n_shared; c += blockDim.x)
    shares[c] = 0;
  __syncthreads();
  const int64_t end = A.indptr[A.n_rows], chunk = static_cast<int64_t>(blockDim.x) * BATCH;
  int64_t added = 0;
  bool refused = false;
  for (int64_t base = A.indptr[0] + blockIdx.x * chunk; base < end; base += gridDim.x * chunk) {
    T x[BATCH];
    int64_t c[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      const int64_t i = base + k * static_cast<int64_t>(blockDim.x) + threadIdx.x;
      x[k] = i < end ? data[i] : T(0);
      c[k] = i < end ? A.indices[i] : 0;
    }
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      int64_t count;
      refused |= !is_count(x[k], &count);
      if (!A.has_column(c[k]))
        note_bad_column(A.control, base + k * static_cast<int64_t>(blockDim.x) + threadIdx.x);
      else if (c[k] < n_shared && static_cast<uint64_t>(count) < SMALL)
        atomicAdd(&shares[c[k]], static_cast<unsigned>(count));
      else if (count)
        sums.add(c[k], count);
    }
    added += chunk;
    if (added > ADDITIONS_PER_FLUSH - chunk) {
      flush(shares, n_shared, sums);
      added = 0;
    }
  }
  flush(shares, n_shared, sums);
  if (refused)
    A.control->now.refused = 1;
}

/* ---- By rows: without excluded ones, or in fixed point -------------------------------- */

enum visit_mode { COUNTS, FIXED_POINT, SPECIALS };

/* 2^(30 - E) as two factors, from the largest magnitude of the matrix. */
struct fixed_point {
  double unit[2];
  int exponent;
};

__device__ fixed_point fixed_point_of(unsigned long long largest_bits) {
  const double largest = __longlong_as_double(static_cast<long long>(largest_bits));
  fixed_point f;
  f.exponent = 1;
  if (largest > 0.0)
    frexp(largest, &f.exponent);
  f.exponent--; /* frexp counts from 0.5 */
  const int up = CSRN_HIGH_BITS - f.exponent;
  f.unit[0] = ldexp(1.0, up / 2);
  f.unit[1] = ldexp(1.0, up - up / 2);
  return f;
}

template <typename Type> struct visit_rows {
  using T = Type;
  static constexpr bool SUMS = false, FINISHES = true, MASKED = false, GATED = true;
  struct row {
    bool skipped;
    double unit[2];
  };
  const T *data;
  const uint8_t *excluded_rows; /* or NULL */
  column_sums sums;
  visit_mode mode;

  /* Counts need no fixed point, and finite values no specials: nothing is read for them then. */
  __device__ __forceinline__ bool has_work(const csrn_device_matrix &A) const {
    if (mode == COUNTS)
      return true;
    return A.control->now.refused && (mode == FIXED_POINT || A.control->now.nonfinite);
  }

  __device__ __forceinline__ row begin(const csrn_device_matrix &A, int64_t r, typename csrn_sum_of<T>::total,
                                       int64_t, bool) const {
    row its = {excluded_rows && excluded_rows[r], {0.0, 0.0}};
    if (mode == FIXED_POINT && !its.skipped) {
      const fixed_point f = fixed_point_of(A.control->now.largest);
      its.unit[0] = f.unit[0];
      its.unit[1] = f.unit[1];
    }
    return its;
  }

  template <bool WARP>
  __device__ __forceinline__ void finish(const csrn_device_matrix &A, const row &its, int64_t i, T x,
                                         bool active) const {
    if (!active || its.skipped)
      return;
    const int64_t c = A.indices[i];
    if (!A.has_column(c)) {
      note_bad_column(A.control, i);
      return;
    }
    if (mode == COUNTS)
      add_count(A, c, x);
    else if (mode == FIXED_POINT)
      add_limbs(its, c, static_cast<double>(x));
    else
      note_special(c, static_cast<double>(x));
  }

  __device__ __forceinline__ void add_count(const csrn_device_matrix &A, int64_t c, T x) const {
    int64_t count;
    if (!is_count(x, &count))
      A.control->now.refused = 1;
    else if (count)
      sums.add(c, count);
  }

  /* Both limbs as one integer of 64 bits: below 2^63, since |x| < 2^(E + 1). */
  __device__ __forceinline__ void add_limbs(const row &its, int64_t c, double x) const {
    if (!isfinite(x))
      return;
    int64_t high, low;
    csrn_split_limbs(x, its.unit, &high, &low);
    const uint64_t both = (static_cast<uint64_t>(high) << CSRN_LIMB_BITS) + static_cast<uint64_t>(low);
    if (both)
      sums.add_wide(c, static_cast<int64_t>(both));
  }

  __device__ __forceinline__ void note_special(int64_t c, double x) const {
    if (!isfinite(x))
      atomicOr(&sums.specials[c], isnan(x) ? HAS_NAN : x > 0 ? HAS_INF : HAS_MINUS_INF);
  }
};

/* The largest finite magnitude, and whether anything is not finite, if the values are no counts; then the
 * sums begin again from zero. */
template <typename T>
__global__ void __launch_bounds__(CSRN_THREADS)
    begin_fixed_point_kernel(csrn_device_matrix A, const T *data, column_sums sums) {
  if (!A.is_sound() || !A.control->now.refused)
    return;
  const int64_t step = static_cast<int64_t>(gridDim.x) * CSRN_THREADS;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * CSRN_THREADS + threadIdx.x;
  for (int64_t c = thread; c < A.n_cols; c += step)
    sums.low[c] = sums.high[c] = 0;
  double largest = 0.0;
  bool nonfinite = false;
  for (int64_t i = A.indptr[0] + thread, end = A.indptr[A.n_rows]; i < end; i += step) {
    const double magnitude = fabs(static_cast<double>(data[i]));
    nonfinite |= !isfinite(magnitude);
    largest = isfinite(magnitude) && magnitude > largest ? magnitude : largest;
  }
  if (nonfinite)
    A.control->now.nonfinite = 1;
  atomicMax(&A.control->now.largest, static_cast<unsigned long long>(__double_as_longlong(largest)));
}

/* ---- Results --------------------------------------------------------------------------- */

/* Rounded to nearest, as a cast does: the top 64 bits of the magnitude, the lowest of them sticky for what is
 * below. */
__device__ double round_to_double(csrn_int128 sum) {
  const bool negative = sum < 0;
  unsigned __int128 magnitude = static_cast<unsigned __int128>(sum);
  magnitude = negative ? -magnitude : magnitude;
  const unsigned long long high = static_cast<unsigned long long>(magnitude >> 64);
  unsigned long long top = static_cast<unsigned long long>(magnitude);
  int shift = 0;
  if (high) {
    shift = 64 - __clzll(static_cast<long long>(high));
    top = static_cast<unsigned long long>(magnitude >> shift);
    const unsigned __int128 below = magnitude & ((static_cast<unsigned __int128>(1) << shift) - 1);
    top |= below != 0;
  }
  const double result = ldexp(__ull2double_rn(top), shift);
  return negative ? -result : result;
}

__device__ double special_sum(unsigned special, double sum) {
  if ((special & HAS_NAN) || special == (HAS_INF | HAS_MINUS_INF))
    return __longlong_as_double(0x7ff8000000000000LL);
  const double infinity = __longlong_as_double(0x7ff0000000000000LL);
  return special == HAS_INF ? infinity : special == HAS_MINUS_INF ? -infinity : sum;
}

template <typename T>
__global__ void __launch_bounds__(CSRN_THREADS)
    store_columns_kernel(csrn_device_matrix A, column_sums sums, void *result, csrn_dtype type) {
  if (!A.is_sound())
    return;
  const bool fixed = A.control->now.refused != 0, wide = fixed || !sums.narrow;
  const int exponent = fixed ? fixed_point_of(A.control->now.largest).exponent : 0;
  const int64_t step = static_cast<int64_t>(gridDim.x) * CSRN_THREADS;
  for (int64_t c = static_cast<int64_t>(blockIdx.x) * CSRN_THREADS + threadIdx.x; c < A.n_cols; c += step) {
    const unsigned long long low = sums.low[c];
    csrn_int128 sum = static_cast<long long>(low);
    if (wide)
      sum = static_cast<csrn_int128>((static_cast<unsigned __int128>(sums.high[c]) << 64) | low);
    if constexpr (T(0.5) == T(0)) {
      csrn_total<T>::store(A, sum, type, result, c);
    } else {
      double value = round_to_double(sum);
      if (fixed)
        value = special_sum(sums.specials[c], ldexp(value, exponent - CSRN_HIGH_BITS - CSRN_LIMB_BITS));
      static_cast<double *>(result)[c] = value;
    }
  }
}

/* ---- The sequence ------------------------------------------------------------------------ */

template <typename T>
csrn_status count_all(csrn_context *ctx, const csrn_csr *A, const csrn_device_matrix &view,
                      const column_sums &sums) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const int64_t room = static_cast<int64_t>(csrn_cuda_shared_share(ctx, 1) / sizeof(unsigned));
  const int64_t n_shared = A->n_cols < room ? A->n_cols : room;
  const size_t bytes = static_cast<size_t>(n_shared) * sizeof(unsigned);
  /* As many blocks as a multiprocessor has memory for, at most two of 1,024 threads. */
  const int64_t at_once = bytes <= csrn_cuda_shared_share(ctx, 2) ? 2 : 1;
  const csrn_launch shape = {csrn_cuda_blocks(A->nnz, COUNT_THREADS * 4, state->n_units * at_once),
                             COUNT_THREADS, bytes};
  const auto kernel = count_columns_kernel<T>;
  /* Always the most, as this belongs to the kernel: another thread must not lower it before the launch. */
  const csrn_status status = csrn_cuda_allow_shared(ctx, CSRN_OK, reinterpret_cast<const void *>(kernel),
                                                    csrn_cuda_shared_share(ctx, 1));
  return csrn_cuda_launch(ctx, status, shape, kernel, view, static_cast<const T *>(A->data), sums, n_shared);
}

template <typename T>
csrn_status find_largest(csrn_context *ctx, const csrn_csr *A, const column_sums &sums) {
  const csrn_launch shape = {
      csrn_cuda_blocks(A->nnz + A->n_cols, CSRN_THREADS, csrn_cuda_state_of(ctx)->n_units * 8), CSRN_THREADS,
      0};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, begin_fixed_point_kernel<T>, csrn_device_view(ctx, A),
                          static_cast<const T *>(A->data), sums);
}

template <typename T>
csrn_status add(csrn_context *ctx, const csrn_csr *A, csrn_columns_step step, const uint8_t *excluded_rows,
                const column_sums &sums) {
  visit_rows<T> visit = {static_cast<const T *>(A->data), excluded_rows, sums, COUNTS};
  if (step == CSRN_COLUMNS_COUNTS)
    return excluded_rows ? csrn_cuda_walk_rows(ctx, A, visit)
                         : count_all<T>(ctx, A, csrn_device_view(ctx, A), sums);
  if constexpr (T(0.5) != T(0)) {
    if (step == CSRN_COLUMNS_LARGEST)
      return find_largest<T>(ctx, A, sums);
    visit.mode = FIXED_POINT;
    const csrn_status status = csrn_cuda_walk_rows(ctx, A, visit);
    visit.mode = SPECIALS;
    return status ? status : csrn_cuda_walk_rows(ctx, A, visit);
  }
  return CSRN_OK; /* integers are counts */
}

template <typename T>
csrn_status store(csrn_context *ctx, const csrn_csr *A, const column_sums &sums, void *result,
                  csrn_dtype sums_type) {
  const csrn_launch shape = {csrn_cuda_blocks(A->n_cols, CSRN_THREADS, csrn_cuda_state_of(ctx)->n_units * 8),
                             CSRN_THREADS, 0};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, store_columns_kernel<T>, csrn_device_view(ctx, A), sums,
                          result, sums_type);
}

column_sums sums_of(const csrn_context *ctx, int64_t n_cols, bool narrow) {
  auto *memory = static_cast<unsigned long long *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_COLUMNS));
  return {memory, memory + n_cols, reinterpret_cast<unsigned *>(memory + 2 * n_cols), narrow};
}

} // namespace

size_t csrn_cuda_column_bytes(int64_t n_cols) {
  return bytes_of(n_cols);
}

/* 2^31 values of at most 32 bits add up to less than 2^63. */
bool csrn_cuda_columns_narrow(const csrn_csr *A) {
  return A->data_type != CSRN_I64 && A->nnz < (int64_t(1) << 31);
}

csrn_status csrn_cuda_columns_begin(csrn_context *ctx, int64_t n_cols) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  cudaError_t error =
      cudaMemsetAsync(csrn_cuda_slot_of(ctx, CSRN_CUDA_COLUMNS), 0, bytes_of(n_cols), state->stream);
  /* What an earlier sum of this operation has found out is none of this one's business. */
  if (error == cudaSuccess)
    error = cudaMemsetAsync(&state->control->now.refused, 0, sizeof(unsigned), state->stream);
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "clearing the sums of columns");
}

csrn_status csrn_cuda_columns_add(csrn_context *ctx, const csrn_csr *A, csrn_columns_step step,
                                  const uint8_t *excluded_rows, bool narrow) {
  const column_sums sums = sums_of(ctx, A->n_cols, narrow);
#define CASE(code, T)                                                                                        \
  case code:                                                                                                 \
    return add<T>(ctx, A, step, excluded_rows, sums);
  switch (A->data_type) {
    CSRN_CUDA_DATA_TYPES(CASE)
  default:
    return CSRN_INVALID_ARGUMENT; /* api.c lets no other type through */
  }
#undef CASE
}

csrn_status csrn_cuda_columns_store(csrn_context *ctx, const csrn_csr *A, bool narrow, void *sums,
                                    csrn_dtype sums_type) {
  const column_sums columns = sums_of(ctx, A->n_cols, narrow);
#define CASE(code, T)                                                                                        \
  case code:                                                                                                 \
    return store<T>(ctx, A, columns, sums, sums_type);
  switch (A->data_type) {
    CSRN_CUDA_DATA_TYPES(CASE)
  default:
    return CSRN_INVALID_ARGUMENT; /* api.c lets no other type through */
  }
#undef CASE
}

csrn_status csrn_cuda_column_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded_rows,
                                  void *sums, csrn_dtype sums_type) {
  const bool narrow = csrn_cuda_columns_narrow(A);
  csrn_status status = csrn_cuda_columns_begin(ctx, A->n_cols);
  for (const csrn_columns_step step : {CSRN_COLUMNS_COUNTS, CSRN_COLUMNS_LARGEST, CSRN_COLUMNS_FIXED_POINT})
    status = status ? status : csrn_cuda_columns_add(ctx, A, step, excluded_rows, narrow);
  return status ? status : csrn_cuda_columns_store(ctx, A, narrow, sums, sums_type);
}
