/*
 * Walking the rows of a matrix: one algorithm for every operation that has something to
 * do per row, be it a sum, what is done with each element afterwards, or both.
 *
 * Work per row adapts to its length, with the same bits whatever the way:
 *
 *   up to some 256 elements   8 threads, so four rows a warp, where rows are short on average
 *   up to some 2,048          a warp
 *   up to GIANT_ROW           a block of threads, a warp for every CSRN_BLOCK elements
 *   beyond                    all blocks, a warp for every piece of CSRN_BLOCK elements
 *
 * Where a row is summed and then finished, its elements stay in shared memory in between (up to
 * what a block can have), so that each is read once and written once. The kernel of the rows
 * lists those that it leaves to the others: nothing of this ever needs the host.
 *
 * An operation is a struct:
 *
 *   using T            the type of the data
 *   SUMS, FINISHES     whether a row's total is needed; whether something is done with each element
 *   MASKED             whether is_excluded() may leave an element out of the total
 *   GATED              whether has_work(A) says, from what earlier kernels have found out, that there is
 *                      nothing to do: then the kernels return at once and read nothing
 *   const T *data
 *   struct row         what finish() needs to know of the row
 *   row begin(A, r, total, n, first)   what becomes of a row once its total is known, if any; n: how many
 * elements whole warps will finish (0: several rows share a warp); `first` is true in one thread of all that
 * share the row: the one to write per-row results void finish<WARP>(A, row, i, x, active)    element i, whose
 * value is x; WARP: called by all lanes of a warp at once, for one row
 */
#ifndef CSRN_CUDA_WALK_H
#define CSRN_CUDA_WALK_H

#include "cuda_device.h"

/* A row longer than this is shared by all blocks. */
enum { MAX_PIECES_PER_BLOCK = 64 };
constexpr int64_t GIANT_ROW = int64_t(MAX_PIECES_PER_BLOCK) * CSRN_BLOCK;

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
  int64_t group_limit, warp_limit,
      block_limit; /* the longest rows of each way; block_limit splits the two lists */
  int64_t *list;   /* [n_rows]: long rows up to block_limit from the front, others from the back */
  csrn_giant *giants;
  csrn_cuda_left *left;
  void *pieces; /* [PIECES_PER_STRETCH] of PIECE_BYTES */
};

/* Blocks that are to run on one multiprocessor: 24 warps, with enough loads under way for the full bandwidth.
 * What needs more registers has fewer. */
enum { BLOCKS_PER_UNIT = 3 };
template <typename Op> constexpr int blocks_per_unit() {
  return Op::MASKED || sizeof(typename csrn_sum_of<typename Op::T>::lane) > 8 ? 2 : BLOCKS_PER_UNIT;
}

/* ---- Sums of up to CSRN_BLOCK elements by a group --------------------------- */

/* Elements are loaded in batches before they are added, to have many loads under way. What lies beyond the
 * end counts as +0, which changes no lane: none is ever -0. */
template <int G, int BATCH, typename Op, typename S>
__device__ __forceinline__ void add_batch(const csrn_device_matrix &A, const Op &op,
                                          const typename Op::T *values, int64_t begin, int n, int base,
                                          S (&lanes)[CSRN_LANES / G]) {
  using T = typename Op::T;
  constexpr int R = CSRN_LANES / G;
  T x[BATCH * R];
#pragma unroll
  for (int k = 0; k < BATCH * R; k++) {
    const int i = base + G * k + group_lane<G>();
    x[k] = i < n ? values[i] : T(0);
  }
  if constexpr (Op::MASKED) {
    int64_t c[BATCH * R];
    bool bad = false;
#pragma unroll
    for (int k = 0; k < BATCH * R; k++) {
      const int i = base + G * k + group_lane<G>();
      c[k] = i < n ? A.indices[begin + i] : 0;
      bad |= !A.has_column(c[k]);
    }
#pragma unroll
    for (int k = 0; k < BATCH * R; k++) {
      const int i = base + G * k + group_lane<G>();
      const bool inside = A.has_column(c[k]);
      if (!inside || op.is_excluded(c[k]))
        x[k] = T(0);
      if (bad && !inside && i < n)
        note_bad_column(A.control, begin + i);
    }
  }
#pragma unroll
  for (int k = 0; k < BATCH * R; k++)
    lanes[k % R] += static_cast<S>(x[k]);
}

/* The sum of values[0 .. n), which are elements [begin, begin + n) of the matrix; n <= CSRN_BLOCK. */
template <int G, typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::lane
sum_piece(const csrn_device_matrix &A, const Op &op, const typename Op::T *values, int64_t begin, int n) {
  using S = typename csrn_sum_of<typename Op::T>::lane;
  constexpr int R = CSRN_LANES / G, LONG = (Op::MASKED || sizeof(S) > 8 ? 8 : 16) / R, SHORT = 4 / R;
  S lanes[R];
#pragma unroll
  for (int j = 0; j < R; j++)
    lanes[j] = 0;
  int base = 0;
  for (; base + CSRN_LANES * LONG <= n; base += CSRN_LANES * LONG)
    add_batch<G, LONG>(A, op, values, begin, n, base, lanes);
  for (; base < n; base += CSRN_LANES * SHORT)
    add_batch<G, SHORT>(A, op, values, begin, n, base, lanes);
  return combine_lanes<G>(lanes, group_mask<G>());
}

/* ---- Rows of a group -------------------------------------------------------- */

/* Elements [begin, begin + n), n <= CSRN_BLOCK, copied to kept[0 .. n). Every thread copies those that it
 * adds and finishes itself, so nobody waits for others. */
template <int G, typename T>
__device__ __forceinline__ void keep_piece(const T *data, int64_t begin, int n, T *kept) {
#pragma unroll 8
  for (int i = group_lane<G>(); i < n; i += G)
    stage(kept + i, data + begin + i);
}

template <int G, typename Op>
__device__ __forceinline__ void finish_piece(const csrn_device_matrix &A, const Op &op, typename Op::row &row,
                                             const typename Op::T *values, int64_t begin, int n) {
  using T = typename Op::T;
  constexpr int BATCH = 4;
  for (int base = 0; base < n; base += G * BATCH) {
    T x[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      const int i = base + G * k + group_lane<G>();
      x[k] = i < n ? values[i] : T(0);
    }
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
      const int i = base + G * k + group_lane<G>();
      op.template finish<G == CSRN_WARP>(A, row, begin + i, x[k], i < n);
    }
  }
}

/* A whole row of n elements by a group; kept: room for n in shared memory where the operation keeps elements.
 */
template <int G, typename Op>
__device__ __forceinline__ void walk_group(const csrn_device_matrix &A, const Op &op, int64_t r,
                                           int64_t begin, int n, typename Op::T *kept) {
  using T = typename Op::T;
  typename csrn_sum_of<T>::total total = 0;
  const T *values = op.data + begin;
  if constexpr (Op::SUMS && Op::FINISHES) {
    keep_piece<G>(op.data, begin, n, kept);
    staged<T>();
    values = kept;
  }
  if constexpr (Op::SUMS)
    total = sum_piece<G>(A, op, values, begin, n);
  typename Op::row row = op.begin(A, r, total, G == CSRN_WARP ? n : 0, group_lane<G>() == 0);
  if constexpr (Op::FINISHES)
    finish_piece<G>(A, op, row, values, begin, n);
}

/* ---- Leaving rows to other kernels ------------------------------------------ */

__device__ __forceinline__ void leave_to_blocks(const csrn_walk &w, int64_t r, int64_t n) {
  const int which = n > w.block_limit;
  const int64_t place = static_cast<int64_t>(atomicAdd(&w.left->n_long[which], 1ULL));
  w.list[which ? w.A.n_rows - 1 - place : place] = r;
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
__global__ void __launch_bounds__(CSRN_THREADS, blocks_per_unit<Op>()) walk_rows_kernel(csrn_walk w, Op op) {
  using T = typename Op::T;
  CSRN_DYNAMIC_SHARED(shared);
  if (!may_walk(w, op))
    return;
  T *kept = reinterpret_cast<T *>(shared) + threadIdx.x / CSRN_WARP * w.warp_limit;
  const int64_t r = static_cast<int64_t>(blockIdx.x) * (CSRN_THREADS / G) + threadIdx.x / G;
  const bool exists = r < w.A.n_rows;
  const int64_t begin = exists ? w.A.indptr[r] : 0;
  const int64_t n = exists ? w.A.indptr[r + 1] - begin : 0;
  if (exists && n <= w.group_limit)
    walk_group<G>(w.A, op, r, begin, static_cast<int>(n), kept + threadIdx.x % CSRN_WARP / G * w.group_limit);
  if constexpr (G < CSRN_WARP) {
    __syncwarp(); /* whole rows take the memory of all groups */
    const bool waits = group_lane<G>() == 0 && n > w.group_limit && n <= w.warp_limit;
    for (unsigned pending = __ballot_sync(FULL_WARP, waits); pending; pending &= pending - 1) {
      const int lane = __ffs(static_cast<int>(pending)) - 1;
      const int64_t its_begin = __shfl_sync(FULL_WARP, static_cast<long long>(begin), lane);
      const int its_n = __shfl_sync(FULL_WARP, static_cast<int>(n), lane);
      walk_group<CSRN_WARP>(w.A, op, r - threadIdx.x % CSRN_WARP / G + lane / G, its_begin, its_n, kept);
    }
  }
  if (n <= w.warp_limit || group_lane<G>() != 0)
    return;
  if (n <= GIANT_ROW)
    leave_to_blocks(w, r, n);
  else
    leave_to_all(w, r, n);
}

/* Row r by the whole block; kept: room for n elements, or NULL. */
template <typename Op>
__device__ void walk_block(const csrn_walk &w, const Op &op, int64_t r, typename Op::T *kept,
                           typename csrn_sum_of<typename Op::T>::lane *sums) {
  using T = typename Op::T;
  const csrn_device_matrix &A = w.A;
  const int64_t begin = A.indptr[r];
  const int n = static_cast<int>(A.indptr[r + 1] - begin);
  const int step = CSRN_THREADS / CSRN_WARP * CSRN_BLOCK;
  const int mine = static_cast<int>(threadIdx.x / CSRN_WARP) * CSRN_BLOCK;
  const T *values = kept ? kept : op.data + begin;
  typename csrn_sum_of<T>::total total = 0;
  if constexpr (Op::SUMS) {
    for (int first = mine; first < n; first += step) {
      const int length = n - first < CSRN_BLOCK ? n - first : CSRN_BLOCK;
      if (kept) {
        keep_piece<CSRN_WARP>(op.data, begin + first, length, kept + first);
        staged<T>();
      }
      const auto sum = sum_piece<CSRN_WARP>(A, op, values + first, begin + first, length);
      if (threadIdx.x % CSRN_WARP == 0)
        sums[first / CSRN_BLOCK] = sum;
    }
    __syncthreads();
    for (int k = 0; k * CSRN_BLOCK < n; k++)
      total += sums[k];
  }
  typename Op::row row = op.begin(A, r, total, n, threadIdx.x == 0);
  if constexpr (Op::FINISHES)
    for (int first = mine; first < n; first += step)
      finish_piece<CSRN_WARP>(A, op, row, values + first, begin + first,
                              n - first < CSRN_BLOCK ? n - first : CSRN_BLOCK);
}

/* The rows of one list; kept_limit: elements that the shared memory of this launch has room for. */
template <typename Op>
__global__ void __launch_bounds__(CSRN_THREADS, blocks_per_unit<Op>())
    walk_long_kernel(csrn_walk w, Op op, int which, int64_t kept_limit) {
  using T = typename Op::T;
  CSRN_DYNAMIC_SHARED(shared);
  __shared__ typename csrn_sum_of<T>::lane sums[MAX_PIECES_PER_BLOCK];
  if (!may_walk(w, op))
    return;
  const int64_t count = static_cast<int64_t>(w.left->n_long[which]);
  for (int64_t place = blockIdx.x; place < count; place += gridDim.x) {
    const int64_t r = w.list[which ? w.A.n_rows - 1 - place : place];
    const int64_t n = w.A.indptr[r + 1] - w.A.indptr[r];
    walk_block(w, op, r, n <= kept_limit ? reinterpret_cast<T *>(shared) : nullptr, sums);
    __syncthreads(); /* before the next row's sums and elements */
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
  return static_cast<int64_t>(blockIdx.x) * (CSRN_THREADS / CSRN_WARP) + threadIdx.x / CSRN_WARP;
}

__device__ __forceinline__ int64_t warps_of_grid() {
  return static_cast<int64_t>(gridDim.x) * (CSRN_THREADS / CSRN_WARP);
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
__global__ void __launch_bounds__(CSRN_THREADS, blocks_per_unit<Op>())
    sum_giants_kernel(csrn_walk w, Op op, int64_t stretch) {
  using S = typename csrn_sum_of<typename Op::T>::total;
  if (!may_walk(w, op))
    return;
  const unsigned long long giants = w.left->giants;
  const int64_t count = static_cast<int64_t>(giants >> GIANT_SHIFT);
  const int64_t n_pieces = static_cast<int64_t>(giants & ((1ULL << GIANT_SHIFT) - 1));
  const int64_t stop = n_pieces - stretch < PIECES_PER_STRETCH ? n_pieces : stretch + PIECES_PER_STRETCH;
  S *sums = static_cast<S *>(w.pieces);
  for (int64_t p = stretch + warp_of_grid(); p < stop; p += warps_of_grid()) {
    const csrn_piece piece = find_piece(w, count, p);
    const S sum = sum_piece<CSRN_WARP>(w.A, op, op.data + piece.begin, piece.begin, piece.n);
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
      op.begin(w.A, piece.row, total, piece.row_length, true);
  }
}

/* Finishes the elements of all giants. */
template <typename Op>
__global__ void __launch_bounds__(CSRN_THREADS, blocks_per_unit<Op>())
    finish_giants_kernel(csrn_walk w, Op op) {
  using S = typename csrn_sum_of<typename Op::T>::total;
  if (!may_walk(w, op))
    return;
  const unsigned long long giants = w.left->giants;
  const int64_t count = static_cast<int64_t>(giants >> GIANT_SHIFT);
  const int64_t n_pieces = static_cast<int64_t>(giants & ((1ULL << GIANT_SHIFT) - 1));
  for (int64_t p = warp_of_grid(); p < n_pieces; p += warps_of_grid()) {
    const csrn_piece piece = find_piece(w, count, p);
    S total;
    memcpy(&total, piece.giant->total, sizeof total);
    const bool first = !Op::SUMS && p == piece.giant->first_piece && threadIdx.x % CSRN_WARP == 0;
    typename Op::row row = op.begin(w.A, piece.row, total, piece.row_length, first);
    finish_piece<CSRN_WARP>(w.A, op, row, op.data + piece.begin, piece.begin, piece.n);
  }
}

/* ---- The walk ---------------------------------------------------------------- */

/* Rows of fewer values on average are walked by 8 threads each. */
enum { SHORT_ROWS = 192 };

/* Fills in what does not depend on the operation. */
void csrn_cuda_walk(csrn_context *ctx, const csrn_csr *A, csrn_walk *walk);
/* Lets kernels that keep elements have `bytes` of shared memory. */
csrn_status csrn_cuda_allow_shared(csrn_context *ctx, csrn_status status, const void *kernel, size_t bytes);
/* The bytes of dynamic shared memory for blocks of which `blocks` are to run on one multiprocessor. */
size_t csrn_cuda_shared_share(const csrn_context *ctx, int blocks);

template <typename Op>
csrn_status launch_rows(csrn_context *ctx, csrn_status status, const csrn_walk &w, const Op &op,
                        bool short_rows, size_t shared) {
  constexpr int SHORT = 8, LONG = CSRN_WARP;
  const int64_t rows_per_block = CSRN_THREADS / (short_rows ? SHORT : LONG);
  const csrn_launch shape = {csrn_cuda_blocks(w.A.n_rows, rows_per_block, 0), CSRN_THREADS, shared};
  void (*kernel)(csrn_walk, Op) = short_rows ? walk_rows_kernel<SHORT, Op> : walk_rows_kernel<LONG, Op>;
  status = csrn_cuda_allow_shared(ctx, status, reinterpret_cast<const void *>(kernel), shared);
  return csrn_cuda_launch(ctx, status, shape, kernel, w, op);
}

/* The rows that the first kernel has left. */
template <typename Op>
csrn_status launch_long_rows(csrn_context *ctx, csrn_status status, const csrn_walk &w, const Op &op,
                             int64_t nnz) {
  using T = typename Op::T;
  constexpr bool keeps = Op::SUMS && Op::FINISHES;
  const int64_t units = csrn_cuda_state_of(ctx)->n_units;
  const auto kernel = walk_long_kernel<Op>;
  const size_t largest = keeps ? csrn_cuda_shared_share(ctx, 1) : 0;
  status = csrn_cuda_allow_shared(ctx, status, reinterpret_cast<const void *>(kernel), largest);
  for (int which = 0; which < (keeps ? 2 : 1); which++) {
    const size_t room = which ? largest : static_cast<size_t>(w.block_limit) * sizeof(T);
    const size_t shared = keeps ? room : 0;
    const int64_t limit = static_cast<int64_t>(shared / sizeof(T));
    const int64_t most = nnz / ((which ? w.block_limit : w.warp_limit) + 1); /* rows that long */
    status = csrn_cuda_launch(ctx, status,
                              {csrn_cuda_blocks(most, 1, units * (which ? 1 : 6)), CSRN_THREADS, shared},
                              kernel, w, op, which, limit);
  }
  if (nnz <= GIANT_ROW)
    return status;
  const int64_t most_pieces = nnz / CSRN_BLOCK + nnz / GIANT_ROW + 1;
  const csrn_launch shape = {csrn_cuda_blocks(most_pieces, CSRN_THREADS / CSRN_WARP, units * 4), CSRN_THREADS,
                             0};
  if constexpr (Op::SUMS)
    for (int64_t stretch = 0; stretch < most_pieces; stretch += PIECES_PER_STRETCH)
      status = csrn_cuda_launch(ctx, status, shape, sum_giants_kernel<Op>, w, op, stretch);
  if constexpr (Op::FINISHES)
    status = csrn_cuda_launch(ctx, status, shape, finish_giants_kernel<Op>, w, op);
  return status;
}

/* Runs `op` on all rows of A, after csrn_cuda_need_for() for CSRN_CUDA_LISTS and csrn_cuda_begin(). Where
 * elements are kept, a multiprocessor gets 24 warps or more with 2,048 float32 each if it has the shared
 * memory of an H100, fewer elements elsewhere. */
template <typename Op> csrn_status csrn_cuda_walk_rows(csrn_context *ctx, const csrn_csr *A, const Op &op) {
  using T = typename Op::T;
  constexpr bool keeps = Op::SUMS && Op::FINISHES;
  const bool short_rows = A->nnz < SHORT_ROWS * A->n_rows;
  csrn_walk w;
  csrn_cuda_walk(ctx, A, &w);
  size_t shared = 0;
  w.warp_limit = CSRN_BLOCK;
  w.block_limit = GIANT_ROW;
  if (keeps) {
    const int64_t room = static_cast<int64_t>(csrn_cuda_shared_share(ctx, BLOCKS_PER_UNIT) / sizeof(T) /
                                              (CSRN_THREADS / CSRN_WARP));
    const int64_t most = short_rows ? 1024 : 2048;
    w.warp_limit = room < most ? room / CSRN_WARP * CSRN_WARP : most;
    shared = static_cast<size_t>(w.warp_limit) * (CSRN_THREADS / CSRN_WARP) * sizeof(T);
    w.block_limit = static_cast<int64_t>(csrn_cuda_shared_share(ctx, 6) / sizeof(T)) / CSRN_WARP * CSRN_WARP;
  }
  w.group_limit = short_rows ? w.warp_limit / 4 : w.warp_limit;
  const csrn_status status = launch_rows(ctx, CSRN_OK, w, op, short_rows, shared);
  return launch_long_rows(ctx, status, w, op, A->nnz);
}

#endif
