/*
 * Walking the rows of a matrix: one algorithm for every operation that has something to
 * do per row, be it a sum, what is done with each element afterwards, or both.
 *
 * Work per row adapts to its length, with the same bits whatever the way:
 *
 *   short on average          blocks take tiles, as many rows as fit in shared memory: whole tiles come and
 *                             go by packs, and each row is worked on there by 8 threads or a warp
 *   up to some 250 elements   8 threads, so four rows a warp, where a tile does not serve
 *   up to LONG_ROW            a warp
 *   up to GIANT_ROW           a block of threads, a warp for every CSRN_BLOCK elements of the sum
 *   beyond                    all blocks, a warp for every piece of CSRN_BLOCK elements
 *
 * Where a row is summed and then finished, it is read again from the caches, in which it still is:
 * DRAM sees each element read once and written once. The kernel of the rows lists those that it
 * leaves to the others: nothing of this ever needs the host.
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

#include "cuda_short.h"

/* ---- The kernels ------------------------------------------------------------- */

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
  leave(w, r, n);
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
template <typename Op>
__device__ __forceinline__ void sum_giants(const csrn_walk &w, const Op &op, int64_t stretch) {
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

/* Rows of fewer values on average are walked in tiles; by 8 threads each; and of more, by a block each. */
enum { TILE_ROWS = 512, SHORT_ROWS = 192, LONG_ROWS = 3072 };

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

/* Tiles of about two thirds of what they have room for, of a multiple of the rows that are worked on at once.
 */
template <int G, typename Op>
csrn_status launch_tiles(csrn_context *ctx, const csrn_walk &w, const Op &op, int64_t nnz) {
  constexpr int64_t at_once = TILE_THREADS / G;
  const int64_t mean = nnz / w.A.n_rows + 1, room = tile_room<Op>;
  const int64_t fitting = room * 2 / 3 / mean / at_once * at_once;
  const int64_t rows = fitting < at_once          ? at_once
                       : fitting > TILE_MOST_ROWS ? int64_t(TILE_MOST_ROWS)
                                                  : fitting;
  const csrn_launch shape = {csrn_cuda_blocks(w.A.n_rows, rows, 0), TILE_THREADS,
                             static_cast<size_t>(room + PACK) * sizeof(typename Op::T)};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, walk_tiles_kernel<G, Op>, w, op, static_cast<int>(rows));
}

/* The first kernel: all rows, or most, and lists of the others. */
template <typename Op>
csrn_status launch_rows(csrn_context *ctx, const csrn_walk &w, const Op &op, int64_t nnz) {
  const int64_t n_rows = w.A.n_rows;
  if (n_rows > 0 && nnz / n_rows >= LONG_ROWS)
    return csrn_cuda_launch(ctx, CSRN_OK, {n_rows, LONG_THREADS, 0}, walk_long_kernel<Op>, w, op);
  if constexpr (csrn_has_tiles<Op>::value) {
    if (nnz < TILE_ROWS * n_rows)
      return nnz < TILE_ROWS / 4 * n_rows ? launch_tiles<SHORT_GROUP>(ctx, w, op, nnz)
                                          : launch_tiles<CSRN_WARP>(ctx, w, op, nnz);
  } else if (nnz < SHORT_ROWS * n_rows)
    return csrn_cuda_launch(
        ctx, CSRN_OK,
        {csrn_cuda_blocks(n_rows, row_threads<SHORT_GROUP> / SHORT_GROUP, 0), row_threads<SHORT_GROUP>, 0},
        walk_rows_kernel<SHORT_GROUP, Op>, w, op);
  return csrn_cuda_launch(
      ctx, CSRN_OK,
      {csrn_cuda_blocks(n_rows, row_threads<CSRN_WARP> / CSRN_WARP, 0), row_threads<CSRN_WARP>, 0},
      walk_rows_kernel<CSRN_WARP, Op>, w, op);
}

/* Runs `op` on all rows of A, after csrn_cuda_need_for() for CSRN_CUDA_LISTS and csrn_cuda_begin(). */
template <typename Op> csrn_status csrn_cuda_walk_rows(csrn_context *ctx, const csrn_csr *A, const Op &op) {
  const int64_t units = csrn_cuda_state_of(ctx)->n_units;
  csrn_walk w;
  csrn_cuda_walk(ctx, A, &w);
  csrn_cuda_place(&w, op);
  /* A row is longer than there are columns only if it has entries twice, which is no reason for more kernels.
   */
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
