/*
 * Walking the rows of a matrix: one algorithm for every operation that has something to
 * do per row, be it a sum, what is done with each element afterwards, or both.
 *
 * Work per row adapts to its length, with the same bits whatever the way:
 *
 *   up to LONG_ROW    in tiles (cuda_tile.h), by 8 threads where rows are short on average, or by a warp; or,
 *                     where that is faster, or tiles with columns do not fit, by a warp right from global
 *                     memory
 *   up to GIANT_ROW   a block of threads, a warp for every CSRN_BLOCK elements of the sum, and then in tiles,
 *                     too; by the first blocks of a launch, so that nothing waits for such a row at the end,
 *                     or, beside tiles of 8 threads or with columns, by a launch before
 *   beyond            all blocks, a warp for every piece of CSRN_BLOCK elements
 *
 * The kernel that every operation begins with (cuda_backend.cu) lists the rows beyond LONG_ROW: nothing of
 * this ever needs the host. Where a long row is summed and then finished, it is read again from the caches,
 * in which it still is: DRAM sees each element read once and written once.
 *
 * An operation is a struct:
 *
 *   using T            the type of the data
 *   SUMS, FINISHES     whether a row's total is needed; whether something is done with each element
 *   WRITES             whether that is the writing of a result, of type O, to `O *out`
 *   MASKED             whether is_excluded() may leave an element out of the total
 *   GATED              whether has_work(A) says, from what earlier kernels have found out, that there is
 *                      nothing to do: then the kernels return at once and read no element
 *   const T *data
 *   struct input       what is to be loaded of a row beforehand, by input fetch(r)
 *   struct row         what elements need to know of the row
 *   row begin(A, r, total, input, first)   what becomes of a row once its total is known, if any; `first` is
 *                      true in one thread of all that share the row: the one to write per-row results
 *   csrn_cuda_how how  if WRITES: what becomes of an element, by the row, a csrn_row_scaler of C and O
 *   bool wants(row, x), void visit(A, row, i, x)   otherwise: whether something is done with an element of
 * value x, and what, if it is element i; VISITS_FEW: for few of them it is
 */
#ifndef CSRN_CUDA_WALK_H
#define CSRN_CUDA_WALK_H

#include "cuda_tile.h"

/* ---- Long rows ---------------------------------------------------------------- */

/* The shared memory of this warp for the row that it works on; an operation without quick ways has none. */
template <typename Op> __device__ __forceinline__ csrn_warp_memory *memory_of_warp() {
  if constexpr (Op::WRITES) {
    if constexpr (Op::row::is_quick) {
      __shared__ csrn_warp_memory memory[WALK_WARPS];
      return &memory[threadIdx.x / CSRN_WARP];
    }
  }
  return nullptr;
}

/* The shared memory of this block for short rows, where they go together. */
template <int G, typename Op> __device__ __forceinline__ csrn_together_of<G, Op> *together_of_block() {
  if constexpr (goes_together<G, Op>) {
    __shared__ csrn_together<Op> together;
    return &together;
  }
  return nullptr;
}

/* The sum of elements [begin, end) by the whole block; sums: in shared memory, of MAX_PIECES_PER_BLOCK
 * pieces. */
template <int LOADS, typename Op, typename S>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::total
sum_block(const csrn_device_matrix &A, const Op &op, int64_t begin, int64_t end, S *sums) {
  typename csrn_sum_of<typename Op::T>::total total = 0;
  const int warp = static_cast<int>(threadIdx.x) / CSRN_WARP;
  for (; begin < end; begin += GIANT_ROW) {
    const int n = static_cast<int>(end - begin < GIANT_ROW ? end - begin : GIANT_ROW);
    for (int first = warp * CSRN_BLOCK; first < n; first += WALK_WARPS * CSRN_BLOCK) {
      const auto sum =
          sum_piece<LOADS>(A, op, begin + first, n - first < CSRN_BLOCK ? n - first : CSRN_BLOCK);
      if (threadIdx.x % CSRN_WARP == 0)
        sums[first / CSRN_BLOCK] = sum;
    }
    __syncthreads();
    for (int first = 0; first < n; first += CSRN_BLOCK)
      total += sums[first / CSRN_BLOCK];
    __syncthreads(); /* before the next sums */
  }
  return total;
}

/* The long rows that are this block's, of the first w.n_long_blocks, right from global memory. */
template <typename Op, typename S>
__device__ __forceinline__ void walk_long_rows(const csrn_walk &w, const Op &op, S *sums,
                                               csrn_warp_memory *memory) {
  const int64_t count = w.all_long ? w.A.n_rows : static_cast<int64_t>(w.left->n_long);
  for (int64_t place = blockIdx.x; place < count; place += w.n_long_blocks) {
    const int64_t r = w.all_long ? place : w.list[place];
    int64_t begin = w.A.indptr[r];
    const int64_t end = w.A.indptr[r + 1];
    if (w.shares_giants && end - begin > GIANT_ROW)
      continue;
    const typename Op::input input = op.fetch(r);
    const auto total = sum_block<some_loads<Op>>(w.A, op, begin, end, sums);
    typename Op::row row = op.begin(w.A, r, total, input, threadIdx.x == 0);
    if constexpr (Op::FINISHES)
      for (begin += threadIdx.x / CSRN_WARP * CSRN_BLOCK; begin < end; begin += WALK_WARPS * CSRN_BLOCK) {
        const int n = static_cast<int>(end - begin < CSRN_BLOCK ? end - begin : CSRN_BLOCK);
        finish_row<CSRN_WARP, false>(w, op, row, op.data + begin, csrn_packed_row(w, begin, n),
                                     group_lane<CSRN_WARP>(), memory);
      }
  }
}

/* sum_block() where nothing is left out. A function of its own: what it needs would cost tiles registers. */
template <typename Type> struct csrn_plain_values {
  using T = Type;
  static constexpr bool MASKED = false;
  const T *data;
};

template <typename T>
__device__ __noinline__ typename csrn_sum_of<T>::total
sum_values_of_block(const T *data, int64_t begin, int64_t end, typename csrn_sum_of<T>::lane *sums) {
  return sum_block<FEW_LOADS>(csrn_device_matrix(), csrn_plain_values<T>{data}, begin, end, sums);
}

/* A long row that a block is at; in shared memory. */
struct csrn_long_row {
  int64_t place;      /* of the next one */
  int64_t begin, end; /* what is left of this one */
};

/* Goes on to the block's next long row; false: there is none. The same for all threads. */
__device__ __forceinline__ bool next_long_row(const csrn_walk &w, csrn_long_row *its, int64_t *row) {
  const int64_t count = w.all_long ? w.A.n_rows : static_cast<int64_t>(w.left->n_long);
  int64_t place = its->place, begin, end;
  do {
    if (place >= count)
      return false;
    *row = w.all_long ? place : w.list[place];
    begin = w.A.indptr[*row];
    end = w.A.indptr[*row + 1];
    place += w.n_long_blocks;
  } while (w.shares_giants && end - begin > GIANT_ROW);
  __syncthreads(); /* everybody has read where this block is */
  if (threadIdx.x == 0)
    *its = {place, begin, end};
  __syncthreads();
  return true;
}

/* Cuts the next parts from a long row: as many as a tile has rows, a quarter of its room each. An empty row
 * is one part. */
template <typename Op> __device__ __forceinline__ int cut_parts(csrn_long_row *its, int64_t *ends) {
  constexpr int room = tile_room<CSRN_WARP, Op> / WALK_WARPS, part = room < LONG_ROW ? room : LONG_ROW;
  const int64_t begin = its->begin, rest = its->end - begin;
  const int n =
      rest >= TILE_MOST_ROWS * part ? int(TILE_MOST_ROWS) : static_cast<int>((rest + part - 1) / part);
  for (int k = static_cast<int>(threadIdx.x); k <= n || k <= 1; k += WALK_THREADS)
    ends[k] = part * k < rest ? begin + part * k : begin + rest;
  __syncthreads();
  if (threadIdx.x == 0)
    its->begin = ends[n];
  __syncthreads();
  return n > 0 ? n : 1;
}

/* ---- The kernels ------------------------------------------------------------- */

/* Whether a kernel of tiles does long rows, too. */
template <int G, typename Op> constexpr bool has_long_rows = G == CSRN_WARP && !Op::MASKED;

/* Asks for the elements of a later tile, by one thread. */
template <int G, typename Op>
__device__ __forceinline__ void ask_for_later(const csrn_walk &w, const Op &op, int64_t row,
                                              int rows_per_tile) {
  const int64_t ahead = w.tiles_ahead * rows_per_tile, first = w.backwards ? row - ahead : row + ahead;
  if (w.tiles_ahead == 0 || first < 0 || first >= w.A.n_rows)
    return;
  const int64_t last = w.A.n_rows - first < rows_per_tile ? w.A.n_rows : first + rows_per_tile;
  const int64_t begin = w.early_begin(first), n = w.early_begin(last) - begin;
  if (n <= 0)
    return;
  const int fitting = n < tile_room<G, Op> ? static_cast<int>(n) : tile_room<G, Op>;
  csrn_prefetch(op.data + begin, fitting * static_cast<int>(sizeof *op.data));
  if constexpr (Op::MASKED)
    csrn_prefetch(static_cast<const char *>(w.A.indices.values) + begin * w.A.indices.size(),
                  fitting * w.A.indices.size());
}

/* After the blocks of long rows, a block for every rows_per_tile rows. */
template <int G, typename Op>
__global__ void __launch_bounds__(WALK_THREADS, (blocks_at_once<G, Op>))
    walk_tiles_kernel(csrn_walk w, Op op, int rows_per_tile) {
  CSRN_DYNAMIC_SHARED(shared);
  __shared__ csrn_arrival arrival;
  __shared__ csrn_long_row long_row;
  __shared__ int64_t ends[TILE_MOST_ROWS + 1]; /* where rows begin, and the end */
  csrn_warp_memory *memory = nullptr;
  if constexpr (G == CSRN_WARP)
    memory = memory_of_warp<Op>();
  csrn_together_of<G, Op> *together = together_of_block<G, Op>();
  csrn_tile<Op> tile = {};
  unsigned phase = 0;
  tile.is_long = has_long_rows<G, Op> && blockIdx.x < w.n_long_blocks;
  arrival.prepare();
  if (!tile.is_long) {
    const int64_t place = blockIdx.x - w.n_long_blocks;
    tile.row = (w.backwards ? gridDim.x - w.n_long_blocks - 1 - place : place) * rows_per_tile;
    tile.n_rows =
        static_cast<int>(w.A.n_rows - tile.row < rows_per_tile ? w.A.n_rows - tile.row : rows_per_tile);
    for (int k = static_cast<int>(threadIdx.x); k <= tile.n_rows; k += WALK_THREADS)
      ends[k] = w.early_begin(tile.row + k);
  } else if (threadIdx.x == 0) {
    long_row = {blockIdx.x, 0, 0};
  }
  __syncthreads();
  const bool is_early = !Op::GATED && !tile.is_long;
  if (is_early) {
    bring_first<G>(w, op, tile.n_rows, &arrival, ends, shared);
    if (threadIdx.x == WALK_THREADS - 1)
      ask_for_later<G>(w, op, tile.row, rows_per_tile);
  }
  csrn_after_previous();
  if (!may_walk(w, op)) {
    if (is_early)
      arrival.wait(phase); /* nothing may arrive in shared memory that is another block's already */
    return;
  }
  if (Op::GATED && !tile.is_long)
    bring_first<G>(w, op, tile.n_rows, &arrival, ends, shared);
  do {
    if (tile.is_long) {
      tile.is_first = long_row.begin == long_row.end;
      if (tile.is_first) {
        if (!next_long_row(w, &long_row, &tile.row))
          return;
        if constexpr (Op::SUMS)
          tile.total =
              sum_values_of_block(op.data, long_row.begin, long_row.end,
                                  reinterpret_cast<typename csrn_sum_of<typename Op::T>::lane *>(shared));
        arrival.release();
      }
      tile.n_rows = cut_parts<Op>(&long_row, ends);
      bring_first<G>(w, op, tile.n_rows, &arrival, ends, shared);
    }
    walk_tile<G>(w, op, tile, &arrival, &phase, ends, shared, memory, together);
  } while (tile.is_long);
}

/* Bytes of a row that are asked for before it is read: those of all rows together are to stay in the cache.
 */
enum { EARLY_BYTES = 4 << 10 };

/* Right from global memory: after the blocks of long rows, a warp for each row. Sums alone are faster this
 * way where rows are not short. */
template <typename Op>
__global__ void __launch_bounds__(WALK_THREADS, (blocks_at_once<CSRN_WARP, Op>))
    walk_rows_kernel(csrn_walk w, Op op) {
  __shared__ typename csrn_sum_of<typename Op::T>::lane sums[MAX_PIECES_PER_BLOCK];
  csrn_warp_memory *memory = memory_of_warp<Op>();
  const int64_t place = (blockIdx.x - w.n_long_blocks) * WALK_WARPS + threadIdx.x / CSRN_WARP;
  const int64_t r = w.backwards ? w.A.n_rows - 1 - place : place;
  const bool exists = place >= 0 && place < w.A.n_rows;
  if (!Op::MASKED && exists && blockIdx.x < w.n_early && group_lane<CSRN_WARP>() == 0) {
    const int64_t begin = w.early_begin(r), length = w.early_begin(r + 1) - begin;
    const int bytes = length > 0 && length <= LONG_ROW ? static_cast<int>(length * sizeof *op.data) : 0;
    csrn_prefetch(op.data + begin, bytes < EARLY_BYTES ? bytes : EARLY_BYTES);
  }
  csrn_after_previous();
  if (blockIdx.x < w.n_long_blocks) {
    if (may_walk(w, op))
      walk_long_rows(w, op, sums, memory);
    return;
  }
  /* All that can be loaded is, before anything is looked at. */
  const int64_t begin = exists ? w.A.indptr[r] : 0;
  const int64_t end = exists ? w.A.indptr[r + 1] : 0;
  const typename Op::input input = exists ? op.fetch(r) : typename Op::input{};
  if (!may_walk(w, op) || !exists || end - begin > LONG_ROW)
    return;
  const int n = static_cast<int>(end - begin);
  typename Op::row row =
      op.begin(w.A, r, sum_piece<MOST_LOADS>(w.A, op, begin, n), input, threadIdx.x % CSRN_WARP == 0);
  if constexpr (Op::FINISHES)
    finish_row<CSRN_WARP, false>(w, op, row, op.data + begin, csrn_packed_row(w, begin, n),
                                 group_lane<CSRN_WARP>(), memory);
}

/* ---- Giant rows --------------------------------------------------------------- */

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

/* How many giants there are, and pieces of all of them. */
__device__ __forceinline__ void count_giants(const csrn_walk &w, int64_t *count, int64_t *n_pieces) {
  const unsigned long long giants = w.left->giants;
  *count = static_cast<int64_t>(giants >> GIANT_SHIFT);
  *n_pieces = static_cast<int64_t>(giants & ((1ULL << GIANT_SHIFT) - 1));
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
  return static_cast<int64_t>(blockIdx.x) * WALK_WARPS + threadIdx.x / CSRN_WARP;
}

__device__ __forceinline__ int64_t warps_of_grid() {
  return static_cast<int64_t>(gridDim.x) * WALK_WARPS;
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

/* Adds the sums of the pieces [from, to) of a giant to its running total, in order; is_first: to nothing. */
template <typename S>
__device__ __forceinline__ S add_pieces(csrn_giant *giant, const S *sums, int64_t from, int64_t to,
                                        bool is_first) {
  S total = 0;
  if (!is_first)
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
  int64_t count, n_pieces;
  count_giants(w, &count, &n_pieces);
  const int64_t stop = n_pieces - stretch < PIECES_PER_STRETCH ? n_pieces : stretch + PIECES_PER_STRETCH;
  S *sums = static_cast<S *>(w.pieces);
  for (int64_t p = stretch + warp_of_grid(); p < stop; p += warps_of_grid()) {
    const csrn_piece piece = find_piece(w, count, p);
    const S sum = sum_piece<some_loads<Op>>(w.A, op, piece.begin, piece.n);
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
    const S total = add_pieces(piece.giant, sums, from - stretch, to - stretch, from == first);
    if (to == last)
      op.begin(w.A, piece.row, total, op.fetch(piece.row), true); /* by one thread alone */
  }
}

/* Finishes the elements of all giants, whose totals are known. */
template <typename Op>
__device__ __forceinline__ void finish_giants(const csrn_walk &w, const Op &op, csrn_warp_memory *memory) {
  using S = typename csrn_sum_of<typename Op::T>::total;
  int64_t count, n_pieces;
  count_giants(w, &count, &n_pieces);
  for (int64_t p = warp_of_grid(); p < n_pieces; p += warps_of_grid()) {
    const csrn_piece piece = find_piece(w, count, p);
    S total = 0;
    if constexpr (Op::SUMS)
      memcpy(&total, piece.giant->total, sizeof total);
    const bool first = !Op::SUMS && p == piece.giant->first_piece && threadIdx.x % CSRN_WARP == 0;
    typename Op::row row = op.begin(w.A, piece.row, total, op.fetch(piece.row), first);
    finish_row<CSRN_WARP, false>(w, op, row, op.data + piece.begin, csrn_packed_row(w, piece.begin, piece.n),
                                 group_lane<CSRN_WARP>(), memory);
  }
}

template <typename Op>
__global__ void __launch_bounds__(WALK_THREADS, (blocks_at_once<CSRN_WARP, Op>))
    sum_giants_kernel(csrn_walk w, Op op, int64_t stretch) {
  csrn_after_previous();
  if (may_walk(w, op))
    sum_giants(w, op, stretch);
}

template <typename Op>
__global__ void __launch_bounds__(WALK_THREADS, (blocks_at_once<CSRN_WARP, Op>))
    finish_giants_kernel(csrn_walk w, Op op) {
  csrn_warp_memory *memory = memory_of_warp<Op>();
  csrn_after_previous();
  if (may_walk(w, op))
    finish_giants(w, op, memory);
}

/* ---- The walk ---------------------------------------------------------------- */

/* Rows of fewer values on average have 8 threads each; and, where they need not be kept, a warp each only
 * from there on. */
enum { SHORT_ROWS = 128, SUM_ROWS = 512 };

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

/* How many tiles for each multiprocessor a block asks beforehand: what is asked for comes to the second-level
 * cache, and is there when a block begins with it; with eight it is gone again by then. Where tiles are only
 * read, or looked up in tables that are filled meanwhile, it costs more than it saves. */
template <typename Op> int tiles_ahead(const Op &op) {
  enum { TILES_AHEAD = 4 };
  if constexpr (Op::WRITES)
    return Op::SUMS || !op.how.log1p ? TILES_AHEAD : 0;
  else
    return Op::MASKED ? TILES_AHEAD : 0;
}

/* How many rows a tile has: about two thirds or, where they are many, three quarters of what it has room for,
 * and a multiple of the rows that are worked on at once if it can be. */
template <int G, typename Op> int64_t rows_per_tile(int64_t n_rows, int64_t nnz) {
  constexpr int64_t at_once = WALK_THREADS / G, room = tile_room<G, Op>;
  const int64_t mean = n_rows > 0 ? nnz / n_rows + 1 : 1;
  const int64_t fitting = (G < CSRN_WARP ? room * 3 / 4 : room * 2 / 3) / mean;
  return fitting < 1                ? 1
         : fitting < at_once        ? fitting
         : fitting > TILE_MOST_ROWS ? int64_t(TILE_MOST_ROWS)
                                    : fitting / at_once * at_once;
}

/* Bytes of dynamic shared memory for a tile, the columns of which have so many bytes. */
template <int G, typename Op> constexpr size_t shared_of_tile(int column_bytes) {
  return static_cast<size_t>(columns_in_tile<G, Op> +
                             (Op::MASKED ? tile_room<G, Op> * column_bytes + COPY_UNIT : 0));
}

/* What a block of tiles needs beside that, with what the device keeps for itself, rounded up. */
template <int G, typename Op> constexpr size_t static_shared() {
  size_t bytes =
      1024 + 128 + sizeof(int64_t) * (TILE_MOST_ROWS + 1) + sizeof(csrn_arrival) + sizeof(csrn_long_row);
  if constexpr (G == CSRN_WARP && Op::WRITES)
    bytes += Op::row::is_quick ? WALK_WARPS * sizeof(csrn_warp_memory) : 0;
  if constexpr (goes_together<G, Op>)
    bytes += sizeof(csrn_together<Op>);
  return bytes;
}

/* Whether enough blocks of tiles with their columns fit on a multiprocessor. */
template <int G, typename Op> bool tiles_fit(const csrn_cuda_state *state, const csrn_walk &w) {
  const size_t bytes = shared_of_tile<G, Op>(w.A.indices.size()) + static_shared<G, Op>();
  return bytes <= state->shared_per_block && state->shared_per_unit / bytes >= (G < CSRN_WARP ? 2 : 3);
}

/* The blocks of long rows, and tiles of all rows if `tiles`. */
template <int G, typename Op>
csrn_status launch_tiles(csrn_context *ctx, csrn_status status, const csrn_walk &w, const Op &op,
                         bool tiles) {
  const int64_t rows = rows_per_tile<G, Op>(w.A.n_rows, w.A.nnz);
  const csrn_launch shape = {w.n_long_blocks + (tiles ? csrn_cuda_blocks(w.A.n_rows, rows, 0) : 0),
                             WALK_THREADS, shared_of_tile<G, Op>(w.A.indices.size())};
  const auto kernel = walk_tiles_kernel<G, Op>;
  /* Always that for the widest columns, or what there can be: this belongs to the kernel, and another thread
   * must not lower it before the launch. */
  const size_t widest = shared_of_tile<G, Op>(sizeof(int64_t)),
               most = csrn_cuda_state_of(ctx)->shared_per_block - static_shared<G, Op>();
  status = csrn_cuda_allow_shared(ctx, status, reinterpret_cast<const void *>(kernel),
                                  widest < most ? widest : most);
  return csrn_cuda_launch(ctx, status, shape, kernel, w, op, static_cast<int>(rows));
}

/* The blocks of long rows, and all rows if `all`, right from global memory. */
template <typename Op>
csrn_status launch_direct(csrn_context *ctx, const csrn_walk &w, const Op &op, bool all) {
  const csrn_launch shape = {w.n_long_blocks + (all ? csrn_cuda_blocks(w.A.n_rows, WALK_WARPS, 0) : 0),
                             WALK_THREADS, 0};
  return csrn_cuda_launch(ctx, CSRN_OK, shape, walk_rows_kernel<Op>, w, op);
}

/* All rows but giants. */
template <typename Op> csrn_status launch_rows(csrn_context *ctx, csrn_walk w, const Op &op) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const int64_t n_rows = w.A.n_rows, nnz = w.A.nnz, most_long = nnz / LONG_ROW;
  const int64_t some = int64_t(state->n_units) * (Op::MASKED ? blocks_at_once<CSRN_WARP, Op> : 2);
  const bool is_short = nnz < SHORT_ROWS * n_rows;
  w.n_long_blocks = w.all_long ? n_rows : most_long < some ? most_long : some;
  csrn_status status = CSRN_OK;
  if constexpr (Op::MASKED) {
    /* Beside those of tiles with their columns there are no registers for long rows. */
    const bool fits = is_short ? tiles_fit<TILE_GROUP, Op>(state, w) : tiles_fit<CSRN_WARP, Op>(state, w);
    status = launch_direct(ctx, w, op, !fits && !w.all_long);
    if (!fits || w.all_long)
      return status;
    w.n_long_blocks = 0;
    if (!is_short)
      return launch_tiles<CSRN_WARP>(ctx, status, w, op, true);
  } else {
    if constexpr (!Op::FINISHES)
      if (nnz >= SUM_ROWS * n_rows)
        return launch_direct(ctx, w, op, !w.all_long);
    if (!is_short)
      return launch_tiles<CSRN_WARP>(ctx, CSRN_OK, w, op, !w.all_long);
    status = launch_tiles<CSRN_WARP>(ctx, CSRN_OK, w, op, false);
    w.n_long_blocks = 0;
  }
  return launch_tiles<TILE_GROUP>(ctx, status, w, op, true);
}

/* Runs `op` on all rows of A, after csrn_cuda_begin() has listed those that are long. backwards: from the
 * last row on, whose elements an operation that has gone forwards has left in the cache. */
template <typename Op>
csrn_status csrn_cuda_walk_rows(csrn_context *ctx, const csrn_csr *A, const Op &op, bool backwards) {
  const csrn_launch shape = {int64_t(csrn_cuda_state_of(ctx)->n_units) * 4, WALK_THREADS, 0};
  csrn_walk w;
  csrn_cuda_walk(ctx, A, &w);
  csrn_cuda_place(&w, op);
  w.backwards = backwards;
  w.tiles_ahead = int64_t(csrn_cuda_state_of(ctx)->n_units) * tiles_ahead(op);
  csrn_status status = launch_rows(ctx, w, op);
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
