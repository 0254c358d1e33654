/*
 * One row of a walk (cuda_walk.h): its sum, and what becomes of its elements, by a warp, a
 * group of threads or a block; and what a walk is.
 *
 * Elements are finished in packs of four that lie at multiples of their size in memory,
 * whatever the beginning of the row; up to three before the first whole pack and behind the
 * last are dealt with one by one.
 */
#ifndef CSRN_CUDA_ROW_H
#define CSRN_CUDA_ROW_H

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
  void *pieces;       /* [PIECES_PER_STRETCH] of PIECE_BYTES */
  bool shares_giants; /* rows longer than GIANT_ROW are shared by all blocks */
  int lead;           /* elements between a multiple of the size of a pack and data[0] */
  bool packed;        /* results can be written in packs: `out` lies as `data` does */
};

/* The threads of a block that walks rows by groups of G. Blocks are small, since a block keeps its place
 * until its longest row is done. */
enum { LONG_THREADS = 128 };
template <int G> constexpr int row_threads = G == CSRN_WARP ? 64 : 128;

/* Threads that are to run on one multiprocessor: as many as registers allow without spilling. */
template <typename Op>
constexpr bool is_heavy = Op::MASKED || sizeof(typename csrn_sum_of<typename Op::T>::lane) > 8;
template <typename Op>
constexpr int long_threads_at_once = is_heavy<Op>              ? 384
                                     : Op::SUMS &&Op::FINISHES ? 512
                                                               : 640;
template <int G, typename Op>
constexpr int row_threads_at_once = is_heavy<Op> || (G < CSRN_WARP && long_threads_at_once<Op> < 640) ? 512
                                    : sizeof(typename Op::T) > 4                                      ? 640
                                    : G < CSRN_WARP                                                   ? 768
                                    : Op::SUMS                                                        ? 1024
                                                                                                      : 896;

/* ---- What all kernels of a walk ask ------------------------------------------- */

/* The same answer for all threads of all kernels of a walk. */
template <typename Op> __device__ __forceinline__ bool may_walk(const csrn_walk &w, const Op &op) {
  if (!w.A.is_sound())
    return false;
  if constexpr (Op::GATED)
    return op.has_work(w.A);
  return true;
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

__device__ __forceinline__ void leave(const csrn_walk &w, int64_t r, int64_t n) {
  if (n > GIANT_ROW && w.shares_giants)
    leave_to_all(w, r, n);
  else
    leave_to_blocks(w, r);
}

/* ---- Sums of up to CSRN_BLOCK elements by a warp ------------------------------ */

/* Elements are loaded in batches before they are added, to have many loads under way. What lies beyond the
 * end counts as +0, which changes no lane: none is ever -0. I: the type of the indices if that is int32_t;
 * else int64_t, to which they are converted. */
template <int BATCH, typename I, typename Op, typename S>
__device__ __forceinline__ S add_batch(const csrn_device_matrix &A, const Op &op, int64_t begin, int n,
                                       S sum) {
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
        c[k] = sizeof(I) == sizeof(int32_t) ? static_cast<const I *>(A.indices.values)[i]
                                            : static_cast<I>(A.indices[i]);
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

/* A row of n elements from `begin` on: `head` elements before its first whole pack, `full` packs, and up to
 * three elements behind them. */
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
__device__ __forceinline__ void finish_elements(const csrn_walk &w, const Op &op, const typename Op::row &row,
                                                int64_t i, const T (&values)[N]) {
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

/* What a thread of G that finish a row has to begin with: up to six elements in no whole pack, one for each
 * thread, and the first packs. Loaded before it is known what to do with them. */
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

/* The elements of row r, which has this total, finished by G threads: a group, a warp or a block. n: how many
 * elements whole warps finish. */
template <int G, typename Op, typename S>
__device__ __forceinline__ void finish_row(const csrn_walk &w, const Op &op, int64_t r, S total, int64_t n,
                                           bool first, const typename Op::input &input,
                                           const csrn_packed_row &its) {
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

#endif
