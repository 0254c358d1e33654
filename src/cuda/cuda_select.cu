/*
 * Median and mean of values in device memory: see cuda_select.h.
 */
#include "cuda_select.h"

#include "cuda_each.h"

namespace {

enum { FINAL_THREADS = 1024, FINAL_BITS = 11, FINAL_BINS = 1 << FINAL_BITS };

/* ---- Reductions and scans of a block ----------------------------------------- */

/* The inclusive prefix sums of one value a thread; *total: of all. `room` is shared, [33]. */
__device__ unsigned long long scan_block(unsigned long long value, unsigned long long *room,
                                         unsigned long long *total) {
  const unsigned lane = threadIdx.x % CSRN_WARP, warp = threadIdx.x / CSRN_WARP;
  const unsigned n_warps = blockDim.x / CSRN_WARP;
  for (unsigned distance = 1; distance < CSRN_WARP; distance *= 2) {
    const unsigned long long other = __shfl_up_sync(FULL_WARP, value, distance);
    if (lane >= distance)
      value += other;
  }
  if (lane == CSRN_WARP - 1)
    room[warp] = value;
  __syncthreads();
  unsigned long long before = 0, all = 0;
  for (unsigned w = 0; w < n_warps; w++) {
    before += w < warp ? room[w] : 0;
    all += room[w];
  }
  __syncthreads(); /* before the next use of the room */
  *total = all;
  return before + value;
}

/* The bin of bins[n_bins], n_bins a multiple of the threads, that holds `rank`; `before` counts what lies in
 * lower bins. The result is that of all threads. */
struct bin_of_rank {
  int bin;
  unsigned long long before;
};

__device__ bin_of_rank find_bin(const unsigned long long *bins, int n_bins, unsigned long long rank,
                                unsigned long long *room, unsigned long long *total) {
  __shared__ bin_of_rank found;
  const int share = n_bins / static_cast<int>(blockDim.x), first = static_cast<int>(threadIdx.x) * share;
  unsigned long long sum = 0;
  for (int k = 0; k < share; k++)
    sum += bins[first + k];
  unsigned long long before = scan_block(sum, room, total) - sum;
  if (rank >= before && rank < before + sum) {
    int bin = first;
    for (; rank >= before + bins[bin]; bin++)
      before += bins[bin];
    found = {bin, before};
  }
  __syncthreads();
  const bin_of_rank result = found;
  __syncthreads();
  return result;
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
  for (unsigned w = 0; w < blockDim.x / CSRN_WARP; w++)
    value = room[w] < value ? room[w] : value;
  __syncthreads();
  return value;
}

/* ---- The median --------------------------------------------------------------- */

/* Where the two middle ranks lie: found alike by every block from the first histogram. */
struct middle {
  unsigned long long count; /* of values that take part */
  int low_bin, high_bin;
  unsigned long long before; /* values below low_bin */
};

__device__ middle find_middle(const csrn_cuda_control *control, unsigned long long *room) {
  middle m;
  unsigned long long sum = 0;
  const int share = CSRN_SELECT_BINS / static_cast<int>(blockDim.x);
  for (int k = 0; k < share; k++)
    sum += control->now.histogram[static_cast<int>(threadIdx.x) * share + k];
  scan_block(sum, room, &m.count);
  m.low_bin = m.high_bin = 0;
  m.before = 0;
  if (m.count == 0)
    return m;
  unsigned long long total;
  const bin_of_rank low = find_bin(control->now.histogram, CSRN_SELECT_BINS, (m.count - 1) / 2, room, &total);
  m.low_bin = low.bin;
  m.before = low.before;
  m.high_bin = find_bin(control->now.histogram, CSRN_SELECT_BINS, m.count / 2, room, &total).bin;
  return m;
}

struct count_value {
  csrn_cuda_control *control;
  const double *values;
  __device__ void operator()(int64_t i) const {
    note_total(control, values[i]);
  }
};

/* The values in the bins of the middle ranks, in any order. */
__global__ void __launch_bounds__(CSRN_THREADS)
    gather_candidates_kernel(csrn_cuda_control *control, const double *values, int64_t n,
                             unsigned long long *candidates) {
  __shared__ unsigned long long room[CSRN_WARP + 1];
  const middle m = find_middle(control, room);
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * blockDim.x; m.count > 0 && base < n; base += step) {
    const int64_t i = base + threadIdx.x;
    const unsigned long long key = i < n ? select_key(values[i]) : 0;
    const int bin = select_bin(key);
    const bool takes = key && (bin == m.low_bin || bin == m.high_bin);
    const unsigned takers = __ballot_sync(FULL_WARP, takes);
    if (takers == 0)
      continue;
    const int lane = static_cast<int>(threadIdx.x % CSRN_WARP), leader = __ffs(static_cast<int>(takers)) - 1;
    unsigned long long place = 0;
    if (lane == leader)
      place = atomicAdd(&control->now.n_candidates, static_cast<unsigned long long>(__popc(takers)));
    place = __shfl_sync(FULL_WARP, place, leader);
    if (takes)
      candidates[place + static_cast<unsigned>(__popc(takers & ((1U << lane) - 1)))] = key;
  }
}

/* What is known of the rank that is looked for: its key agrees with `prefix` from bit `shift` on. */
struct search {
  const unsigned long long *keys;
  unsigned long long n;
  unsigned long long prefix;
  int shift;
  unsigned long long rank;  /* among the keys that agree */
  unsigned long long equal; /* how many agree */
};

/* One more digit of the key. */
__device__ void narrow(search *s, unsigned long long *bins, unsigned long long *room) {
  const int bits = s->shift < FINAL_BITS ? s->shift : FINAL_BITS, shift = s->shift - bits;
  for (unsigned b = threadIdx.x; b < FINAL_BINS; b += blockDim.x)
    bins[b] = 0;
  __syncthreads();
  for (unsigned long long i = threadIdx.x; i < s->n; i += blockDim.x) {
    const unsigned long long key = s->keys[i];
    if (s->shift >= 64 || key >> s->shift == s->prefix)
      atomicAdd(&bins[(key >> shift) & ((1U << bits) - 1)], 1ULL);
  }
  __syncthreads();
  unsigned long long total;
  const bin_of_rank found = find_bin(bins, FINAL_BINS, s->rank, room, &total);
  s->rank -= found.before;
  s->equal = bins[found.bin];
  s->prefix = (s->shift >= 64 ? 0 : s->prefix << bits) | static_cast<unsigned long long>(found.bin);
  s->shift = shift;
  __syncthreads();
}

/* The key of a rank; *equal: how many keys are the same, *rank becomes the rank among those. */
__device__ unsigned long long select_key_of_rank(const unsigned long long *keys, unsigned long long n,
                                                 unsigned long long *rank, unsigned long long *equal,
                                                 unsigned long long *bins, unsigned long long *room) {
  unsigned long long least = ~0ULL, all_but_largest = ~0ULL;
  for (unsigned long long i = threadIdx.x; i < n; i += blockDim.x) {
    least = keys[i] < least ? keys[i] : least;
    all_but_largest = ~keys[i] < all_but_largest ? ~keys[i] : all_but_largest;
  }
  least = least_of_block(least, room);
  const unsigned long long largest = ~least_of_block(all_but_largest, room);
  /* All keys agree above their highest different bit. */
  const int shift = least == largest ? 0 : 64 - __clzll(static_cast<long long>(least ^ largest));
  search s = {keys, n, shift < 64 ? least >> shift : 0, shift, *rank, n};
  while (s.shift > 0)
    narrow(&s, bins, room);
  *rank = s.rank;
  *equal = s.equal;
  return s.prefix;
}

/* The smallest key above `key`. */
__device__ unsigned long long next_key(const unsigned long long *keys, unsigned long long n,
                                       unsigned long long key, unsigned long long *room) {
  unsigned long long next = ~0ULL;
  for (unsigned long long i = threadIdx.x; i < n; i += blockDim.x)
    next = keys[i] > key && keys[i] < next ? keys[i] : next;
  return least_of_block(next, room);
}

__device__ double mean_of_two(double a, double b) {
  const double sum = a + b;
  return isfinite(sum) ? sum / 2 : a / 2 + b / 2;
}

/* One block: the median among the candidates. */
__global__ void __launch_bounds__(FINAL_THREADS)
    finish_median_kernel(csrn_cuda_control *control, const unsigned long long *candidates, double *median) {
  __shared__ unsigned long long room[CSRN_WARP + 1];
  __shared__ unsigned long long bins[FINAL_BINS];
  const middle m = find_middle(control, room);
  double result = __longlong_as_double(0x7ff8000000000000LL);
  if (m.count > 0) {
    const unsigned long long n = control->now.n_candidates;
    unsigned long long rank = (m.count - 1) / 2 - m.before, equal;
    const unsigned long long low = select_key_of_rank(candidates, n, &rank, &equal, bins, room);
    /* The other middle rank is the same one, or the next: the same key unless this was the last of its kind.
     */
    const bool is_next = m.count % 2 == 0 && rank + 1 >= equal;
    const unsigned long long high = is_next ? next_key(candidates, n, low, room) : low;
    result = low == high ? __longlong_as_double(static_cast<long long>(low))
                         : mean_of_two(__longlong_as_double(static_cast<long long>(low)),
                                       __longlong_as_double(static_cast<long long>(high)));
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

csrn_status csrn_cuda_count_values(csrn_context *ctx, csrn_status status, const double *values, int64_t n) {
  return csrn_cuda_each(ctx, status, n, count_value{csrn_cuda_state_of(ctx)->control, values});
}

csrn_status csrn_cuda_select_median(csrn_context *ctx, csrn_status status, const double *values, int64_t n,
                                    double *median) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  auto *candidates = static_cast<unsigned long long *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_CANDIDATES));
  const csrn_launch shape = {csrn_cuda_blocks(n, CSRN_THREADS, state->n_units * 4), CSRN_THREADS, 0};
  status =
      csrn_cuda_launch(ctx, status, shape, gather_candidates_kernel, state->control, values, n, candidates);
  return csrn_cuda_launch(ctx, status, {1, FINAL_THREADS, 0}, finish_median_kernel, state->control,
                          candidates, median);
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
