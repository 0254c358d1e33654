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
  __device__ __forceinline__ void add_real(int64_t c, double x, const double (&unit)[2]) const;
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

/* Both limbs as one integer of 64 bits: below 2^63, since |x| < 2^(E + 1). What is not finite is noted. */
__device__ __forceinline__ void column_sums::add_real(int64_t c, double x, const double (&unit)[2]) const {
  if (!isfinite(x)) {
    atomicOr(&specials[c], isnan(x) ? HAS_NAN : x > 0 ? HAS_INF : HAS_MINUS_INF);
    return;
  }
  int64_t upper, lower;
  csrn_split_limbs(x, unit, &upper, &lower);
  const uint64_t both = (static_cast<uint64_t>(upper) << CSRN_LIMB_BITS) + static_cast<uint64_t>(lower);
  if (both)
    add_wide(c, static_cast<int64_t>(both));
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
enum { SMALL = 256, ADDITIONS_PER_FLUSH = 1 << 24, COUNT_THREADS = 768 };

/* Whether x is such a count. */
template <typename T> __device__ __forceinline__ bool is_small(T x, unsigned *count) {
  const int whole = static_cast<int>(x);
  *count = static_cast<unsigned>(whole);
  return *count < SMALL && static_cast<T>(whole) == x;
}

/* Moves the block's sums to those of all. */
__device__ void flush(unsigned *shares, int n, const column_sums &sums) {
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < n; c += COUNT_THREADS) {
    if (shares[c])
      sums.add(c, shares[c]);
    shares[c] = 0;
  }
  __syncthreads();
}

/* Entry i, if it is no small count of a column below n_shared. */
template <typename T>
__device__ __noinline__ void add_other(csrn_cuda_control *control, int64_t n_cols, T x, int64_t c, int64_t i,
                                       column_sums sums) {
  int64_t count;
  if (!is_count(x, &count))
    control->now.refused = 1;
  if (static_cast<uint64_t>(c) >= static_cast<uint64_t>(n_cols))
    note_bad_column(control, i);
  else if (count)
    sums.add(c, count);
}

/* A pack of entries, of a whole matrix as one row. */
template <typename T, typename I> struct entry_pack {
  csrn_pack<T> x;
  I c[PACK];
};

/* Which entries there are, and how they lie in memory: where `packed`, the indices are int32 and begin as far
 * from a multiple of the size of a pack as the data. */
template <typename T, typename I> struct entries {
  csrn_index_array indices;
  const T *data;
  int64_t begin, end, first; /* `first` begins a pack */

  __device__ __forceinline__ entries(const csrn_device_matrix &A, const T *values, int lead)
      : indices(A.indices), data(values), begin(A.indptr[0]), end(A.indptr[A.n_rows]),
        first(begin - (begin + lead) % PACK) {}
  /* Beyond the end there are zeros in column 0. */
  __device__ __forceinline__ void load(int64_t i, entry_pack<T, I> *pack) const {
    if (i >= begin && i + PACK <= end) {
      pack->x = *reinterpret_cast<const csrn_pack<T> *>(data + i);
      if constexpr (sizeof(I) == sizeof(int32_t)) {
        const auto its = *reinterpret_cast<const csrn_pack<I> *>(static_cast<const I *>(indices.values) + i);
#pragma unroll
        for (int j = 0; j < PACK; j++)
          pack->c[j] = its.x[j];
      } else {
#pragma unroll
        for (int j = 0; j < PACK; j++)
          pack->c[j] = indices[i + j];
      }
    } else {
#pragma unroll
      for (int j = 0; j < PACK; j++) {
        const bool exists = i + j >= begin && i + j < end;
        pack->x.x[j] = exists ? data[i + j] : T(0);
        pack->c[j] = exists ? static_cast<I>(indices[i + j]) : I(0);
      }
    }
  }
};

/* All entries; the columns below n_shared have sums in the block's shared memory. I: int32_t, where entries
 * are packed (see above), or int64_t for indices of any type. */
template <typename T, typename I>
__global__ void __launch_bounds__(COUNT_THREADS)
    count_columns_kernel(csrn_device_matrix A, const T *data, column_sums sums, int n_shared, int lead) {
  CSRN_DYNAMIC_SHARED(shared);
  constexpr int BATCH = sizeof(T) + sizeof(I) > 8 ? 1 : 2;
  unsigned *shares = reinterpret_cast<unsigned *>(shared);
  if (!A.is_sound())
    return;
  for (int c = static_cast<int>(threadIdx.x); c < n_shared; c += COUNT_THREADS)
    shares[c] = 0;
  __syncthreads();
  const entries<T, I> all(A, data, lead);
  const int64_t chunk = int64_t(COUNT_THREADS) * PACK, step = gridDim.x * chunk;
  const int64_t mine = all.first + blockIdx.x * chunk + threadIdx.x * int64_t(PACK);
  int64_t added = 0;
  entry_pack<T, I> next[BATCH];
#pragma unroll
  for (int k = 0; k < BATCH; k++)
    all.load(mine + k * step, &next[k]);
  /* By whole blocks, since they flush together. */
  for (int64_t base = 0; all.first + blockIdx.x * chunk + base < all.end; base += BATCH * step) {
    entry_pack<T, I> now[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      now[k] = next[k];
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      all.load(mine + base + (BATCH + k) * step, &next[k]);
#pragma unroll
    for (int k = 0; k < BATCH; k++)
#pragma unroll
      for (int j = 0; j < PACK; j++) {
        unsigned count;
        const I c = now[k].c[j];
        if (is_small(now[k].x.x[j], &count) && static_cast<uint64_t>(c) < static_cast<uint64_t>(n_shared))
          atomicAdd(&shares[c], count);
        else if (const int64_t i = mine + base + k * step + j; i >= all.begin && i < all.end)
          add_other(A.control, A.n_cols, now[k].x.x[j], static_cast<int64_t>(c), i, sums);
      }
    added += BATCH * chunk;
    if (added > ADDITIONS_PER_FLUSH - BATCH * chunk) {
      flush(shares, n_shared, sums);
      added = 0;
    }
  }
  flush(shares, n_shared, sums);
}

/* ---- In fixed point, and by rows without excluded ones --------------------------------- */

enum visit_mode { COUNTS, FIXED_POINT };

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
  static constexpr bool SUMS = false, FINISHES = true, WRITES = false, MASKED = false, GATED = true,
                        VISITS_FEW = false;
  struct input {
    bool skipped;
  };
  struct row {
    bool skipped;
    double unit[2];
  };
  const T *data;
  const uint8_t *excluded_rows; /* or NULL */
  column_sums sums;
  visit_mode mode;

  /* Counts need no fixed point: nothing is read for them then. */
  __device__ __forceinline__ bool has_work(const csrn_device_matrix &A) const {
    return mode == COUNTS || A.control->now.refused;
  }

  __device__ __forceinline__ input fetch(int64_t r) const {
    return {excluded_rows && excluded_rows[r]};
  }
  __device__ __forceinline__ row begin(const csrn_device_matrix &A, int64_t, typename csrn_sum_of<T>::total,
                                       const input &given, bool) const {
    row its = {given.skipped, {0.0, 0.0}};
    if (mode == FIXED_POINT && !its.skipped) {
      const fixed_point f = fixed_point_of(A.control->now.largest);
      its.unit[0] = f.unit[0];
      its.unit[1] = f.unit[1];
    }
    return its;
  }

  __device__ __forceinline__ bool wants(const row &its, T) const {
    return !its.skipped;
  }
  __device__ __forceinline__ void visit(const csrn_device_matrix &A, const row &its, int64_t i, T x) const {
    const int64_t c = A.indices[i];
    if (!A.has_column(c)) {
      note_bad_column(A.control, i);
      return;
    }
    if (mode == COUNTS)
      add_count(A, c, x);
    else
      sums.add_real(c, static_cast<double>(x), its.unit);
  }

  __device__ __forceinline__ void add_count(const csrn_device_matrix &A, int64_t c, T x) const {
    int64_t count;
    if (!is_count(x, &count))
      A.control->now.refused = 1;
    else if (count)
      sums.add(c, count);
  }
};

/* The largest finite magnitude, if the values are no counts; then the sums begin again from zero. */
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
  for (int64_t i = A.indptr[0] + thread, end = A.indptr[A.n_rows]; i < end; i += step) {
    const double magnitude = fabs(static_cast<double>(data[i]));
    largest = isfinite(magnitude) && magnitude > largest ? magnitude : largest;
  }
  atomicMax(&A.control->now.largest, static_cast<unsigned long long>(__double_as_longlong(largest)));
}

/* All entries, where they are no counts. */
template <typename T>
__global__ void __launch_bounds__(CSRN_THREADS)
    add_fixed_point_kernel(csrn_device_matrix A, const T *data, column_sums sums) {
  if (!A.is_sound() || !A.control->now.refused)
    return;
  const fixed_point f = fixed_point_of(A.control->now.largest);
  const int64_t step = static_cast<int64_t>(gridDim.x) * CSRN_THREADS, end = A.indptr[A.n_rows];
  for (int64_t i = A.indptr[0] + static_cast<int64_t>(blockIdx.x) * CSRN_THREADS + threadIdx.x; i < end;
       i += step) {
    const int64_t c = A.indices[i];
    if (A.has_column(c))
      sums.add_real(c, static_cast<double>(data[i]), f.unit);
    else
      note_bad_column(A.control, i);
  }
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

/* ---- Shared memory -------------------------------------------------------------------------- */

size_t shared_share(const csrn_context *ctx, int blocks) {
  /* The system keeps 1 KiB of each block's for itself; static shared memory counts too. */
  enum { OVERHEAD = 3 << 10, GRANULE = 1 << 10 };
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const size_t share = state->shared_per_unit / static_cast<size_t>(blocks) - OVERHEAD;
  const size_t most = state->shared_per_block - OVERHEAD;
  return (share < most ? share : most) / GRANULE * GRANULE;
}

/* ---- The sequence ------------------------------------------------------------------------ */

template <typename T, typename I>
csrn_status launch_count(csrn_context *ctx, const csrn_csr *A, const column_sums &sums) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const int64_t room = static_cast<int64_t>(shared_share(ctx, 1) / sizeof(unsigned));
  const int n_shared = static_cast<int>(A->n_cols < room ? A->n_cols : room);
  const size_t bytes = static_cast<size_t>(n_shared) * sizeof(unsigned);
  /* As many blocks as a multiprocessor has memory for, at most two. */
  const int64_t at_once = bytes <= shared_share(ctx, 2) ? 2 : 1;
  const csrn_launch shape = {
      csrn_cuda_blocks(A->nnz > 0 ? A->nnz + PACK : 0, COUNT_THREADS * PACK, state->n_units * at_once),
      COUNT_THREADS, bytes};
  const auto kernel = count_columns_kernel<T, I>;
  const T *data = static_cast<const T *>(A->data);
  /* Always the most, as this belongs to the kernel: another thread must not lower it before the launch. */
  const csrn_status status =
      csrn_cuda_allow_shared(ctx, CSRN_OK, reinterpret_cast<const void *>(kernel), shared_share(ctx, 1));
  return csrn_cuda_launch(ctx, status, shape, kernel, csrn_device_view(ctx, A), data, sums, n_shared,
                          csrn_cuda_lead(data));
}

template <typename T> csrn_status count_all(csrn_context *ctx, const csrn_csr *A, const column_sums &sums) {
  const bool packed =
      A->indices_type == CSRN_I32 && csrn_cuda_lead(static_cast<const T *>(A->data)) ==
                                         csrn_cuda_lead(static_cast<const int32_t *>(A->indices));
  return packed ? launch_count<T, int32_t>(ctx, A, sums) : launch_count<T, int64_t>(ctx, A, sums);
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
csrn_status add_fixed_point(csrn_context *ctx, const csrn_csr *A, const column_sums &sums) {
  const csrn_launch shape = {csrn_cuda_blocks(A->nnz, CSRN_THREADS, csrn_cuda_state_of(ctx)->n_units * 8),
                             CSRN_THREADS, 0};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, add_fixed_point_kernel<T>, csrn_device_view(ctx, A),
                          static_cast<const T *>(A->data), sums);
}

template <typename T>
csrn_status add(csrn_context *ctx, const csrn_csr *A, csrn_columns_step step, const uint8_t *excluded_rows,
                const column_sums &sums) {
  visit_rows<T> visit = {static_cast<const T *>(A->data), excluded_rows, sums, COUNTS};
  if (step == CSRN_COLUMNS_COUNTS)
    return excluded_rows ? csrn_cuda_walk_rows(ctx, A, visit, false) : count_all<T>(ctx, A, sums);
  if constexpr (T(0.5) != T(0)) {
    if (step == CSRN_COLUMNS_LARGEST)
      return find_largest<T>(ctx, A, sums);
    visit.mode = FIXED_POINT;
    return excluded_rows ? csrn_cuda_walk_rows(ctx, A, visit, false) : add_fixed_point<T>(ctx, A, sums);
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
