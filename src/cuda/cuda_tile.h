/*
 * Tiles: as many whole rows as fit in shared memory, which come there together whatever their
 * lengths. Each is summed there, and finished from there into global memory, by 8 threads or by
 * a warp, so that global memory is read once, by large copies, and several tiles are under way
 * on each multiprocessor.
 */
#ifndef CSRN_CUDA_TILE_H
#define CSRN_CUDA_TILE_H

#include "cuda_counts.h"
#include "cuda_together.h"

/* ---- Tiles ----------------------------------------------------------------------- */

/* Where what begins at p in global memory lies in a part of shared memory: in a unit of copies as there. */
__device__ __forceinline__ unsigned char *place_in_tile(const void *p, unsigned char *shared) {
  return shared + reinterpret_cast<uintptr_t>(p) % COPY_UNIT;
}

/* Elements of an array on their way to shared memory: whole units of copies, and fewer than two units at the
 * ends, which threads store. */
struct csrn_tile_array {
  const unsigned char *from; /* the first of the elements */
  unsigned char *to;
  int size, n;     /* bytes of an element; elements */
  int head, units; /* elements before the first whole unit, and whole units */

  __device__ __forceinline__ csrn_tile_array(const void *array, int element_size, int64_t begin, int count,
                                             unsigned char *shared)
      : from(static_cast<const unsigned char *>(array) + begin * element_size), size(element_size), n(count) {
    const int before = static_cast<int>(-reinterpret_cast<uintptr_t>(from) & (COPY_UNIT - 1)) / size;
    to = place_in_tile(from, shared);
    head = before < n ? before : n;
    units = (n - head) * size / COPY_UNIT;
  }

  __device__ __forceinline__ void begin_to_bring(csrn_arrival *arrival) const {
    const int thread = static_cast<int>(threadIdx.x);
    const int edge = thread < head ? thread : thread + units * COPY_UNIT / size;
    arrival->copy(to + head * size, from + head * size, units);
    if (edge < n)
      csrn_copy_element(to + edge * size, from + edge * size, size);
  }
};

/* The last row up to which rows from `from` on fit into the room, as the first of them does. */
__device__ __forceinline__ int fitting_rows(const int64_t *ends, int from, int n_rows, int room) {
  if (ends[n_rows] - ends[from] <= room)
    return n_rows;
  int low = from + 1, high = n_rows - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (ends[middle] - ends[from] <= room)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/* What is in a tile: n_rows whole rows from `row` on; or, if is_long, parts of that one, whose total is
 * known. */
template <typename Op> struct csrn_tile {
  int64_t row;
  int n_rows;
  bool is_long, is_first; /* is_first: a long row begins here */
  typename csrn_sum_of<typename Op::T>::total total;

  template <int G> __device__ __forceinline__ int64_t row_of(int k) const {
    return G == CSRN_WARP && is_long ? row : row + k;
  }
};

/* Row or part k of a tile, which is kept[0 .. n), with these columns, and begins at element `begin` of the
 * matrix, by G threads. */
template <int G, typename Op>
__device__ __forceinline__ void walk_kept(const csrn_walk &w, const Op &op, const csrn_tile<Op> &tile, int k,
                                          typename Op::T *kept, const csrn_index_array &columns,
                                          int64_t begin, int n, const typename Op::input &input,
                                          csrn_warp_memory *memory) {
  typename csrn_sum_of<typename Op::T>::total total = 0;
  const int t = group_lane<G>();
  bool first = t == 0, is_summed = false;
  int n_off = CSRN_WARP + 1; /* as if there were too many */
  if (G == CSRN_WARP && tile.is_long) {
    first = first && tile.is_first && k == 0;
    total = tile.total;
    is_summed = true;
  }
  if constexpr (looks_up<G, Op>)
    if (op.how.log1p && n >= TABLE_MIN_ROW && looks_like_counts(kept, n, t)) {
      constexpr bool ADDS = Op::SUMS && !Op::MASKED;
      const auto sum = look_through<ADDS, Op>(kept, n, memory, &n_off);
      if (ADDS && !is_summed) {
        total = sum;
        is_summed = true;
      }
    }
  if constexpr (Op::SUMS)
    if (!is_summed)
      total = sum_kept<G>(w.A, op, kept, columns, begin, n);
  typename Op::row row = op.begin(w.A, tile.template row_of<G>(k), total, input, first);
  if constexpr (looks_up<G, Op>)
    if (n_off <= CSRN_WARP)
      return finish_counts(w, op, row, kept, csrn_packed_row(w, begin, n), t, memory, n_off);
  if constexpr (Op::FINISHES)
    finish_row<G, G == CSRN_WARP>(w, op, row, kept, csrn_packed_row(w, begin, n), t, memory);
}

/* Goes on to the next part of a tile from row *from on, rows that fit into shared memory together; returns
 * where it ends. Long rows before it are passed over. *from == n_rows: there is none. */
template <int G, typename Op>
__device__ __forceinline__ int find_part(const int64_t *ends, int n_rows, int *from) {
  while (*from < n_rows && ends[*from + 1] - ends[*from] > LONG_ROW)
    ++*from;
  return *from < n_rows ? fitting_rows(ends, *from, n_rows, tile_room<G, Op>) : n_rows;
}

/* Begins to bring n elements of the matrix from element `begin` on; with their columns, if some of those are
 * left out. */
template <int G, typename Op>
__device__ __forceinline__ void bring(const csrn_walk &w, const Op &op, csrn_arrival *arrival, int64_t begin,
                                      int n, unsigned char *shared) {
  using T = typename Op::T;
  const csrn_tile_array values(op.data, sizeof(T), begin, n, shared);
  if constexpr (Op::MASKED) {
    const csrn_tile_array columns(w.A.indices.values, w.A.indices.size(), begin, n,
                                  shared + columns_in_tile<G, Op>);
    arrival->expect(values.units + columns.units);
    columns.begin_to_bring(arrival);
  } else {
    arrival->expect(values.units);
  }
  values.begin_to_bring(arrival);
}

/* The columns in a tile from that of element `begin` on, which is the first there. */
template <int G, typename Op>
__device__ __forceinline__ csrn_index_array kept_columns(const csrn_walk &w, int64_t begin, int64_t i,
                                                         unsigned char *shared) {
  const csrn_index_array &all = w.A.indices;
  const auto *first = static_cast<const unsigned char *>(all.values) + begin * all.size();
  return {place_in_tile(first, shared + columns_in_tile<G, Op>) + (i - begin) * all.size(), all.type};
}

/* Begins to bring the first part of a tile. That may be before csrn_after_previous(), when it is not known
 * yet whether the indptr is one; but `ends` are from 0 to nnz. Followed by walk_tile() or arrival->wait(). */
template <int G, typename Op>
__device__ __forceinline__ void bring_first(const csrn_walk &w, const Op &op, int n_rows,
                                            csrn_arrival *arrival, const int64_t *ends,
                                            unsigned char *shared) {
  int from = 0;
  const int to = find_part<G, Op>(ends, n_rows, &from);
  const int64_t n = ends[to] - ends[from];
  const bool fits = n >= 0 && n <= tile_room<G, Op>;
  bring<G>(w, op, arrival, ends[from], fits ? static_cast<int>(n) : 0, shared);
}

/* walk_part() by a warp for each row, where what becomes of its elements needs no sum: that is known, and the
 * table of logarithms filled, before they have come. */
template <typename Op>
__device__ __forceinline__ void walk_known(const csrn_walk &w, const Op &op, const csrn_tile<Op> &tile,
                                           int from, int to, typename Op::T *kept, csrn_arrival *arrival,
                                           unsigned phase, const int64_t *ends, csrn_warp_memory *memory) {
  const int t = group_lane<CSRN_WARP>();
  int k = from + static_cast<int>(threadIdx.x) / CSRN_WARP;
  bool waits = true;
#pragma unroll 1
  do {
    const int64_t begin = k < to ? ends[k] : 0;
    const int64_t n = k < to ? ends[k + 1] - begin : LONG_ROW + 1; /* longer: not done here */
    typename Op::row row = {};
    if (n <= LONG_ROW) {
      const int64_t r = tile.template row_of<CSRN_WARP>(k);
      const bool first = t == 0 && (!tile.is_long || (tile.is_first && k == 0));
      row = op.begin(w.A, r, typename csrn_sum_of<typename Op::T>::total(0), op.fetch(r), first);
      if constexpr (Op::row::is_quick)
        if (op.how.log1p && n >= TABLE_MIN_ROW)
          row.template fill<false>(op.how, memory->table);
    }
    if (waits)
      arrival->wait(phase);
    waits = false;
    if (n <= LONG_ROW) {
      const csrn_packed_row its(w, begin, static_cast<int>(n));
      typename Op::T *its_elements = kept + (begin - ends[from]);
      if constexpr (Op::row::is_quick)
        finish_quickly<true, true>(w, op, row, its_elements, its, t, memory);
      else
        finish_row<CSRN_WARP, true>(w, op, row, its_elements, its, t, memory);
      __syncwarp(); /* before the table is filled anew */
    }
    k += WALK_WARPS;
  } while (k < to);
}

/* The rows [from, to) of a tile, which lie at kept[0] and on; once they have come. What else has to be loaded
 * for a row is under way while they do, or the row before is done. */
template <int G, typename Op>
__device__ __forceinline__ void walk_part(const csrn_walk &w, const Op &op, const csrn_tile<Op> &tile,
                                          int from, int to, typename Op::T *kept, csrn_arrival *arrival,
                                          unsigned phase, const int64_t *ends, unsigned char *shared,
                                          csrn_warp_memory *memory, csrn_together_of<G, Op> *together) {
  csrn_index_array columns = {};
  if constexpr (goes_together<G, Op>) {
    const csrn_share share(from, to);
    const int mine = group_lane<CSRN_WARP>();
    typename Op::input input = {};
    if (mine < share.n)
      input = op.fetch(tile.row + share.first + mine);
    arrival->wait(phase);
    if constexpr (Op::MASKED)
      columns = kept_columns<G, Op>(w, ends[from], ends[from], shared);
    walk_together(w, op, tile.row, from, share, ends, kept, columns, input, together);
  } else if constexpr (Op::WRITES && !Op::SUMS) {
    walk_known(w, op, tile, from, to, kept, arrival, phase, ends, memory);
  } else {
    int k = from + static_cast<int>(threadIdx.x) / G;
    typename Op::input input = k < to ? op.fetch(tile.template row_of<G>(k)) : typename Op::input{};
    arrival->wait(phase);
    while (k < to) {
      const int next = k + WALK_THREADS / G;
      const typename Op::input its = input;
      if (next < to)
        input = op.fetch(tile.template row_of<G>(next));
      const int64_t n = ends[k + 1] - ends[k];
      if constexpr (Op::MASKED)
        columns = kept_columns<G, Op>(w, ends[from], ends[k], shared);
      if (n <= LONG_ROW)
        walk_kept<G>(w, op, tile, k, kept + (ends[k] - ends[from]), columns, ends[k], static_cast<int>(n),
                     its, memory);
      k = next;
    }
  }
}

/* A tile, the first part of which is on its way; there are more where rows are longer than on average. */
template <int G, typename Op>
__device__ __forceinline__ void walk_tile(const csrn_walk &w, const Op &op, const csrn_tile<Op> &tile,
                                          csrn_arrival *arrival, unsigned *phase, const int64_t *ends,
                                          unsigned char *shared, csrn_warp_memory *memory,
                                          csrn_together_of<G, Op> *together) {
  using T = typename Op::T;
  int from = 0, to = find_part<G, Op>(ends, tile.n_rows, &from);
  while (from < tile.n_rows) {
    T *kept = reinterpret_cast<T *>(place_in_tile(op.data + ends[from], shared));
    walk_part<G>(w, op, tile, from, to, kept, arrival, (*phase)++, ends, shared, memory, together);
    arrival->release();
    from = to;
    to = find_part<G, Op>(ends, tile.n_rows, &from);
    if (from < tile.n_rows)
      bring<G>(w, op, arrival, ends[from], static_cast<int>(ends[to] - ends[from]), shared);
  }
}

#endif
