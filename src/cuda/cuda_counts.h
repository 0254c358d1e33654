/*
 * Logarithms of a row of counts that a warp has in shared memory. First the row is looked
 * through, while it is summed if it has to be: the few elements that no table has are noted.
 * What they become is computed together with the table and stands behind it, and in the row
 * they are replaced by the number of their entry. So every element is looked up then, with
 * nothing to check.
 */
#ifndef CSRN_CUDA_COUNTS_H
#define CSRN_CUDA_COUNTS_H

#include "cuda_row.h"

/* Whether a walk does this: a warp for each row, which is summed, results in float32. */
template <int G, typename Op, bool = Op::WRITES> constexpr bool looks_up = false;
template <typename Op> constexpr bool looks_up<CSRN_WARP, Op, true> = Op::SUMS &&Op::row::is_quick;

/* Notes the places of elements whose bits are set, of which bit k is element first + 32 k + lane; returns how
 * many there are with the `n` before, or, where those are more than CSRN_WARP, just some number above that.
 */
__device__ __forceinline__ int note_places(csrn_warp_memory *memory, unsigned off, int first, int n) {
  const int lane = group_lane<CSRN_WARP>();
  while (n <= CSRN_WARP) {
    const unsigned who = __ballot_sync(FULL_WARP, off != 0);
    if (who == 0)
      break;
    const int k = n + threads_before(who);
    if (off && k < CSRN_WARP)
      memory->put_off_from[k] =
          static_cast<uint16_t>(first + CSRN_WARP * (__ffs(static_cast<int>(off)) - 1) + lane);
    n += __popc(who);
    off &= off - 1;
  }
  return n;
}

/* Looks through n elements, and returns their sum if ADDS. *n_off: how many are no counts of a table; up to
 * CSRN_WARP of them, their places are in memory->put_off_from. */
template <bool ADDS, typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::lane
look_through(const typename Op::T *kept, int n, csrn_warp_memory *memory, int *n_off) {
  using T = typename Op::T;
  using S = typename csrn_sum_of<T>::lane;
  constexpr int ROUNDS = is_heavy<Op> ? 4 : 8, STRETCH = CSRN_WARP * 32;
  const int lane = group_lane<CSRN_WARP>();
  S lanes[1] = {0};
  int found = 0;
#pragma unroll 1
  for (int first = 0; first < n; first += STRETCH) {
    unsigned off = 0;
#pragma unroll 1
    for (int round = 0; round < 32 && first + CSRN_WARP * round < n; round += ROUNDS) {
      const int begin = first + CSRN_WARP * round;
      const T *values = kept + begin + lane;
      T x[ROUNDS];
      if (begin + CSRN_WARP * ROUNDS <= n) {
#pragma unroll
        for (int k = 0; k < ROUNDS; k++)
          x[k] = values[CSRN_WARP * k];
      } else {
#pragma unroll
        for (int k = 0; k < ROUNDS; k++) /* what lies beyond the end counts as +0 */
          x[k] = begin + CSRN_WARP * k + lane < n ? values[CSRN_WARP * k] : T(0);
      }
      unsigned missed = 0;
#pragma unroll
      for (int k = 0; k < ROUNDS; k++) {
        unsigned place;
        if constexpr (ADDS)
          lanes[0] += static_cast<S>(x[k]);
        if (!is_table_count(static_cast<typename Op::C>(x[k]), &place))
          missed |= 1U << k;
      }
      off |= missed << round;
    }
    found = note_places(memory, off, first, found);
  }
  *n_off = found;
  return ADDS ? combine_lanes<CSRN_WARP>(lanes, FULL_WARP) : S(0);
}

/* Finishes a row that look_through() found n_off <= CSRN_WARP in, by thread t of a warp. */
template <typename Op>
__device__ __forceinline__ void finish_counts(const csrn_walk &w, const Op &op, typename Op::row &row,
                                              typename Op::T *kept, const csrn_packed_row &its, int t,
                                              csrn_warp_memory *memory, int n_off) {
  using T = typename Op::T;
  constexpr int BATCH = sizeof(T) > 4 ? 1 : 2; /* packs of a thread at once */
  typename Op::O *out = op.out + its.begin;
  __syncwarp(); /* the places have been noted, and the row before is done */
  float more = 1.0F;
  if (t < n_off) {
    T *its_place = kept + memory->put_off_from[t];
    more = static_cast<float>(*its_place);
    *its_place = static_cast<T>(TABLE_SIZE + t);
  }
  row.template fill<true>(op.how, memory->table, more);
  const csrn_table table(memory->table);
  const int edge = its.edge(t);
  if (edge < its.n)
    out[edge] = table.at(static_cast<float>(kept[edge]));
#pragma unroll 1
  for (int p = t - its.packs_before(out); p < its.full; p += CSRN_WARP * BATCH) {
    csrn_pack<T> x[BATCH] = {};
    csrn_pack<float> y[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (its.has_pack(p + CSRN_WARP * k))
        x[k] = *reinterpret_cast<const csrn_pack<T> *>(kept + its.element_of(p + CSRN_WARP * k));
#pragma unroll
    for (int e = 0; e < BATCH * PACK; e++)
      y[e / PACK].x[e % PACK] = table.at(static_cast<float>(x[e / PACK].x[e % PACK]));
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (its.has_pack(p + CSRN_WARP * k))
        store_pack(w.packed, out + its.element_of(p + CSRN_WARP * k), y[k]);
  }
}

#endif
