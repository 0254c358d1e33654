/*
 * One row of a walk (cuda_walk.h): its sum by a warp, and what becomes of its elements; and what
 * a walk is.
 *
 * Elements are finished in packs of four that lie at multiples of their size in memory,
 * whatever the beginning of the row; up to three before the first whole pack and behind the
 * last are dealt with one by one. The few elements for which the quick way does not hold are
 * put off, so that the others do not wait for them: a warp collects them until there are 32, or the row ends.
 */
#ifndef CSRN_CUDA_ROW_H
#define CSRN_CUDA_ROW_H

#include "cuda_scale.h"

/* A row longer than this is shared by all blocks. */
enum { MAX_PIECES_PER_BLOCK = 64 };
constexpr int64_t GIANT_ROW = int64_t(MAX_PIECES_PER_BLOCK) * CSRN_BLOCK;

/* A row longer than this has a block for itself: a warp alone would be late with it. */
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
  int64_t *list;      /* [n_rows]: the long rows; NULL: the operation does not walk */
  csrn_giant *giants; /* [most_giants] */
  int64_t most_giants;
  csrn_cuda_left *left;
  void *pieces;          /* [PIECES_PER_STRETCH] of PIECE_BYTES */
  bool all_long;         /* rows are so long on average that each has a block, and none is listed as long */
  bool shares_giants;    /* rows longer than GIANT_ROW are shared by all blocks */
  int64_t n_long_blocks; /* of a launch: the first so many blocks do the long rows */
  int lead;              /* elements between a multiple of the size of a pack and data[0] */
  bool packed;           /* results can be written in packs: `out` lies as `data` does */
  bool backwards;        /* the last rows come first */
  int64_t n_early;       /* about so many blocks find a place while the kernel before still runs */
  int64_t tiles_ahead;   /* so far ahead a block asks for the elements of a later one; 0: it does not */

  /* Where row r begins, asked before csrn_after_previous(): whatever the indptr is, from 0 to nnz. */
  __device__ __forceinline__ int64_t early_begin(int64_t r) const {
    const int64_t begin = A.indptr.template at<true>(r);
    return begin < 0 ? 0 : begin > A.nnz ? A.nnz : begin;
  }
};

/* Fills in what depends neither on the operation nor on the launch. */
void csrn_cuda_walk(csrn_context *ctx, const csrn_csr *A, csrn_walk *walk);

/* The threads of a block of every kernel of a walk. */
enum { WALK_THREADS = 128, WALK_WARPS = WALK_THREADS / CSRN_WARP };

/* Blocks that are to run on one multiprocessor: as many as registers allow without spilling. */
template <typename Op>
constexpr bool is_heavy = Op::MASKED || sizeof(typename csrn_sum_of<typename Op::T>::lane) > 8;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
/* There the compiler calculates with pairs of floats, which take more of them; and from 12.0 on shared memory
 * has room for three tiles of a warp for each row. */
template <int G, typename Op>
constexpr int wanted_blocks = is_heavy<Op> || (__CUDA_ARCH__ >= 1200 && G == CSRN_WARP && Op::FINISHES) ? 4
                                                                                                        : 5;
#else
/* In shared memory, compute capability 7.5, 8.6 and 8.9 have room for at most five of those of 8 threads a
 * row (four where results are written), and for three of the others; 8.0 for seven of the first then. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900 && __CUDA_ARCH__ != 800
constexpr int SHORT_BLOCKS = 8, TILE_BLOCKS = 6;
#else
constexpr int SHORT_BLOCKS = 9, TILE_BLOCKS = 8;
#endif
template <int G, typename Op>
constexpr int wanted_blocks = is_heavy<Op>                                              ? 5
                              : sizeof(typename Op::T) > 4                              ? 6
                              : (G < CSRN_WARP)                                         ? SHORT_BLOCKS
                              : sizeof(typename csrn_sum_of<typename Op::T>::total) > 8 ? 7
                              : Op::FINISHES                                            ? TILE_BLOCKS
                                                                                        : 8;
#endif
template <int G, typename Op>
constexpr int blocks_at_once =
    wanted_blocks<G, Op> *WALK_THREADS > MOST_THREADS ? MOST_THREADS / WALK_THREADS : wanted_blocks<G, Op>;

/* ---- What all kernels of a walk ask ------------------------------------------- */

/* The same answer for all threads of all kernels of a walk; after csrn_after_previous(). */
template <typename Op> __device__ __forceinline__ bool may_walk(const csrn_walk &w, const Op &op) {
  if (!w.A.may_run())
    return false;
  if constexpr (Op::GATED)
    return op.has_work(w.A);
  return true;
}

/* ---- Lists of rows, made before the walks of an operation ------------------------ */

__device__ __forceinline__ void leave_to_blocks(const csrn_walk &w, int64_t r) {
  w.list[atomicAdd(&w.left->n_long, 1ULL)] = r;
}

__device__ __forceinline__ void leave_to_all(const csrn_walk &w, int64_t r, int64_t n) {
  const unsigned long long pieces = static_cast<unsigned long long>((n + CSRN_BLOCK - 1) / CSRN_BLOCK);
  const unsigned long long before = atomicAdd(&w.left->giants, (1ULL << GIANT_SHIFT) + pieces);
  if (static_cast<int64_t>(before >> GIANT_SHIFT) >= w.most_giants)
    return; /* there is room for as many as there can be: the rows overlap, which is found out elsewhere */
  csrn_giant *giant = &w.giants[before >> GIANT_SHIFT];
  giant->row = r;
  giant->first_piece = static_cast<int64_t>(before & ((1ULL << GIANT_SHIFT) - 1));
  giant->done = 0;
}

/* Lists a row of n elements if it is long. */
__device__ __forceinline__ void list_row(const csrn_walk &w, int64_t r, int64_t n) {
  if (n > GIANT_ROW && w.shares_giants)
    leave_to_all(w, r, n);
  else if (n > LONG_ROW && !w.all_long)
    leave_to_blocks(w, r);
}

/* ---- What is left out of sums ---------------------------------------------------- */

/* Of N elements of a thread, `step` apart, the first of which is element i of the matrix: 0 for those among
 * the first `n` whose columns c[] are excluded or are none. */
template <int N, typename Op, typename I>
__device__ __forceinline__ void leave_out(const csrn_device_matrix &A, const Op &op, const I (&c)[N],
                                          typename Op::T (&x)[N], int64_t i, int step, int n) {
  bool bad = false;
#pragma unroll
  for (int k = 0; k < N; k++) {
    const bool inside = A.has_column(c[k]);
    bad |= !inside && k < n;
    if (!inside || op.is_excluded(c[k]))
      x[k] = typename Op::T(0);
  }
  if (bad)
#pragma unroll
    for (int k = 0; k < N; k++)
      if (k < n && !A.has_column(c[k]))
        note_bad_column(A.control, i + step * k);
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
    leave_out(A, op, c, x, begin + lane, CSRN_WARP, (n - lane + CSRN_WARP - 1) / CSRN_WARP);
  }
#pragma unroll
  for (int k = 0; k < BATCH; k++)
    sum += static_cast<S>(x[k]);
  return sum;
}

template <int LOADS, typename I, typename Op, typename S>
__device__ __forceinline__ S add_all(const csrn_device_matrix &A, const Op &op, int64_t begin, int n) {
  constexpr bool heavy = Op::MASKED || sizeof(S) > 8 || sizeof(typename Op::T) > 4;
  constexpr int MOST = heavy ? (LOADS < 8 ? LOADS : 8) : LOADS, SOME = heavy ? MOST : LOADS / 2, FEW = 4;
  S sum = 0;
  int base = 0;
  for (; n - base > CSRN_WARP * SOME; base += CSRN_WARP * MOST)
    sum = add_batch<MOST, I>(A, op, begin + base, n - base, sum);
  if (n - base > CSRN_WARP * FEW)
    return add_batch<SOME, I>(A, op, begin + base, n - base, sum);
  return n > base ? add_batch<FEW, I>(A, op, begin + base, n - base, sum) : sum;
}

/* The sum of elements [begin, begin + n) of the matrix; n <= CSRN_BLOCK. LOADS: how many a thread has under
 * way at most; few beside other things that need registers. */
enum { FEW_LOADS = 4, MOST_LOADS = 32 };
template <typename Op> constexpr int some_loads = Op::MASKED &&Op::FINISHES ? int(FEW_LOADS) : 2 * FEW_LOADS;

template <int LOADS, typename Op>
__device__ __forceinline__ typename csrn_sum_of<typename Op::T>::lane
sum_piece(const csrn_device_matrix &A, const Op &op, int64_t begin, int n) {
  using S = typename csrn_sum_of<typename Op::T>::lane;
  S lanes[1];
  if (Op::MASKED && A.indices.type == CSRN_I32)
    lanes[0] = add_all<LOADS, int32_t, Op, S>(A, op, begin, n);
  else
    lanes[0] = add_all<LOADS, int64_t, Op, S>(A, op, begin, n);
  return combine_lanes<CSRN_WARP>(lanes, FULL_WARP);
}

/* ---- Packs ---------------------------------------------------------------------- */

enum { PACK = 4 };

template <typename T> struct alignas(sizeof(T) * PACK < 16 ? sizeof(T) * PACK : 16) csrn_pack { T x[PACK]; };

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
  /* Whether there is a whole pack p, and the number of its first element. */
  __device__ __forceinline__ bool has_pack(int p) const {
    return static_cast<unsigned>(p) < static_cast<unsigned>(full);
  }
  __device__ __forceinline__ int element_of(int p) const {
    return head + p * PACK;
  }
  /* How many packs lie between the first whole one and the beginning of its line of the cache, in the results
   * of the row, out[]. A warp counts them as its first, and does nothing with them: what it stores at once
   * are whole lines then, four instead of five. */
  template <typename O> __device__ __forceinline__ int packs_before(const O *out) const {
    constexpr unsigned LINE = 128, BYTES = PACK * sizeof(O);
    return static_cast<int>(static_cast<unsigned>(reinterpret_cast<uintptr_t>(out + head)) % LINE / BYTES);
  }
};

/* ---- Finishing -------------------------------------------------------------------- */

/* Element k of some packs; k is known at run time only, and registers have no addresses. */
template <typename T, int N> __device__ __forceinline__ T pick(const csrn_pack<T> (&packs)[N], int k) {
  T x = packs[0].x[0];
#pragma unroll
  for (int i = 1; i < N * PACK; i++)
    x = i == k ? packs[i / PACK].x[i % PACK] : x;
  return x;
}

/* In one piece where `packed`: what the compiler makes of an assignment is often a store for each member. */
template <typename O>
__device__ __forceinline__ void store_pack(bool packed, O *to, const csrn_pack<O> &results) {
  if (packed) {
    float4 bits[sizeof results / sizeof(float4)];
    memcpy(bits, &results, sizeof results);
#pragma unroll
    for (unsigned k = 0; k < sizeof results / sizeof(float4); k++)
      __stwb(reinterpret_cast<float4 *>(to) + k, bits[k]);
    return;
  }
  const csrn_pack<O> all[1] = {results};
  /* A loop, since it is jumped over where four stores would each take an instruction also if they do nothing.
   */
#pragma unroll 1
  for (int j = 0; j < PACK; j++)
    to[j] = pick(all, j);
}

/* Elements of a row that have been put off, to be dealt with by all threads of a warp at once. */
template <typename Op> struct csrn_put_off_list {
  static_assert(CSRN_BLOCK <= UINT16_MAX, "places are kept in 16 bits");
  const Op &op;
  const typename Op::row &row;
  typename Op::O *out; /* of the row */
  csrn_warp_memory *memory;
  int n;

  __device__ __forceinline__ void put(int k, const csrn_put_off &element) {
    memory->table[TABLE_SIZE + k] = element.x;
    memory->put_off_from[k] = static_cast<uint16_t>(element.at);
  }

  __device__ __forceinline__ void finish() {
    __syncwarp(); /* what is in the list, and what has been stored in place of its results */
    if (const int k = group_lane<CSRN_WARP>(); k < n)
      out[memory->put_off_from[k]] = scale_element(op.how, row.scaler, memory->table[TABLE_SIZE + k]);
    __syncwarp(); /* before it is filled anew */
    n = 0;
  }

  /* An element that is in no pack; called before add(), with fewer than CSRN_WARP in a row. */
  __device__ __forceinline__ void add_edge(bool is_off, const csrn_put_off &element) {
    const unsigned who = __ballot_sync(FULL_WARP, is_off);
    if (is_off)
      put(n + threads_before(who), element);
    n += __popc(who);
  }

  /* Puts off the elements whose bits are set: find(k) is that of bit k. is_last: nothing follows in this row,
   * and the list is finished. All threads of a warp call this together. */
  template <typename Find>
  __device__ __forceinline__ void add(unsigned bits, bool is_last, const Find &find) {
    unsigned who;
#pragma unroll 1
    do {
      who = __ballot_sync(FULL_WARP, bits != 0);
      if (who ? n + __popc(who) > CSRN_WARP : is_last && n > 0)
        finish();
      if (bits)
        put(n + threads_before(who), find(__ffs(static_cast<int>(bits)) - 1));
      n += __popc(who);
      bits &= bits - 1;
    } while (who);
  }
};

/* The elements of a row, which begin at `from`, by thread t of a warp; the results go to op.out. KEPT: `from`
 * is in shared memory: what is put off can be read again later. */
template <bool KEPT, csrn_cuda_mode MODE, typename Op>
__device__ __forceinline__ void finish_packs(const csrn_walk &w, const Op &op, const typename Op::row &row,
                                             const typename Op::T *from, const csrn_packed_row &its, int t,
                                             csrn_warp_memory *memory) {
  using T = typename Op::T;
  using C = typename Op::C;
  using O = typename Op::O;
  constexpr int BATCH = sizeof(T) > 4 ? 1 : 2; /* packs of a thread at once */
  constexpr int MOST =
      KEPT ? 32 : BATCH * PACK; /* elements of a thread between two looks at what was put off */
  O *out = op.out + its.begin;
  csrn_put_off_list<Op> later = {op, row, out, memory, 0};
  const int edge = its.edge(t);
  C edge_x = C(0);
  bool is_edge_off = false;
  if (edge < its.n) {
    O y;
    edge_x = static_cast<C>(from[edge]);
    is_edge_off = !row.template quick<MODE>(edge_x, &y);
    if (!is_edge_off)
      out[edge] = y;
  }
  later.add_edge(is_edge_off, {edge_x, edge});
  unsigned put_off = 0; /* bits of elements for which the quick way does not hold */
  int shift = 0;        /* where those of the next packs go */
  const int before = its.packs_before(out);
  int p = t - before, left = its.full + before;
  do {
    csrn_pack<T> x[BATCH];
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (its.has_pack(p + CSRN_WARP * k))
        x[k] = *reinterpret_cast<const csrn_pack<T> *>(from + its.element_of(p + CSRN_WARP * k));
    unsigned missed = 0;
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      if (its.has_pack(p + CSRN_WARP * k)) {
        csrn_pack<O> y;
#pragma unroll
        for (int j = 0; j < PACK; j++)
          if (!row.template quick<MODE>(static_cast<C>(x[k].x[j]), &y.x[j]))
            missed |= 1U << (k * PACK + j);
        store_pack(w.packed, out + its.element_of(p + CSRN_WARP * k), y);
      }
    put_off |= missed << shift;
    shift += BATCH * PACK;
    left -= CSRN_WARP * BATCH;
    p += CSRN_WARP * BATCH;
    if (shift < MOST && left > 0)
      continue;
    const int first = its.element_of(p) - shift * CSRN_WARP; /* the element of bit 0 */
    later.add(put_off, left <= 0, [&](int k) -> csrn_put_off {
      const int place = first + k / PACK * (CSRN_WARP * PACK) + k % PACK;
      return {static_cast<C>(KEPT ? from[place] : pick(x, k)), place};
    });
    put_off = 0;
    shift = 0;
  } while (left > 0);
}

/* Where nothing is quick. */
template <typename Op>
__device__ __forceinline__ void finish_each(const Op &op, const typename Op::row &row,
                                            const typename Op::T *from, const csrn_packed_row &its, int t) {
  using C = typename Op::C;
#pragma unroll 2
  for (int i = t; i < its.n; i += CSRN_WARP)
    op.out[its.begin + i] = scale_element(op.how, row.scaler, static_cast<C>(from[i]));
}

/* Whether the elements of a row look like counts that a table has: nearly all of the first. For whole warps.
 */
template <typename T> __device__ __forceinline__ bool looks_like_counts(const T *from, int n, int t) {
  unsigned place;
  const bool is_one = t < n && is_table_count(static_cast<float>(from[t]), &place);
  return 4 * __popc(__ballot_sync(FULL_WARP, is_one)) >= 3 * CSRN_WARP;
}

/* Rows shorter than this do not earn back the filling of a table. */
enum { TABLE_MIN_ROW = 128 };

/* Results in float32. memory: of this warp, where a row of at least TABLE_MIN_ROW elements HAS_TABLE already.
 */
template <bool KEPT, bool HAS_TABLE, typename Op>
__device__ __forceinline__ void finish_quickly(const csrn_walk &w, const Op &op, typename Op::row &row,
                                               const typename Op::T *from, const csrn_packed_row &its, int t,
                                               csrn_warp_memory *memory) {
  if (!op.how.log1p)
    return op.how.step == CSRN_CUDA_MULTIPLY
               ? finish_packs<KEPT, CSRN_CUDA_MULTIPLIED>(w, op, row, from, its, t, memory)
               : finish_packs<KEPT, CSRN_CUDA_DIVIDED>(w, op, row, from, its, t, memory);
  if constexpr (!HAS_TABLE)
    __syncwarp(); /* the row before is done with the memory of this warp */
  if (its.n >= TABLE_MIN_ROW && looks_like_counts(from, its.n, t)) {
    if constexpr (!HAS_TABLE)
      row.template fill<false>(op.how, memory->table);
    return finish_packs<KEPT, CSRN_CUDA_TABLE>(w, op, row, from, its, t, memory);
  }
  if (op.how.log_base == 0.0)
    return finish_packs<KEPT, CSRN_CUDA_LOGARITHM>(w, op, row, from, its, t, memory);
  finish_each(op, row, from, its, t);
}

/* Visits the elements that have to be: where those are few, several are looked at before the first visit. */
template <int G, typename Op>
__device__ __forceinline__ void visit_row(const csrn_walk &w, const Op &op, const typename Op::row &row,
                                          const typename Op::T *from, const csrn_packed_row &its, int t) {
  constexpr int BATCH = Op::VISITS_FEW ? 8 : 1;
  int i = t;
  for (; i + G * (BATCH - 1) < its.n; i += G * BATCH) {
    unsigned wanted = 0;
#pragma unroll
    for (int k = 0; k < BATCH; k++)
      wanted |= op.wants(row, from[i + G * k]) ? 1U << k : 0U;
#pragma unroll 1
    for (; wanted; wanted &= wanted - 1) {
      const int at = i + G * (__ffs(static_cast<int>(wanted)) - 1);
      op.visit(w.A, row, its.begin + at, from[at]);
    }
  }
  for (; i < its.n; i += G)
    if (op.wants(row, from[i]))
      op.visit(w.A, row, its.begin + i, from[i]);
}

/* The elements of a row that begin at `from`, in shared or global memory, finished or visited by G threads,
 * of which this is t; by fewer than a warp visited alone. KEPT: see finish_packs(). */
template <int G, bool KEPT, typename Op>
__device__ __forceinline__ void finish_row(const csrn_walk &w, const Op &op, typename Op::row &row,
                                           const typename Op::T *from, const csrn_packed_row &its, int t,
                                           csrn_warp_memory *memory) {
  static_assert(!Op::WRITES || G == CSRN_WARP, "see cuda_together.h");
  if constexpr (!Op::WRITES) {
    visit_row<G>(w, op, row, from, its, t);
  } else if constexpr (Op::row::is_quick) {
    finish_quickly<KEPT, false>(w, op, row, from, its, t, memory);
  } else {
    finish_each(op, row, from, its, t);
  }
}

#endif
