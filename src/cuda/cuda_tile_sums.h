/*
 * What a tile has room for (cuda_tile.h), and the sums of its rows.
 */
#ifndef CSRN_CUDA_TILE_SUMS_H
#define CSRN_CUDA_TILE_SUMS_H

#include "cuda_copy.h"
#include "cuda_row.h"

enum { TILE_GROUP = 8, TILE_MOST_ROWS = 128 };

/* Bytes that a tile of T has room for; a row of LONG_ROW fits. */
template <int G, typename T>
constexpr int tile_bytes = sizeof(T) > 4   ? 32 << 10
                           : G < CSRN_WARP ? 16 << 10
                                           : 24 << 10;
/* The elements that it has room for: with their columns not more than of four bytes each. */
template <int G, typename Op>
constexpr int tile_room = tile_bytes<G, typename Op::T> /
                          static_cast<int>(Op::MASKED && sizeof(typename Op::T) < 4 ? 4
                                                                                    : sizeof(typename Op::T));
/* Where the columns of its elements begin, where there are such. */
template <int G, typename Op>
constexpr int columns_in_tile = tile_room<G, Op> *static_cast<int>(sizeof(typename Op::T)) + COPY_UNIT;

/* ---- Sums in shared memory --------------------------------------------------------- */

/* Adds whole rounds of 32 elements, from `base` on, to the lanes of a thread, several at a time to have their
 * loads under way together; returns where the next round begins for this thread. */
template <int G, int ROUNDS, typename Op, typename S>
__device__ __forceinline__ int add_rounds(const typename Op::T *kept, int base, int n,
                                          S (&lanes)[CSRN_LANES / G]) {
  for (; base - group_lane<G>() + CSRN_LANES * ROUNDS <= n; base += CSRN_LANES * ROUNDS)
#pragma unroll
    for (int k = 0; k < ROUNDS; k++)
#pragma unroll
      for (int j = 0; j < CSRN_LANES / G; j++)
        lanes[j] += static_cast<S>(kept[base + CSRN_LANES * k + G * j]);
  return base;
}

/* The rest, fewer than ROUNDS, by a warp, at once; what lies beyond the end counts as +0. */
template <int ROUNDS, typename Op, typename S>
__device__ __forceinline__ void add_last_rounds(const typename Op::T *kept, int base, int n, S (&lanes)[1]) {
  typename Op::T x[ROUNDS];
#pragma unroll
  for (int k = 0; k < ROUNDS; k++)
    x[k] = base + CSRN_LANES * k < n ? kept[base + CSRN_LANES * k] : typename Op::T(0);
#pragma unroll
  for (int k = 0; k < ROUNDS; k++)
    lanes[0] += static_cast<S>(x[k]);
}

/* The same without what is excluded. `columns` are those of kept[], which begins with element `begin` of the
 * matrix. */
template <int G, int ROUNDS, typename Columns, typename Op, typename S>
__device__ __forceinline__ int add_rounds_counted(const csrn_device_matrix &A, const Op &op,
                                                  const typename Op::T *kept, const Columns &columns,
                                                  int64_t begin, int n, S (&lanes)[CSRN_LANES / G]) {
  constexpr int R = CSRN_LANES / G, N = ROUNDS * R;
  int base = group_lane<G>();
  for (; base - group_lane<G>() + CSRN_LANES * ROUNDS <= n; base += CSRN_LANES * ROUNDS) {
    typename Op::T x[N];
    decltype(+columns[0]) c[N];
#pragma unroll
    for (int k = 0; k < N; k++) {
      x[k] = kept[base + G * k];
      c[k] = columns[base + G * k];
    }
    leave_out(A, op, c, x, begin + base, G, N);
#pragma unroll
    for (int k = 0; k < N; k++)
      lanes[k % R] += static_cast<S>(x[k]);
  }
  return base;
}

/* The sum of a row of n elements, the first of which is element `begin` of the matrix and lies at kept[0], by
 * G threads; n <= CSRN_BLOCK. columns: of kept[], if some are left out. */
template <int G, typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::lane
sum_kept(const csrn_device_matrix &A, const Op &op, const typename Op::T *kept,
         const csrn_index_array &columns, int64_t begin, int n) {
  using S = typename csrn_sum_of<typename Op::T>::lane;
  constexpr int R = CSRN_LANES / G, ROUNDS = G == CSRN_WARP ? (is_heavy<Op> ? 4 : 8) : Op::MASKED ? 1 : 2;
  S lanes[R];
#pragma unroll
  for (int j = 0; j < R; j++)
    lanes[j] = 0;
  int base = group_lane<G>();
  if constexpr (!Op::MASKED)
    base = add_rounds<G, ROUNDS, Op>(kept, base, n, lanes);
  else if (columns.type == CSRN_I32)
    base = add_rounds_counted<G, ROUNDS>(A, op, kept, static_cast<const int32_t *>(columns.values), begin, n,
                                         lanes);
  else if (columns.size() == sizeof(int64_t))
    base = add_rounds_counted<G, ROUNDS>(A, op, kept, static_cast<const int64_t *>(columns.values), begin, n,
                                         lanes);
  else
    base = add_rounds_counted<G, ROUNDS>(A, op, kept, columns, begin, n, lanes);
  if constexpr (!Op::MASKED && G == CSRN_WARP) {
    base = add_rounds<G, ROUNDS / 2, Op>(kept, base, n, lanes);
    add_last_rounds<ROUNDS / 2, Op>(kept, base, n, lanes);
  } else {
#pragma unroll 1
    for (; base < n; base += CSRN_LANES)
#pragma unroll
      for (int j = 0; j < R; j++)
        if (base + G * j < n) {
          typename Op::T x[1] = {kept[base + G * j]};
          if constexpr (Op::MASKED) {
            const int64_t c[1] = {columns[base + G * j]};
            leave_out(A, op, c, x, begin + base + G * j, G, 1);
          }
          lanes[j] += static_cast<S>(x[0]);
        }
  }
  return combine_lanes<G>(lanes, group_mask<G>());
}

#endif
