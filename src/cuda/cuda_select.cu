/*
 * Median and mean of values in device memory: see cuda_select.h.
 */
#include "cuda_select.h"

namespace {

enum { SELECT_THREADS = 1024, DIGIT_BITS = 11, DIGIT_BINS = 1 << DIGIT_BITS };

/* ---- Reductions and scans of a block of SELECT_THREADS ------------------------- */

enum { SELECT_WARPS = SELECT_THREADS / CSRN_WARP };

__device__ unsigned long long scan_warp(unsigned long long value) {
  const unsigned lane = threadIdx.x % CSRN_WARP;
  for (unsigned distance = 1; distance < CSRN_WARP; distance *= 2) {
    const unsigned long long other = __shfl_up_sync(FULL_WARP, value, distance);
    if (lane >= distance)
      value += other;
  }
  return value;
}

/* The inclusive prefix sums of one value a thread; *total: of all. `room` is shared, [SELECT_WARPS]. */
__device__ unsigned long long scan_block(unsigned long long value, unsigned long long *room,
                                         unsigned long long *total) {
  const unsigned lane = threadIdx.x % CSRN_WARP, warp = threadIdx.x / CSRN_WARP;
  value = scan_warp(value);
  if (lane == CSRN_WARP - 1)
    room[warp] = value;
  __syncthreads();
  if (warp == 0)
    room[lane] = scan_warp(room[lane]);
  __syncthreads();
  value += warp > 0 ? room[warp - 1] : 0;
  *total = room[SELECT_WARPS - 1];
  __syncthreads(); /* before the next use of the room */
  return value;
}

/* The smallest of one value a thread, for all. */
__device__ unsigned long long least_of_block(unsigned long long value, unsigned long long *room) {
  for (int distance = CSRN_WARP / 2; distance > 0; distance /= 2) {
    const unsigned long long other = __shfl_xor_sync(FULL_WARP, value, distance);
    value = other < value ? other : value;
  }
  if (threadIdx.x % CSRN_WARP == 0)
    room[threadIdx.x / CSRN_WARP] = value;
  __syncthreads();
  value = room[threadIdx.x % CSRN_WARP];
  for (int distance = CSRN_WARP / 2; distance > 0; distance /= 2) {
    const unsigned long long other = __shfl_xor_sync(FULL_WARP, value, distance);
    value = other < value ? other : value;
  }
  __syncthreads();
  return value;
}

/* Where a rank lies in a histogram. */
struct place {
  int bin;
  unsigned long long before, inside; /* values in lower bins, and in this one */
};

/* The places of the ranks that rank_of(total, 0) and (total, 1) want in bins[SHARE * SELECT_THREADS], for all
 * threads; *total: of all bins. Bin 0 where there is no such rank. */
template <int SHARE, typename Bins, typename Rank>
__device__ void find_places(const Bins &bins, const Rank &rank_of, place (&found)[2],
                            unsigned long long *total, unsigned long long *room) {
  __shared__ place places[2];
  unsigned long long mine[SHARE], sum = 0;
#pragma unroll
  for (int k = 0; k < SHARE; k++)
    mine[k] = bins[static_cast<int>(threadIdx.x) * SHARE + k];
#pragma unroll
  for (int k = 0; k < SHARE; k++)
    sum += mine[k];
  if (threadIdx.x == 0)
    places[0] = places[1] = {0, 0, 0};
  unsigned long long before = scan_block(sum, room, total) - sum;
#pragma unroll
  for (int k = 0; k < SHARE; k++) {
    for (int which = 0; which < 2; which++) {
      const unsigned long long rank = rank_of(*total, which);
      if (rank >= before && rank < before + mine[k])
        places[which] = {static_cast<int>(threadIdx.x) * SHARE + k, before, mine[k]};
    }
    before += mine[k];
  }
  __syncthreads();
  found[0] = places[0];
  found[1] = places[1];
  __syncthreads();
}

/* ---- The median --------------------------------------------------------------- */

/* Adds up the values in bins, in shared memory first. */
__global__ void __launch_bounds__(SELECT_THREADS)
    count_values_kernel(csrn_cuda_control *control, const double *values, int64_t n) {
  __shared__ unsigned bins[CSRN_SELECT_BINS]; /* a block has fewer than 2^32 values */
  for (unsigned b = threadIdx.x; b < CSRN_SELECT_BINS; b += SELECT_THREADS)
    bins[b] = 0;
  csrn_after_previous();
  if (control->now.flags & (CSRN_FLAG_INVALID_MATRIX | CSRN_FLAG_INVALID_TARGET))
    return; /* nobody has written any value */
  __syncthreads();
  const int64_t step = static_cast<int64_t>(gridDim.x) * SELECT_THREADS;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * SELECT_THREADS + threadIdx.x; i < n; i += step) {
    const unsigned long long key = select_key(values[i]);
    if (key)
      atomicAdd(&bins[select_bin(key)], 1U);
  }
  __syncthreads();
  for (unsigned b = threadIdx.x; b < CSRN_SELECT_BINS; b += SELECT_THREADS)
    if (bins[b])
      atomicAdd(&control->now.histogram[b], static_cast<unsigned long long>(bins[b]));
}

/* The two middle ranks of `count` values. */
struct middle_ranks {
  __device__ __forceinline__ unsigned long long operator()(unsigned long long count, int which) const {
    return count == 0 ? 0 : which == 0 ? (count - 1) / 2 : count / 2;
  }
};

struct one_rank {
  unsigned long long rank;
  __device__ __forceinline__ unsigned long long operator()(unsigned long long, int) const {
    return rank;
  }
};

/* The keys in the bins of the middle ranks go to candidates[], in any order. key: of this thread's first
 * value.
 */
__device__ void gather(csrn_cuda_control *control, const double *values, int64_t n, unsigned long long key,
                       const place (&middle)[2], unsigned long long *candidates) {
  __shared__ unsigned n_taken;             /* of the values that the block looks at together */
  __shared__ unsigned long long begin_all; /* where they go */
  const int64_t step = static_cast<int64_t>(gridDim.x) * SELECT_THREADS;
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * SELECT_THREADS; base < n; base += step) {
    const int bin = select_bin(key);
    const bool takes = key && (bin == middle[0].bin || bin == middle[1].bin);
    if (threadIdx.x == 0)
      n_taken = 0;
    __syncthreads();
    const unsigned place = takes ? atomicAdd(&n_taken, 1U) : 0U;
    __syncthreads();
    if (threadIdx.x == 0)
      begin_all = atomicAdd(&control->now.n_candidates, static_cast<unsigned long long>(n_taken));
    __syncthreads();
    if (takes)
      candidates[begin_all + place] = key;
    __syncthreads(); /* before the next values */
    const int64_t next = base + step + threadIdx.x;
    key = next < n ? select_key(values[next]) : 0;
  }
}

/* Keys that other blocks of this launch have written: read past the cache of this multiprocessor; or, where
 * they are few, copied to shared memory once. */
enum { FEW_KEYS = 2048 };

struct key_list {
  const unsigned long long *keys;
  unsigned long long n;
  const unsigned long long *copy; /* or NULL */
  __device__ __forceinline__ unsigned long long operator[](unsigned long long i) const {
    return copy ? copy[i] : __ldcg(keys + i);
  }
};

__device__ key_list list_keys(const unsigned long long *keys, unsigned long long n,
                              unsigned long long *room) {
  if (n > FEW_KEYS)
    return {keys, n, nullptr};
  for (unsigned long long i = threadIdx.x; i < n; i += SELECT_THREADS)
    room[i] = __ldcg(keys + i);
  __syncthreads();
  return {keys, n, room};
}

/* A histogram of a block; 64 bits, though few blocks ever count 2^32 keys. */
struct digit_bins {
  unsigned low[DIGIT_BINS], high[DIGIT_BINS];
  __device__ __forceinline__ void clear() {
    for (unsigned b = threadIdx.x; b < DIGIT_BINS; b += SELECT_THREADS)
      low[b] = high[b] = 0;
  }
  __device__ __forceinline__ void add(unsigned b) {
    if (atomicAdd(&low[b], 1U) == ~0U)
      atomicAdd(&high[b], 1U);
  }
  __device__ __forceinline__ unsigned long long operator[](int b) const {
    return static_cast<unsigned long long>(high[b]) << 32 | low[b];
  }
};

/* What is known of the rank that is looked for: its key agrees with `prefix` from bit `shift` on. */
struct search {
  unsigned long long prefix;
  int shift;
  unsigned long long rank;  /* among the keys that agree */
  unsigned long long equal; /* how many agree */
};

/* One more digit of the key; bits below `last` are the same in all keys. */
__device__ void narrow(const key_list &keys, int last, search *s, digit_bins *bins,
                       unsigned long long *room) {
  const int bits = s->shift - last < DIGIT_BITS ? s->shift - last : DIGIT_BITS, shift = s->shift - bits;
  bins->clear();
  __syncthreads();
#pragma unroll 4
  for (unsigned long long i = threadIdx.x; i < keys.n; i += SELECT_THREADS) {
    const unsigned long long key = keys[i];
    if (s->shift >= 64 || key >> s->shift == s->prefix)
      bins->add(static_cast<unsigned>(key >> shift) & ((1U << bits) - 1));
  }
  __syncthreads();
  unsigned long long total;
  place found[2];
  find_places<DIGIT_BINS / SELECT_THREADS>(*bins, one_rank{s->rank}, found, &total, room);
  s->rank -= found[0].before;
  s->equal = found[0].inside;
  s->prefix = (s->shift >= 64 ? 0 : s->prefix << bits) | static_cast<unsigned long long>(found[0].bin);
  s->shift = shift;
}

/* The key of a rank; *equal: how many keys are the same, *rank becomes the rank among those. */
__device__ unsigned long long select_key_of_rank(const key_list &keys, unsigned long long *rank,
                                                 unsigned long long *equal, digit_bins *bins,
                                                 unsigned long long *room) {
  const unsigned long long some = keys[0];
  unsigned long long different = 0;
#pragma unroll 4
  for (unsigned long long i = threadIdx.x; i < keys.n; i += SELECT_THREADS)
    different |= keys[i] ^ some;
  for (int distance = CSRN_WARP / 2; distance > 0; distance /= 2)
    different |= __shfl_xor_sync(FULL_WARP, different, distance);
  if (threadIdx.x % CSRN_WARP == 0)
    room[threadIdx.x / CSRN_WARP] = different;
  __syncthreads();
  different = 0;
  for (int w = 0; w < SELECT_WARPS; w++)
    different |= room[w];
  __syncthreads();
  search s = {some, 0, *rank, keys.n};
  if (different) {
    const int last = __ffsll(static_cast<long long>(different)) - 1;
    s.shift = 64 - __clzll(static_cast<long long>(different));
    s.prefix = s.shift < 64 ? some >> s.shift : 0;
    while (s.shift > last)
      narrow(keys, last, &s, bins, room);
    s.prefix = s.prefix << last | (some & ((1ULL << last) - 1));
  }
  *rank = s.rank;
  *equal = s.equal;
  return s.prefix;
}

/* The smallest key above `key`. */
__device__ unsigned long long next_key(const key_list &keys, unsigned long long key,
                                       unsigned long long *room) {
  unsigned long long next = ~0ULL;
#pragma unroll 4
  for (unsigned long long i = threadIdx.x; i < keys.n; i += SELECT_THREADS) {
    const unsigned long long other = keys[i];
    next = other > key && other < next ? other : next;
  }
  return least_of_block(next, room);
}

__device__ double mean_of_two(double a, double b) {
  const double sum = a + b;
  return isfinite(sum) ? sum / 2 : a / 2 + b / 2;
}

/* The median of `count` values, of which the candidates are those in the bins of the middle ranks. */
__device__ double finish_median(const key_list &keys, unsigned long long count, unsigned long long before,
                                digit_bins *bins, unsigned long long *room) {
  unsigned long long rank = (count - 1) / 2 - before, equal;
  const unsigned long long low = select_key_of_rank(keys, &rank, &equal, bins, room);
  /* The other middle rank is the same one, or the next: the same key unless this was the last of its kind. */
  const bool is_next = count % 2 == 0 && rank + 1 >= equal;
  const unsigned long long high = is_next ? next_key(keys, low, room) : low;
  return low == high ? __longlong_as_double(static_cast<long long>(low))
                     : mean_of_two(__longlong_as_double(static_cast<long long>(low)),
                                   __longlong_as_double(static_cast<long long>(high)));
}

/* Gathers the candidates; the last block that has done so selects among them. */
__global__ void __launch_bounds__(SELECT_THREADS, 1)
    select_median_kernel(csrn_cuda_control *control, const double *values, int64_t n,
                         unsigned long long *candidates, double *median) {
  __shared__ unsigned long long room[SELECT_WARPS];
  __shared__ digit_bins bins;
  __shared__ unsigned long long copy[FEW_KEYS];
  __shared__ bool is_last;
  /* May be read already: the previous kernel only reads the values, and what came before it is complete. */
  const int64_t i = static_cast<int64_t>(blockIdx.x) * SELECT_THREADS + threadIdx.x;
  const unsigned long long key = i < n ? select_key(csrn_load<true>(values + i)) : 0;
  csrn_after_previous();
  place middle[2];
  unsigned long long count;
  find_places<CSRN_SELECT_BINS / SELECT_THREADS>(control->now.histogram, middle_ranks{}, middle, &count,
                                                 room);
  if (count > 0)
    gather(control, values, n, key, middle, candidates);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0)
    is_last = atomicAdd(&control->now.n_done, 1U) == gridDim.x - 1;
  __syncthreads();
  if (!is_last)
    return;
  __threadfence();
  double result = __longlong_as_double(0x7ff8000000000000LL);
  if (count > 0) {
    const key_list keys = list_keys(candidates, __ldcg(&control->now.n_candidates), copy);
    result = finish_median(keys, count, middle[0].before, &bins, room);
  }
  if (threadIdx.x == 0) {
    control->target = result;
    if (median)
      *median = result;
  }
}

/* ---- The mean ------------------------------------------------------------------ */

/* The canonical sums of the pieces [stretch, stop), values that do not take part adding +0. */
__global__ void __launch_bounds__(CSRN_THREADS)
    sum_positive_kernel(csrn_cuda_control *control, const double *values, int64_t n, int64_t stretch,
                        int64_t stop, double *sums) {
  csrn_after_previous();
  const int lane = static_cast<int>(threadIdx.x % CSRN_WARP);
  const int64_t step = static_cast<int64_t>(gridDim.x) * (CSRN_THREADS / CSRN_WARP);
  int64_t p =
      stretch + static_cast<int64_t>(blockIdx.x) * (CSRN_THREADS / CSRN_WARP) + threadIdx.x / CSRN_WARP;
  for (; p < stop; p += step) {
    const int64_t begin = p * CSRN_BLOCK, end = n - begin < CSRN_BLOCK ? n : begin + CSRN_BLOCK;
    double lanes[1] = {0.0};
    unsigned long long count = 0;
    for (int64_t i = begin + lane; i < end; i += CSRN_WARP) {
      const bool counts = select_key(values[i]) != 0;
      lanes[0] += counts ? values[i] : 0.0;
      count += counts;
    }
    const double sum = combine_lanes<CSRN_WARP>(lanes, FULL_WARP);
    if (lane == 0)
      sums[p - stretch] = sum;
    if (count)
      atomicAdd(&control->now.n_positive, count);
  }
}

/* Adds the sums of the pieces in order; the last time, divides. */
__global__ void add_positive_kernel(csrn_cuda_control *control, const double *sums, int64_t n, bool is_first,
                                    bool is_last) {
  csrn_after_previous();
  double sum = is_first ? 0.0 : control->target;
#pragma unroll 16
  for (int64_t k = 0; k < n; k++)
    sum += sums[k];
  const unsigned long long count = control->now.n_positive;
  if (is_last)
    sum = count ? sum / static_cast<double>(count) : __longlong_as_double(0x7ff8000000000000LL);
  control->target = sum;
}

} // namespace

cudaError_t csrn_cuda_prepare_select(void) {
  const cudaError_t error = csrn_cuda_prefer_shared(reinterpret_cast<const void *>(count_values_kernel));
  return error == cudaSuccess ? csrn_cuda_prefer_shared(reinterpret_cast<const void *>(select_median_kernel))
                              : error;
}

csrn_status csrn_cuda_select_median(csrn_context *ctx, csrn_status status, const double *values, int64_t n,
                                    double *median) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  auto *candidates = static_cast<unsigned long long *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_CANDIDATES));
  csrn_launch shape = {csrn_cuda_blocks(n, SELECT_THREADS, state->n_units), SELECT_THREADS, 0};
  status = csrn_cuda_launch(ctx, status, shape, count_values_kernel, state->control, values, n);
  if (shape.blocks == 0)
    shape.blocks = 1; /* the median of nothing */
  return csrn_cuda_launch(ctx, status, shape, select_median_kernel, state->control, values, n, candidates,
                          median);
}

csrn_status csrn_cuda_mean(csrn_context *ctx, csrn_status status, const double *values, int64_t n) {
  enum { STRETCH = 1 << 18 }; /* of float64: half of the pieces' memory */
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  auto *sums = static_cast<double *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_PIECES));
  const int64_t n_pieces = csrn_cuda_blocks(n, CSRN_BLOCK, 0);
  int64_t stretch = 0;
  do {
    const int64_t stop = n_pieces - stretch < STRETCH ? n_pieces : stretch + STRETCH;
    const csrn_launch shape = {csrn_cuda_blocks(stop - stretch, CSRN_THREADS / CSRN_WARP, state->n_units * 8),
                               CSRN_THREADS, 0};
    status = csrn_cuda_launch(ctx, status, shape, sum_positive_kernel, state->control, values, n, stretch,
                              stop, sums);
    status = csrn_cuda_launch(ctx, status, {1, 1, 0}, add_positive_kernel, state->control, sums,
                              stop - stretch, stretch == 0, stop == n_pieces);
    stretch = stop;
  } while (stretch < n_pieces);
  return status;
}
