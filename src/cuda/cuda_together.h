/*
 * Short rows finished together: a warp has several rows of a tile, sums them four at a time, by 8
 * threads each, and then goes through all of their elements as if they were one row. So no thread
 * waits for the longest of some rows, no row has ends of its own that are no whole packs, and what
 * there is to compute per row is computed for all of them at once, by a thread each.
 */
#ifndef CSRN_CUDA_TOGETHER_H
#define CSRN_CUDA_TOGETHER_H

#include "cuda_tile_sums.h"

#include <type_traits>

/* Whether a walk does this. */
template <int G, typename Op> constexpr bool goes_together = G < CSRN_WARP &&Op::WRITES;

/* What a block has in shared memory for this. */
template <typename Op> struct csrn_together {
  struct alignas(16) row {
    csrn_scaler<typename Op::C, typename Op::O> scaler;
    int end; /* of the row, from the first of the elements on that a warp goes through */
  };
  row rows[TILE_MOST_ROWS];
  uint8_t row_of_pack[tile_room<TILE_GROUP, Op> / PACK]; /* that of its first element */
};

template <int G, typename Op>
using csrn_together_of = std::conditional_t<goes_together<G, Op>, csrn_together<Op>, void>;

/* The rows of a part of a tile that a warp has: n from `first` on; at most one for each thread. */
struct csrn_share {
  int first, n;

  __device__ __forceinline__ csrn_share(int from, int to) {
    const int share = (to - from + WALK_WARPS - 1) / WALK_WARPS;
    first = from + static_cast<int>(threadIdx.x) / CSRN_WARP * share;
    n = to - first < share ? to - first : share;
  }
};
static_assert(int(TILE_MOST_ROWS) <= int(WALK_THREADS), "each row has a thread");

/* The total of the row of this thread, of those of its warp, in a part of a tile that begins with row `from`
 * of it at kept[0]. columns: of kept[]. Long rows have none. */
template <typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::total
sum_share(const csrn_device_matrix &A, const Op &op, int from, const csrn_share &share, const int64_t *ends,
          const typename Op::T *kept, const csrn_index_array &columns) {
  constexpr int AT_ONCE = CSRN_WARP / TILE_GROUP;
  const int lane = group_lane<CSRN_WARP>();
  typename csrn_sum_of<typename Op::T>::total total = 0;
#pragma unroll 1
  for (int k = 0; k < share.n; k += AT_ONCE) {
    const int row = k + lane / TILE_GROUP;
    const int64_t begin = ends[share.first + (row < share.n ? row : share.n)];
    const int64_t n = row < share.n ? ends[share.first + row + 1] - begin : 0;
    const int64_t offset = begin - ends[from];
    csrn_index_array its = columns;
    if constexpr (Op::MASKED)
      its.values = static_cast<const char *>(columns.values) + offset * columns.size();
    const auto sum =
        sum_kept<TILE_GROUP>(A, op, kept + offset, its, begin, n <= LONG_ROW ? static_cast<int>(n) : 0);
    const auto received = shuffle_from(sum, lane % AT_ONCE * TILE_GROUP);
    if (lane / AT_ONCE == k / AT_ONCE)
      total = received;
  }
  return total;
}

/* The row of element e, which is not before row r. */
template <typename Op>
__device__ __forceinline__ int row_of_element(const csrn_together<Op> *together, int r, int e) {
  while (together->rows[r].end <= e)
    r++;
  return r;
}

/* Several rows of a warp, the first of which is `first`: their elements are from[] in shared memory, and the
 * rows of their packs row_of_pack[], as in csrn_together. */
template <typename Op> struct csrn_rows_together {
  const Op &op;
  const csrn_together<Op> *together;
  int first;
  const uint8_t *row_of_pack;
  const typename Op::T *from;
  csrn_packed_row its;

  __device__ __forceinline__ void finish_element(int i) const {
    const int pack = (i - its.head) / PACK, last = its.full - 1;
    const bool is_before = i < its.head || last < 0;
    const int r = row_of_element(together, is_before ? first : row_of_pack[pack < last ? pack : last], i);
    op.out[its.begin + i] =
        scale_element(op.how, together->rows[r].scaler, static_cast<typename Op::C>(from[i]));
  }
};

/* Finishes them. */
template <csrn_cuda_mode MODE, typename Op>
__device__ __forceinline__ void finish_together(const csrn_walk &w, const csrn_rows_together<Op> &rows) {
  using T = typename Op::T;
  using C = typename Op::C;
  using O = typename Op::O;
  const csrn_packed_row &its = rows.its;
  const csrn_together<Op> *together = rows.together;
  const int lane = group_lane<CSRN_WARP>(), edge = its.edge(lane);
  if constexpr (MODE == CSRN_CUDA_ANY) {
#pragma unroll 1
    for (int i = lane; i < its.n; i += CSRN_WARP)
      rows.finish_element(i);
    return;
  } else {
    if (edge < its.n)
      rows.finish_element(edge);
#pragma unroll 1
    for (int p = lane; p < its.full; p += CSRN_WARP) {
      const int at = its.head + p * PACK;
      const csrn_pack<T> x = *reinterpret_cast<const csrn_pack<T> *>(rows.from + at);
      csrn_pack<O> y;
      int r = rows.row_of_pack[p];
      typename csrn_together<Op>::row row = together->rows[r];
      unsigned missed = 0; /* bits of elements for which the quick way does not hold */
#pragma unroll
      for (int j = 0; j < PACK; j++) {
        if (j > 0 && at + j >= row.end) {
          r = row_of_element(together, r + 1, at + j);
          row = together->rows[r];
        }
        typename Op::row quick;
        quick.scaler = row.scaler;
        if (!quick.template quick<MODE>(static_cast<C>(x.x[j]), &y.x[j]))
          missed |= 1U << j;
      }
      store_pack(w.packed, rows.op.out + its.begin + at, y);
#pragma unroll 1
      for (; missed; missed &= missed - 1)
        rows.finish_element(at + __ffs(static_cast<int>(missed)) - 1);
    }
  }
}

template <typename Op>
__device__ __forceinline__ void finish_together(const csrn_walk &w, const csrn_rows_together<Op> &rows) {
  const csrn_cuda_how &how = rows.op.how;
  if constexpr (Op::row::is_quick) {
    if (!how.log1p)
      return how.step == CSRN_CUDA_MULTIPLY ? finish_together<CSRN_CUDA_MULTIPLIED>(w, rows)
                                            : finish_together<CSRN_CUDA_DIVIDED>(w, rows);
    if (how.log_base == 0.0)
      return finish_together<CSRN_CUDA_LOGARITHM>(w, rows);
  }
  finish_together<CSRN_CUDA_ANY>(w, rows);
}

/* The rows of this warp of a part of a tile, which begins with row `from` of it at kept[0]; `row` is the
 * tile's first. columns: of kept[]; input: of the row of this thread. */
template <typename Op>
__device__ __forceinline__ void walk_together(const csrn_walk &w, const Op &op, int64_t row, int from,
                                              const csrn_share &share, const int64_t *ends,
                                              const typename Op::T *kept, const csrn_index_array &columns,
                                              const typename Op::input &input, csrn_together<Op> *together) {
  const int lane = group_lane<CSRN_WARP>(), mine = share.first + lane;
  if (share.n <= 0)
    return;
  typename csrn_sum_of<typename Op::T>::total total = 0;
  if constexpr (Op::SUMS)
    total = sum_share(w.A, op, from, share, ends, kept, columns);
  const bool exists = lane < share.n, is_long = exists && ends[mine + 1] - ends[mine] > LONG_ROW;
  if (exists && !is_long)
    together->rows[mine].scaler = op.begin(w.A, row + mine, total, input, true).scaler;
  /* Long rows are not done here; what lies between two of them is gone through at once. */
  const unsigned longs = __ballot_sync(FULL_WARP, is_long);
#pragma unroll 1
  for (int k = 0; k < share.n;) {
    const unsigned next = longs >> k;
    const int n_rows = next ? __ffs(static_cast<int>(next)) - 1 : share.n - k, first = share.first + k;
    const int64_t begin = ends[first];
    const csrn_packed_row its(w, begin, static_cast<int>(ends[first + n_rows] - begin));
    uint8_t *row_of_pack = together->row_of_pack + (begin - ends[from] + its.head) / PACK;
    if (lane >= k && lane < k + n_rows)
      together->rows[mine].end = static_cast<int>(ends[mine + 1] - begin);
#pragma unroll 1
    for (int r = lane / TILE_GROUP; r < n_rows; r += CSRN_WARP / TILE_GROUP) {
      const int first_after = static_cast<int>(ends[first + r] - begin) - its.head + PACK - 1;
      const int end = static_cast<int>(ends[first + r + 1] - begin) - its.head;
      for (int p = first_after / PACK + group_lane<TILE_GROUP>(); p < its.full && p * PACK < end;
           p += TILE_GROUP)
        row_of_pack[p] = static_cast<uint8_t>(first + r);
    }
    __syncwarp();
    finish_together(
        w, csrn_rows_together<Op>{op, together, first, row_of_pack, kept + (begin - ends[from]), its});
    k += n_rows + 1;
  }
}

#endif
