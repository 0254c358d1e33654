/*
 * Rows that are short on average. Blocks take tiles: as many rows as fit in shared memory
 * come there by packs, whatever the lengths of the rows; each row is summed and finished
 * there by 8 threads or a warp; and the tile goes out by packs. Operations that do not work
 * on tiles have 8 threads for a row in global memory.
 */
#ifndef CSRN_CUDA_SHORT_H
#define CSRN_CUDA_SHORT_H

#include "cuda_row.h"

/* ---- By 8 threads --------------------------------------------------- */

enum { SHORT_GROUP = 8, SHORT_MOST = 256 };

/* The canonical sum by 8 threads that read 32 elements at a time, four each. Number s of the 32 is that of
 * lane s + head (modulo 32), in order; the halving pairs numbers 16, 8, 4, 2 and 1 apart, in which a rotation
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

/* ---- Tiles ---------------------------------------- */

enum { TILE_THREADS = 256, TILE_BYTES = 32 << 10, TILE_MOST_ROWS = 256 };

/* Elements that a tile has room for; one more pack is needed for those before the first whole one. */
template <typename Op> constexpr int tile_room = TILE_BYTES / static_cast<int>(sizeof(typename Op::T));

/* Whether an operation works on tiles: results take the places of the elements. */
template <typename Op> struct csrn_has_tiles {
  static constexpr bool fits() {
    if constexpr (Op::WRITES)
      return sizeof(typename Op::T) == sizeof(typename Op::O);
    return !Op::FINISHES;
  }
  static constexpr bool value = !is_heavy<Op> && fits();
};

/* The sum of a row in shared memory by G threads. */
template <int G, typename T>
__device__ __forceinline__ typename csrn_sum_of<T>::total sum_kept(const T *kept, int n) {
  using S = typename csrn_sum_of<T>::lane;
  constexpr int R = CSRN_LANES / G;
  typename csrn_sum_of<T>::total total = 0;
  for (int from = 0; from < n; from += CSRN_BLOCK) {
    const int to = n - from < CSRN_BLOCK ? n : from + CSRN_BLOCK;
    S lanes[R];
#pragma unroll
    for (int j = 0; j < R; j++)
      lanes[j] = 0;
#pragma unroll 2
    for (int base = from + group_lane<G>(); base < to; base += CSRN_LANES)
#pragma unroll
      for (int j = 0; j < R; j++)
        lanes[j] += base + G * j < to ? static_cast<S>(kept[base + G * j]) : S(0);
    total += combine_lanes<G>(lanes, group_mask<G>());
  }
  return total;
}

/* What becomes of a row in shared memory takes its place. */
template <int G, csrn_cuda_mode MODE, typename Op>
__device__ __forceinline__ void finish_kept(const Op &op, const typename Op::row &row, typename Op::T *kept,
                                            int n) {
  using T = typename Op::T;
  using O = typename Op::O;
  constexpr int BATCH = 4;
  O *results = reinterpret_cast<O *>(kept);
  for (int base = group_lane<G>(); base < n; base += G * BATCH) {
    typename Op::C x[BATCH];
    O y[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      x[k] = static_cast<typename Op::C>(base + G * k < n ? kept[base + G * k] : T(1));
    row.template apply<MODE, false>(op.how, x, y);
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (base + G * k < n)
        results[base + G * k] = y[k];
  }
}

/* Row r, which is kept[0 .. n). */
template <int G, typename Op>
__device__ __forceinline__ void walk_kept(const csrn_walk &w, const Op &op, int64_t r, typename Op::T *kept,
                                          int n) {
  typename csrn_sum_of<typename Op::T>::total total = 0;
  const typename Op::input input = op.fetch(r);
  if constexpr (Op::SUMS)
    total = sum_kept<G>(kept, n);
  const typename Op::row row = op.begin(w.A, r, total, input, 0, group_lane<G>() == 0);
  if constexpr (Op::FINISHES) {
    if constexpr (sizeof(typename Op::C) == sizeof(float)) {
      const csrn_cuda_mode mode = row.mode(op.how);
      if (mode == CSRN_CUDA_DIVIDED)
        return finish_kept<G, CSRN_CUDA_DIVIDED>(op, row, kept, n);
      if (mode == CSRN_CUDA_LOGARITHM)
        return finish_kept<G, CSRN_CUDA_LOGARITHM>(op, row, kept, n);
    }
    finish_kept<G, CSRN_CUDA_ANY>(op, row, kept, n);
  }
}

/* Copies between a packed row in global memory and kept[], where element 0 is number PACK - head of its pack.
 */
template <typename T>
__device__ __forceinline__ void bring(const T *data, const csrn_packed_row &its, T *kept) {
  const int edge = its.edge(static_cast<int>(threadIdx.x));
  if (edge < its.n)
    kept[edge] = data[its.begin + edge];
  const auto *from = reinterpret_cast<const csrn_pack<T> *>(data + its.begin + its.head);
  auto *to = reinterpret_cast<csrn_pack<T> *>(kept + its.head);
#pragma unroll 4
  for (int p = static_cast<int>(threadIdx.x); p < its.full; p += TILE_THREADS)
    to[p] = from[p];
}

template <typename O>
__device__ __forceinline__ void take(O *out, const csrn_packed_row &its, const O *kept, bool packed) {
  if (!packed) {
    for (int i = static_cast<int>(threadIdx.x); i < its.n; i += TILE_THREADS)
      out[its.begin + i] = kept[i];
    return;
  }
  const int edge = its.edge(static_cast<int>(threadIdx.x));
  if (edge < its.n)
    out[its.begin + edge] = kept[edge];
  const auto *from = reinterpret_cast<const csrn_pack<O> *>(kept + its.head);
#pragma unroll 4
  for (int p = static_cast<int>(threadIdx.x); p < its.full; p += TILE_THREADS)
    store_once(out + its.begin + its.head + p * PACK, from[p]);
}

/* The last row up to which rows from `from` on fit into the room: `from` if its first does not. */
__device__ __forceinline__ int fitting_rows(const int64_t *ends, int from, int n_rows, int room) {
  if (ends[n_rows] - ends[from] <= room)
    return n_rows;
  int low = from, high = n_rows;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (ends[middle] - ends[from] <= room)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/* A block for every rows_per_tile rows: one tile, or several where rows are longer there than on average. */
template <int G, typename Op>
__global__ void __launch_bounds__(TILE_THREADS, (sizeof(typename Op::T) > 4 ? 768 : 1024) / TILE_THREADS)
    walk_tiles_kernel(csrn_walk w, Op op, int rows_per_tile) {
  using T = typename Op::T;
  CSRN_DYNAMIC_SHARED(shared);
  __shared__ int64_t ends[TILE_MOST_ROWS + 1]; /* where rows begin, and the end */
  csrn_after_previous();
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * rows_per_tile;
  const int n_rows =
      static_cast<int>(w.A.n_rows - first_row < rows_per_tile ? w.A.n_rows - first_row : rows_per_tile);
  for (int k = static_cast<int>(threadIdx.x); k <= n_rows; k += TILE_THREADS)
    ends[k] = w.A.indptr[first_row + k];
  if (!may_walk(w, op))
    return;
  __syncthreads();
  for (int from = 0, to; from < n_rows; from = to) {
    to = fitting_rows(ends, from, n_rows, tile_room<Op>);
    if (to == from) {
      if (threadIdx.x == 0)
        leave(w, first_row + from, ends[from + 1] - ends[from]);
      to++;
      continue;
    }
    const int64_t begin = ends[from];
    const csrn_packed_row its(w, begin, static_cast<int>(ends[to] - begin));
    T *kept = reinterpret_cast<T *>(shared) + (PACK - its.head);
    bring(op.data, its, kept);
    __syncthreads();
    for (int k = from + static_cast<int>(threadIdx.x) / G; k < to; k += TILE_THREADS / G)
      walk_kept<G>(w, op, first_row + k, kept + (ends[k] - begin), static_cast<int>(ends[k + 1] - ends[k]));
    __syncthreads();
    if constexpr (Op::FINISHES) {
      take(op.out, its, reinterpret_cast<const typename Op::O *>(kept), w.packed);
      __syncthreads(); /* before the next tile */
    }
  }
}

#endif
