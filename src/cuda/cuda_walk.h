/*
 * Walking the rows of a matrix: one algorithm for every operation that has something to
 * do per row, be it a sum, what is done with each element afterwards, or both.
 *
 * Work per row adapts to its length, with the same bits whatever the way:
 *
 *   up to some 250 elements   8 threads, so four rows a warp, where rows are short on average
 *   up to LONG_ROW            a warp
 *   up to GIANT_ROW           a block of threads, a warp for every CSRN_BLOCK elements of the sum
 *   beyond                    all blocks, a warp for every piece of CSRN_BLOCK elements
 *
 * Where a row is summed and then finished, it is read again from the caches, in which it still is:
 * DRAM sees each element read once and written once. The kernel of the rows lists those that it
 * leaves to the others: nothing of this ever needs the host.
 *
 * Elements are finished in packs of four that lie at multiples of their size in memory, whatever
 * the beginning of the row: what a pack holds of other rows is left alone.
 *
 * An operation is a struct:
 *
 *   using T            the type of the data
 *   SUMS, FINISHES     whether a row's total is needed; whether something is done with each element
 *   WRITES             whether that is the writing of a result, of type O, to `O *out`
 *   MASKED             whether is_excluded() may leave an element out of the total
 *   GATED              whether has_work(A) says, from what earlier kernels have found out, that there is
 *                      nothing to do: then the kernels return at once and read nothing
 *   const T *data
 *   struct input       what is to be loaded of a row beforehand, by input fetch(r)
 *   struct row         what elements need to know of the row
 *   row begin(A, r, total, input, n, first)   what becomes of a row once its total is known, if any; n: how
 *                      many elements whole warps will finish (0: several rows share a warp); `first` is true
 *                      in one thread of all that share the row: the one to write per-row results
 *   csrn_cuda_how how  if WRITES: what becomes of an element, by the row, a csrn_row_scaler of C and O
 *   void visit(A, row, i, x)   what is done with element i, whose value is x, otherwise
 */
#ifndef CSRN_CUDA_WALK_H
#define CSRN_CUDA_WALK_H

#include "cuda_scale.h"

/* A row longer than this is shared by all blocks. */
enum { MAX_PIECES_PER_BLOCK = 64 };
constexpr int64_t GIANT_ROW = int64_t(MAX_PIECES_PER_BLOCK) * CSRN_BLOCK;

/* A row longer than this is left to a block: a warp alone would be late with it. */
constexpr int64_t LONG_ROW = CSRN_BLOCK;

/* Sums of pieces that one launch can leave behind: 4 MiB, for 2^30 elements in giant rows. */
enum { PIECES_PER_STRETCH = 1 << 18, PIECE_BYTES = 16 };

/* csrn_cuda_left.giants counts rows above, and pieces below this bit: one atomic addition gives a giant both
 * its place in the list and its first piece, so that the list is sorted by pieces. */
enum { GIANT_SHIFT = 40 };

struct csrn_giant {
  int64_t row;
  int64_t first_piece;
  unsigned long long done;     /* pieces summed in this stretch */
  unsigned long long total[2]; /* the running total: a float64 or 128 bits */
};

struct csrn_walk {
  csrn_device_matrix A;
  int64_t *list; /* [n_rows]: the long rows */
  csrn_giant *giants;
  csrn_cuda_left *left;
  void *pieces; /* [PIECES_PER_STRETCH] of PIECE_BYTES */
  bool shares_giants; /* rows longer than GIANT_ROW are shared by all blocks */
  int lead;     /* elements between a multiple of the size of a pack and data[0] */
  bool packed;  /* results can be written in packs: `out` lies as `data` does */
};

/* The threads of a block that walks rows by groups of G. Blocks are small, since a block keeps its place until its
 * longest row is done. */
enum { LONG_THREADS = 128 };
template <int G> constexpr int row_threads = G == CSRN_WARP ? 64 : 128;

/* Threads that are to run on one multiprocessor: as many as registers allow without spilling. */
template <typename Op>
constexpr bool is_heavy = Op::MASKED || sizeof(typename csrn_sum_of<typename Op::T>::lane) > 8;
template <typename Op> constexpr int long_threads_at_once = is_heavy<Op> ? 384 : 640;
template <int G, typename Op>
constexpr int row_threads_at_once = is_heavy<Op>                          ? 512
                                    : G < CSRN_WARP                        ? 768
                                    : sizeof(typename Op::T) > 4           ? 640
                                    : Op::SUMS                             ? 1024
                                                                           : 896;

/* ---- Sums of up to CSRN_BLOCK elements by a warp ------------------------------ */

/* Elements are loaded in batches before they are added, to have many loads under way. What lies beyond the
 * end counts as +0, which changes no lane: none is ever -0. I: the type of the indices if that is int32_t; else
 * int64_t, to which they are converted. */
template <int BATCH, typename I, typename Op, typename S>
__device__ __forceinline__ S add_batch(const csrn_device_matrix &A, const Op &op, int64_t begin, int n, S sum) {
  using T = typename Op::T;
  const int lane = group_lane<CSRN_WARP>();
  const T *values = op.data + begin + lane;
  T x[BATCH];
#pragma unroll
  for (int k = 0; k < BATCH; k++)
    x[k] = CSRN_WARP * k + lane < n ? values[CSRN_WARP * k] : T(0);
  if constexpr (Op::MASKED) {
    I c[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      const int64_t i = begin + CSRN_WARP * k + lane;
      c[k] = 0;
      if (CSRN_WARP * k + lane < n)
        c[k] = sizeof(I) == sizeof(int32_t) ? static_cast<const I *>(A.indices.values)[i] : static_cast<I>(A.indices[i]);
    }
    bool bad = false;
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      const bool inside = A.has_column(c[k]);
      bad |= !inside && CSRN_WARP * k + lane < n;
      if (!inside || op.is_excluded(c[k]))
        x[k] = T(0);
    }
    if (bad)
      for (int k = 0; k < BATCH; k++)
        if (CSRN_WARP * k + lane < n && !A.has_column(A.indices[begin + CSRN_WARP * k + lane]))
          note_bad_column(A.control, begin + CSRN_WARP * k + lane);
  }
#pragma unroll
  for (int k = 0; k < BATCH; k++)
    sum += static_cast<S>(x[k]);
  return sum;
}

template <typename I, typename Op, typename S>
__device__ __forceinline__ S add_all(const csrn_device_matrix &A, const Op &op, int64_t begin, int n) {
  constexpr bool heavy = Op::MASKED || sizeof(S) > 8 || sizeof(typename Op::T) > 4;
  constexpr int MOST = heavy ? 8 : 32, SOME = heavy ? 8 : 16, FEW = 4;
  S sum = 0;
  int base = 0;
  for (; n - base > CSRN_WARP * SOME; base += CSRN_WARP * MOST)
    sum = add_batch<MOST, I>(A, op, begin + base, n - base, sum);
  if (n - base > CSRN_WARP * FEW)
    return add_batch<SOME, I>(A, op, begin + base, n - base, sum);
  return n > base ? add_batch<FEW, I>(A, op, begin + base, n - base, sum) : sum;
}

/* The sum of elements [begin, begin + n) of the matrix; n <= CSRN_BLOCK. */
template <typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::lane
sum_piece(const csrn_device_matrix &A, const Op &op, int64_t begin, int n) {
  using S = typename csrn_sum_of<typename Op::T>::lane;
  S lanes[1];
  if (Op::MASKED && A.indices.type == CSRN_I32)
    lanes[0] = add_all<int32_t, Op, S>(A, op, begin, n);
  else
    lanes[0] = add_all<int64_t, Op, S>(A, op, begin, n);
  return combine_lanes<CSRN_WARP>(lanes, FULL_WARP);
}

/* ---- Packs ---------------------------------------------------------------------- */

enum { PACK = 4 };

template <typename T, int N = PACK> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) csrn_pack {
  T x[N];
};

/* Stores what nobody reads again soon: the caches are for other things. */
template <typename O, int N> __device__ __forceinline__ void store_once(O *to, const csrn_pack<O, N> &pack) {
  if constexpr (sizeof pack == sizeof(float4)) {
    float4 bits;
    memcpy(&bits, &pack, sizeof bits);
    __stcs(reinterpret_cast<float4 *>(to), bits);
    return;
  }
  *reinterpret_cast<csrn_pack<O, N> *>(to) = pack;
}

/* A row of n elements from `begin` on: `head` elements before its first whole pack, `full` packs, and up to three
 * elements behind them. */
struct csrn_packed_row {
  int64_t begin;
  int n, head, full;

  __device__ __forceinline__ csrn_packed_row(const csrn_walk &w, int64_t row_begin, int length)
      : begin(row_begin), n(length) {
    const int before = static_cast<int>(-(row_begin + w.lead) & (PACK - 1));
    head = before < length ? before : length;
    full = (length - head) / PACK;
  }
  /* The number of element e of those, up to six, that are in no whole pack; n or more: there is none. */
  __device__ __forceinline__ int edge(int e) const {
    return e < head ? e : e + full * PACK;
  }
};

/* N elements with their results, or visited. */
template <csrn_cuda_mode MODE, bool WARP, int N, typename Op, typename T>
__device__ __forceinline__ void finish_elements(const csrn_walk &w, const Op &op, const typename Op::row &row, int64_t i,
                                                const T (&values)[N]) {
  if constexpr (Op::WRITES) {
    using O = typename Op::O;
    typename Op::C x[N];
#pragma unroll
    for (int j = 0; j < N; j++)
      x[j] = static_cast<typename Op::C>(values[j]);
    csrn_pack<O, N> results;
    row.template apply<MODE, WARP>(op.how, x, results.x);
    if (w.packed) {
      store_once(op.out + i, results);
    } else {
#pragma unroll
      for (int j = 0; j < N; j++)
        op.out[i + j] = results.x[j];
    }
  } else {
#pragma unroll
    for (int j = 0; j < N; j++)
      op.visit(w.A, row, i + j, values[j]);
  }
}

/* How many packs a thread loads at once: what was summed before is near. */
template <typename Op> constexpr int packs_at_once = Op::SUMS || sizeof(typename Op::T) > 4 ? 2 : 4;

/* What a thread of G that finish a row has to begin with: up to six elements in no whole pack, one for each thread, and
 * the first packs. Loaded before it is known what to do with them. */
template <int G, typename Op> struct csrn_beginning {
  using T = typename Op::T;
  static constexpr int BATCH = packs_at_once<Op>;
  int edge; /* n or more: none */
  T x[1];
  csrn_pack<T> packs[BATCH];

  __device__ __forceinline__ csrn_beginning(const Op &op, const csrn_packed_row &its)
      : edge(its.edge(static_cast<int>(threadIdx.x) % G)) {
    x[0] = edge < its.n ? op.data[its.begin + edge] : T(0);
    load(op, its, static_cast<int>(threadIdx.x) % G);
  }
  /* The packs p, p + G ... */
  __device__ __forceinline__ void load(const Op &op, const csrn_packed_row &its, int p) {
    const auto *from = reinterpret_cast<const csrn_pack<T> *>(op.data + its.begin + its.head);
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (p + G * k < its.full)
        packs[k] = from[p + G * k];
  }
};

template <int G, csrn_cuda_mode MODE, typename Op>
__device__ __forceinline__ void finish_packs(const csrn_walk &w, const Op &op, const typename Op::row &row,
                                             const csrn_packed_row &its, csrn_beginning<G, Op> &now) {
  constexpr int BATCH = packs_at_once<Op>;
  constexpr bool WARP = G >= CSRN_WARP;
  if (now.edge < its.n)
    finish_elements<MODE, WARP>(w, op, row, its.begin + now.edge, now.x);
  for (int p = static_cast<int>(threadIdx.x) % G; p < its.full;) {
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (p + G * k < its.full)
        finish_elements<MODE, WARP>(w, op, row, its.begin + its.head + (p + G * k) * PACK, now.packs[k].x);
    p += G * BATCH;
    now.load(op, its, p);
  }
}

/* The elements of row r, which has this total, finished by G threads: a group, a warp or a block. n: how many elements
 * whole warps finish. */
template <int G, typename Op, typename S>
__device__ __forceinline__ void finish_row(const csrn_walk &w, const Op &op, int64_t r, S total, int64_t n, bool first,
                                           const typename Op::input &input, const csrn_packed_row &its) {
  csrn_beginning<G, Op> now(op, its);
  const typename Op::row row = op.begin(w.A, r, total, input, n, first);
  if constexpr (Op::WRITES) {
    if constexpr (sizeof(typename Op::C) == sizeof(float)) {
      const csrn_cuda_mode mode = row.mode(op.how);
      if (mode == CSRN_CUDA_DIVIDED)
        return finish_packs<G, CSRN_CUDA_DIVIDED>(w, op, row, its, now);
      if (mode == CSRN_CUDA_LOGARITHM)
        return finish_packs<G, CSRN_CUDA_LOGARITHM>(w, op, row, its, now);
    }
  }
  finish_packs<G, CSRN_CUDA_ANY>(w, op, row, its, now);
}

/* ---- Short rows: by 8 threads --------------------------------------------------- */

enum { SHORT_GROUP = 8, SHORT_MOST = 256 };

/* The canonical sum by 8 threads that read 32 elements at a time, four each. Number s of the 32 is that of lane
 * s + head (modulo 32), in order; the halving pairs numbers 16, 8, 4, 2 and 1 apart, in which a rotation
 * changes nothing. Thread t has the numbers 4 t + j: the first two exchanges leave each thread one j of the
 * two, and then one of the four, that it and its partner both had. */
template <typename S> __device__ __forceinline__ S combine_packs(const S (&lanes)[PACK], unsigned mask) {
  const int t = group_lane<SHORT_GROUP>();
  const bool upper = t & 4, second = t & 2;
  S two[2];
#pragma unroll
  for (int j = 0; j < 2; j++)
    two[j] = (upper ? lanes[j + 2] : lanes[j]) + shuffle_xor(mask, upper ? lanes[j] : lanes[j + 2], 4);
  S one = (second ? two[1] : two[0]) + shuffle_xor(mask, second ? two[0] : two[1], 2);
  one += shuffle_xor(mask, one, 1);
  one += shuffle_xor(mask, one, 4);
  one += shuffle_xor(mask, one, 2);
  return one;
}

/* Element i for the sum: 0 if it is left out. */
template <typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::lane
counted(const csrn_device_matrix &A, const Op &op, typename Op::T x, int64_t i) {
  if constexpr (Op::MASKED) {
    const int64_t c = A.indices[i];
    if (!A.has_column(c))
      note_bad_column(A.control, i);
    if (!A.has_column(c) || op.is_excluded(c))
      return 0;
  }
  return x;
}

/* The sum of a row of up to SHORT_MOST elements by a group. */
template <typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::lane
sum_short(const csrn_device_matrix &A, const Op &op, const csrn_packed_row &its) {
  using T = typename Op::T;
  using S = typename csrn_sum_of<T>::lane;
  constexpr int BATCH = Op::MASKED || sizeof(S) > 8 ? 1 : 2;
  const int t = group_lane<SHORT_GROUP>(), behind = its.head + its.full * PACK;
  S lanes[PACK] = {0, 0, 0, 0}, last[PACK] = {0, 0, 0, 0};
  /* The first elements are the last numbers of the round before the first; the last begin another round. */
#pragma unroll
  for (int j = 0; j < PACK; j++) {
    const int early = j - (PACK - its.head);
    if (t == SHORT_GROUP - 1 && early >= 0)
      lanes[j] = counted(A, op, op.data[its.begin + early], its.begin + early);
    if (t == its.full % SHORT_GROUP && behind + j < its.n)
      last[j] = counted(A, op, op.data[its.begin + behind + j], its.begin + behind + j);
  }
  const int64_t first = its.begin + its.head;
  const auto *from = reinterpret_cast<const csrn_pack<T> *>(op.data + first);
  for (int p = t; p < its.full; p += SHORT_GROUP * BATCH) {
    csrn_pack<T> packs[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (p + SHORT_GROUP * k < its.full)
        packs[k] = from[p + SHORT_GROUP * k];
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (p + SHORT_GROUP * k < its.full)
#pragma unroll
        for (int j = 0; j < PACK; j++)
          lanes[j] += counted(A, op, packs[k].x[j], first + (p + SHORT_GROUP * k) * PACK + j);
  }
#pragma unroll
  for (int j = 0; j < PACK; j++)
    lanes[j] += last[j];
  return combine_packs(lanes, group_mask<SHORT_GROUP>());
}

template <typename Op>
__device__ __forceinline__ void walk_short(const csrn_walk &w, const Op &op, int64_t r, int64_t begin, int n,
                                           const typename Op::input &input) {
  typename csrn_sum_of<typename Op::T>::total total = 0;
  const csrn_packed_row its(w, begin, n);
  const bool first = group_lane<SHORT_GROUP>() == 0;
  if constexpr (Op::SUMS)
    total = sum_short(w.A, op, its);
  if constexpr (Op::FINISHES)
    finish_row<SHORT_GROUP>(w, op, r, total, 0, first, input, its);
  else
    op.begin(w.A, r, total, input, 0, first);
}

/* A whole row of up to LONG_ROW elements by a warp. */
template <typename Op>
__device__ __forceinline__ void walk_warp(const csrn_walk &w, const Op &op, int64_t r, int64_t begin, int n,
                                          const typename Op::input &input) {
  typename csrn_sum_of<typename Op::T>::total total = 0;
  const bool first = group_lane<CSRN_WARP>() == 0;
  if constexpr (Op::SUMS)
    total = sum_piece(w.A, op, begin, n);
  if constexpr (Op::FINISHES)
    finish_row<CSRN_WARP>(w, op, r, total, n, first, input, csrn_packed_row(w, begin, n));
  else
    op.begin(w.A, r, total, input, n, first);
}

/* ---- Leaving rows to other kernels ------------------------------------------ */

__device__ __forceinline__ void leave_to_blocks(const csrn_walk &w, int64_t r) {
  w.list[atomicAdd(&w.left->n_long, 1ULL)] = r;
}

__device__ __forceinline__ void leave_to_all(const csrn_walk &w, int64_t r, int64_t n) {
  const unsigned long long pieces = static_cast<unsigned long long>((n + CSRN_BLOCK - 1) / CSRN_BLOCK);
  const unsigned long long before = atomicAdd(&w.left->giants, (1ULL << GIANT_SHIFT) + pieces);
  csrn_giant *giant = &w.giants[before >> GIANT_SHIFT];
  giant->row = r;
  giant->first_piece = static_cast<int64_t>(before & ((1ULL << GIANT_SHIFT) - 1));
  giant->done = 0;
  giant->total[0] = giant->total[1] = 0;
}

/* ---- The kernels ------------------------------------------------------------- */

/* The same answer for all threads of all kernels of a walk. */
template <typename Op> __device__ __forceinline__ bool may_walk(const csrn_walk &w, const Op &op) {
  if (!w.A.is_sound())
    return false;
  if constexpr (Op::GATED)
    return op.has_work(w.A);
  return true;
}

template <int G, typename Op>
__global__ void __launch_bounds__(row_threads<G>, row_threads_at_once<G, Op> / row_threads<G>)
    walk_rows_kernel(csrn_walk w, Op op) {
  csrn_after_previous();
  const int64_t r = static_cast<int64_t>(blockIdx.x) * (row_threads<G> / G) + threadIdx.x / G;
  const bool exists = r < w.A.n_rows;
  /* All that can be loaded is, before anything is looked at. */
  const int64_t begin = exists ? w.A.indptr[r] : 0;
  const int64_t n = exists ? w.A.indptr[r + 1] - begin : 0;
  const typename Op::input input = exists ? op.fetch(r) : typename Op::input{};
  if (!may_walk(w, op))
    return;
  if constexpr (G == CSRN_WARP) {
    if (exists && n <= LONG_ROW)
      walk_warp(w, op, r, begin, static_cast<int>(n), input);
  } else {
    if (exists && n <= SHORT_MOST)
      walk_short(w, op, r, begin, static_cast<int>(n), input);
    __syncwarp();
    const bool waits = group_lane<G>() == 0 && n > SHORT_MOST && n <= LONG_ROW;
    for (unsigned pending = __ballot_sync(FULL_WARP, waits); pending; pending &= pending - 1) {
      const int lane = __ffs(static_cast<int>(pending)) - 1;
      const int64_t its = r - threadIdx.x % CSRN_WARP / G + lane / G;
      const int64_t its_begin = __shfl_sync(FULL_WARP, static_cast<long long>(begin), lane);
      const int its_n = __shfl_sync(FULL_WARP, static_cast<int>(n), lane);
      walk_warp(w, op, its, its_begin, its_n, op.fetch(its));
    }
  }
  if (n <= LONG_ROW || group_lane<G>() != 0)
    return;
  if (n > GIANT_ROW && w.shares_giants)
    leave_to_all(w, r, n);
  else
    leave_to_blocks(w, r);
}

/* Row r, of n elements from `begin` on, by the whole block; sums: of up to MAX_PIECES_PER_BLOCK pieces. */
template <typename Op>
__device__ void walk_block(const csrn_walk &w, const Op &op, int64_t r, int64_t begin, int64_t n,
                           typename csrn_sum_of<typename Op::T>::lane *sums) {
  typename csrn_sum_of<typename Op::T>::total total = 0;
  const typename Op::input input = op.fetch(r);
  if constexpr (Op::SUMS) {
    const int64_t mine = threadIdx.x / CSRN_WARP * CSRN_BLOCK;
    for (int64_t from = 0; from < n; from += GIANT_ROW) {
      const int64_t to = n - from < GIANT_ROW ? n : from + GIANT_ROW;
      for (int64_t first = from + mine; first < to; first += LONG_THREADS / CSRN_WARP * CSRN_BLOCK) {
        const int length = static_cast<int>(to - first < CSRN_BLOCK ? to - first : CSRN_BLOCK);
        const auto sum = sum_piece(w.A, op, begin + first, length);
        if (threadIdx.x % CSRN_WARP == 0)
          sums[(first - from) / CSRN_BLOCK] = sum;
      }
      __syncthreads();
      for (int64_t first = from; first < to; first += CSRN_BLOCK)
        total += sums[(first - from) / CSRN_BLOCK];
      __syncthreads(); /* before the next sums */
    }
  }
  if constexpr (Op::FINISHES) {
    for (int64_t from = 0; from < n || from == 0; from += GIANT_ROW) {
      const int length = static_cast<int>(n - from < GIANT_ROW ? n - from : GIANT_ROW);
      finish_row<LONG_THREADS>(w, op, r, total, n, from == 0 && threadIdx.x == 0, input,
                               csrn_packed_row(w, begin + from, length));
    }
  } else {
    op.begin(w.A, r, total, input, n, threadIdx.x == 0);
  }
}

/* The giant that piece p belongs to. */
__device__ __forceinline__ csrn_giant *find_giant(const csrn_walk &w, int64_t count, int64_t p) {
  int64_t low = 0, high = count - 1;
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (w.giants[middle].first_piece <= p)
      low = middle;
    else
      high = middle - 1;
  }
  return &w.giants[low];
}

/* One piece of a giant row. */
struct csrn_piece {
  csrn_giant *giant;
  int64_t row, row_length, n_pieces;
  int64_t begin; /* of the piece */
  int n;
};

__device__ __forceinline__ csrn_piece find_piece(const csrn_walk &w, int64_t count, int64_t p) {
  csrn_piece piece;
  piece.giant = find_giant(w, count, p);
  piece.row = piece.giant->row;
  const int64_t begin = w.A.indptr[piece.row], end = w.A.indptr[piece.row + 1];
  piece.row_length = end - begin;
  piece.n_pieces = (piece.row_length + CSRN_BLOCK - 1) / CSRN_BLOCK;
  piece.begin = begin + (p - piece.giant->first_piece) * CSRN_BLOCK;
  piece.n = static_cast<int>(end - piece.begin < CSRN_BLOCK ? end - piece.begin : CSRN_BLOCK);
  return piece;
}

__device__ __forceinline__ int64_t warp_of_grid() {
  return static_cast<int64_t>(blockIdx.x) * (LONG_THREADS / CSRN_WARP) + threadIdx.x / CSRN_WARP;
}

__device__ __forceinline__ int64_t warps_of_grid() {
  return static_cast<int64_t>(gridDim.x) * (LONG_THREADS / CSRN_WARP);
}

/* Reads what another block has written in this launch, past the cache of this multiprocessor. */
__device__ __forceinline__ double read_shared_result(const double *p) {
  return __ldcg(p);
}

__device__ __forceinline__ csrn_int128 read_shared_result(const csrn_int128 *p) {
  const unsigned long long *halves = reinterpret_cast<const unsigned long long *>(p);
  const unsigned long long low = __ldcg(halves), high = __ldcg(halves + 1);
  return static_cast<csrn_int128>((static_cast<unsigned __int128>(high) << 64) | low);
}

/* Adds the sums of the pieces [from, to) of a giant to its running total, in order. */
template <typename S>
__device__ __forceinline__ S add_pieces(csrn_giant *giant, const S *sums, int64_t from, int64_t to) {
  S total;
  memcpy(&total, giant->total, sizeof total);
#pragma unroll 16
  for (int64_t k = from; k < to; k++)
    total += read_shared_result(sums + k);
  memcpy(giant->total, &total, sizeof total);
  return total;
}

/* Sums the pieces [stretch, stretch + PIECES_PER_STRETCH) of all giants; who sums the last piece of a giant
 * adds them up. */
template <typename Op> __device__ __forceinline__ void sum_giants(const csrn_walk &w, const Op &op, int64_t stretch) {
  using S = typename csrn_sum_of<typename Op::T>::total;
  const unsigned long long giants = w.left->giants;
  const int64_t count = static_cast<int64_t>(giants >> GIANT_SHIFT);
  const int64_t n_pieces = static_cast<int64_t>(giants & ((1ULL << GIANT_SHIFT) - 1));
  const int64_t stop = n_pieces - stretch < PIECES_PER_STRETCH ? n_pieces : stretch + PIECES_PER_STRETCH;
  S *sums = static_cast<S *>(w.pieces);
  for (int64_t p = stretch + warp_of_grid(); p < stop; p += warps_of_grid()) {
    const csrn_piece piece = find_piece(w, count, p);
    const S sum = sum_piece(w.A, op, piece.begin, piece.n);
    if (threadIdx.x % CSRN_WARP != 0)
      continue;
    sums[p - stretch] = sum;
    __threadfence();
    const int64_t first = piece.giant->first_piece, last = first + piece.n_pieces;
    const int64_t from = first > stretch ? first : stretch, to = last < stop ? last : stop;
    if (atomicAdd(&piece.giant->done, 1ULL) + 1 < static_cast<unsigned long long>(to - from))
      continue;
    __threadfence();
    piece.giant->done = 0;
    const S total = add_pieces(piece.giant, sums, from - stretch, to - stretch);
    if (to == last)
      op.begin(w.A, piece.row, total, op.fetch(piece.row), 0, true); /* by one thread alone */
  }
}

/* Finishes the elements of all giants, whose totals are known. */
template <typename Op> __device__ __forceinline__ void finish_giants(const csrn_walk &w, const Op &op) {
  using S = typename csrn_sum_of<typename Op::T>::total;
  const unsigned long long giants = w.left->giants;
  const int64_t count = static_cast<int64_t>(giants >> GIANT_SHIFT);
  const int64_t n_pieces = static_cast<int64_t>(giants & ((1ULL << GIANT_SHIFT) - 1));
  for (int64_t p = warp_of_grid(); p < n_pieces; p += warps_of_grid()) {
    const csrn_piece piece = find_piece(w, count, p);
    S total;
    memcpy(&total, piece.giant->total, sizeof total);
    const bool first = !Op::SUMS && p == piece.giant->first_piece && threadIdx.x % CSRN_WARP == 0;
    finish_row<CSRN_WARP>(w, op, piece.row, total, piece.row_length, first, op.fetch(piece.row),
                          csrn_packed_row(w, piece.begin, piece.n));
  }
}

/* All rows but giants, each by a block. */
template <typename Op>
__global__ void __launch_bounds__(LONG_THREADS, long_threads_at_once<Op> / LONG_THREADS)
    walk_long_kernel(csrn_walk w, Op op) {
  __shared__ typename csrn_sum_of<typename Op::T>::lane sums[MAX_PIECES_PER_BLOCK];
  if (!may_walk(w, op))
    return;
  const int64_t r = blockIdx.x, begin = w.A.indptr[r], n = w.A.indptr[r + 1] - begin;
  if (n <= GIANT_ROW || !w.shares_giants)
    walk_block(w, op, r, begin, n, sums);
  else if (threadIdx.x == 0)
    leave_to_all(w, r, n);
}

/* The long rows that have been left. */
template <typename Op>
__global__ void __launch_bounds__(LONG_THREADS, long_threads_at_once<Op> / LONG_THREADS)
    walk_left_kernel(csrn_walk w, Op op) {
  __shared__ typename csrn_sum_of<typename Op::T>::lane sums[MAX_PIECES_PER_BLOCK];
  if (!may_walk(w, op))
    return;
  const int64_t count = static_cast<int64_t>(w.left->n_long);
  for (int64_t place = blockIdx.x; place < count; place += gridDim.x) {
    const int64_t r = w.list[place], begin = w.A.indptr[r];
    walk_block(w, op, r, begin, w.A.indptr[r + 1] - begin, sums);
  }
}

template <typename Op>
__global__ void __launch_bounds__(LONG_THREADS, long_threads_at_once<Op> / LONG_THREADS)
    sum_giants_kernel(csrn_walk w, Op op, int64_t stretch) {
  if (may_walk(w, op))
    sum_giants(w, op, stretch);
}

template <typename Op>
__global__ void __launch_bounds__(LONG_THREADS, long_threads_at_once<Op> / LONG_THREADS)
    finish_giants_kernel(csrn_walk w, Op op) {
  if (may_walk(w, op))
    finish_giants(w, op);
}

/* ---- The walk ---------------------------------------------------------------- */

/* Rows of fewer values on average are walked by 8 threads each; of more, by a block each. */
enum { SHORT_ROWS = 192, LONG_ROWS = 3072 };

/* Fills in what does not depend on the operation. */
void csrn_cuda_walk(csrn_context *ctx, const csrn_csr *A, csrn_walk *walk);

/* How many elements an array begins behind a multiple of the size of a pack. */
template <typename T> int csrn_cuda_lead(const T *array) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(array) / sizeof(T) % PACK);
}

/* Where the arrays of `op` lie. */
template <typename Op> void csrn_cuda_place(csrn_walk *w, const Op &op) {
  w->lead = csrn_cuda_lead(op.data);
  w->packed = false;
  if constexpr (Op::WRITES)
    w->packed = csrn_cuda_lead(op.out) == w->lead;
}

/* The first kernel: all rows, or most, and lists of the others. */
template <typename Op>
csrn_status launch_rows(csrn_context *ctx, const csrn_walk &w, const Op &op, int64_t nnz) {
  const int64_t n_rows = w.A.n_rows;
  if (n_rows > 0 && nnz / n_rows >= LONG_ROWS)
    return csrn_cuda_launch(ctx, CSRN_OK, {n_rows, LONG_THREADS, 0}, walk_long_kernel<Op>, w, op);
  if (nnz < SHORT_ROWS * n_rows)
    return csrn_cuda_launch(ctx, CSRN_OK, {csrn_cuda_blocks(n_rows, row_threads<SHORT_GROUP> / SHORT_GROUP, 0), row_threads<SHORT_GROUP>, 0},
                            walk_rows_kernel<SHORT_GROUP, Op>, w, op);
  return csrn_cuda_launch(ctx, CSRN_OK, {csrn_cuda_blocks(n_rows, row_threads<CSRN_WARP> / CSRN_WARP, 0), row_threads<CSRN_WARP>, 0},
                          walk_rows_kernel<CSRN_WARP, Op>, w, op);
}

/* Runs `op` on all rows of A, after csrn_cuda_need_for() for CSRN_CUDA_LISTS and csrn_cuda_begin(). */
template <typename Op> csrn_status csrn_cuda_walk_rows(csrn_context *ctx, const csrn_csr *A, const Op &op) {
  const int64_t units = csrn_cuda_state_of(ctx)->n_units;
  csrn_walk w;
  csrn_cuda_walk(ctx, A, &w);
  csrn_cuda_place(&w, op);
  /* A row is longer than there are columns only if it has entries twice, which is no reason for more kernels. */
  w.shares_giants = A->nnz > GIANT_ROW && A->n_cols > GIANT_ROW;
  csrn_status status = launch_rows(ctx, w, op, A->nnz);
  if (A->nnz <= LONG_ROW)
    return status; /* no row can be longer */
  const csrn_launch shape = {units * 4, LONG_THREADS, 0};
  status = csrn_cuda_launch(ctx, status, shape, walk_left_kernel<Op>, w, op);
  if (!w.shares_giants)
    return status;
  const int64_t most_pieces = A->nnz / CSRN_BLOCK + A->nnz / GIANT_ROW + 1;
  if constexpr (Op::SUMS)
    for (int64_t stretch = 0; stretch < most_pieces; stretch += PIECES_PER_STRETCH)
      status = csrn_cuda_launch(ctx, status, shape, sum_giants_kernel<Op>, w, op, stretch);
  if constexpr (Op::FINISHES)
    status = csrn_cuda_launch(ctx, status, shape, finish_giants_kernel<Op>, w, op);
  return status;
}

#endif
