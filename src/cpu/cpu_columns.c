/*
 * Column sums that do not depend on the order of the entries, so neither on the number
 * of threads: every thread adds integers to columns of its own, and integers add up the
 * same in any order. Counts, in whatever type they come, are such integers already;
 * other reals are turned into fixed point relative to the largest magnitude of the
 * matrix (numerics.h).
 */
#include "cpu_internal.h"
#include "numerics.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

/* A thread's 64-bit sums cannot overflow before so many values of at most 32 bits; then
 * they are moved to the totals. */
#define VALUES_PER_FLUSH ((int64_t)1 << 31)

/* What is not finite in a column. */
enum { HAS_INF = 1, HAS_MINUS_INF = 2, HAS_NAN = 4 };

typedef struct column_sums {
  csrn_context *ctx;
  const csrn_csr *A;
  const uint8_t *excluded_rows; /* or NULL */
  const csrn_kernels *kernels;
  csrn_dtype index_type;
  int n_threads;
  bool limbs;      /* two integers per column instead of one */
  double unit[2];  /* of the fixed point */
  int64_t *shares; /* [threads][columns][1 or 2] */
  csrn_wide *totals;
  uint8_t *specials; /* [columns] of HAS_*; NULL while only looking for finite values */
  pthread_mutex_t lock;
  bool refused; /* a value that is not a count was met */
} column_sums;

static int64_t share_length(const column_sums *work) {
  return work->A->n_cols * (work->limbs ? 2 : 1);
}

static void clear_share(void *arg, int thread, int n_threads) {
  const column_sums *work = arg;
  (void)n_threads;
  memset(work->shares + thread * share_length(work), 0, (size_t)share_length(work) * sizeof(int64_t));
}

/* Adds a thread's share of the columns [begin, end) to the totals. */
static void add_share(const column_sums *work, int thread, int64_t begin, int64_t end) {
  const int64_t *share = work->shares + thread * share_length(work);
  for (int64_t c = begin; c < end; c++)
    work->totals[c] += work->limbs
                           ? (csrn_wide)share[2 * c] * ((csrn_wide)1 << CSRN_LIMB_BITS) + share[2 * c + 1]
                           : share[c];
}

static void add_range(column_sums *work, int thread, int64_t begin, int64_t end) {
  const csrn_csr *A = work->A;
  int64_t *share = work->shares + thread * share_length(work);
  if (work->limbs) {
    work->kernels->column_limbs[A->data_type][work->index_type](A->data, A->indices, begin, end, work->unit,
                                                                share);
  } else if (!__atomic_load_n(&work->refused, __ATOMIC_RELAXED)) {
    int64_t stop =
        work->kernels->column_counts[A->data_type][work->index_type](A->data, A->indices, begin, end, share);
    if (stop < end)
      __atomic_store_n(&work->refused, true, __ATOMIC_RELAXED);
  }
}

static void note_special(uint8_t *special, double value) {
  uint8_t flag = isnan(value) ? HAS_NAN : value > 0 ? HAS_INF : HAS_MINUS_INF;
  __atomic_fetch_or(special, flag, __ATOMIC_RELAXED);
}

static void mark_specials(const column_sums *work, int64_t begin, int64_t end) {
  const csrn_csr *A = work->A;
  csrn_csr columns = *A; /* reads an index as an offset is read */
  columns.indptr = A->indices;
  columns.indptr_type = A->indices_type;
  for (int64_t i = begin; i < end; i++) {
    double value =
        A->data_type == CSRN_F32 ? (double)((const float *)A->data)[i] : ((const double *)A->data)[i];
    if (!isfinite(value))
      note_special(work->specials + csrn_cpu_offset(&columns, i), value);
  }
}

static void visit_range(column_sums *work, int thread, int64_t begin, int64_t end) {
  if (work->specials)
    mark_specials(work, begin, end);
  else
    add_range(work, thread, begin, end);
}

static void visit_rows(void *arg, int thread, int64_t row, int64_t n, const int64_t *indptr) {
  column_sums *work = arg;
  if (!work->excluded_rows) {
    visit_range(work, thread, indptr[0], indptr[n]);
    return;
  }
  for (int64_t i = 0; i < n; i++)
    if (!work->excluded_rows[row + i])
      visit_range(work, thread, indptr[i], indptr[i + 1]);
}

static void visit_piece(void *arg, int thread, int64_t begin, int64_t end) {
  visit_range(arg, thread, begin, end);
}

static void visit_giant(void *arg, int64_t row, int64_t begin, int64_t end) {
  column_sums *work = arg;
  const csrn_piece_work pieces = {work->ctx, visit_piece, work};
  if (!work->excluded_rows || !work->excluded_rows[row])
    csrn_cpu_pieces(&pieces, begin, end);
}

static void merge_columns(void *arg, int thread, int n_threads) {
  const column_sums *work = arg;
  int64_t begin, end;
  csrn_cpu_range(work->A->n_cols, 8, thread, n_threads, &begin, &end);
  for (int t = 0; t < work->n_threads; t++)
    add_share(work, t, begin, end);
}

/* Visits a view of some rows that holds few enough values for the shares. */
static void add_rows(column_sums *work, int64_t first, int64_t last) {
  csrn_csr rows = *work->A;
  const csrn_csr *A = work->A;
  const uint8_t *excluded = work->excluded_rows;
  rows.indptr = (const char *)A->indptr + (size_t)first * csrn_dtype_size(A->indptr_type);
  rows.n_rows = last - first;
  work->A = &rows;
  work->excluded_rows = excluded ? excluded + first : NULL;
  csrn_cpu_parallel(work->ctx, work->n_threads, clear_share, work);
  const csrn_row_work visit = {work->ctx, &rows, 0, visit_rows, visit_giant, work};
  csrn_cpu_rows(&visit);
  csrn_cpu_parallel(work->ctx, work->n_threads, merge_columns, work);
  work->A = A;
  work->excluded_rows = excluded;
}

/* All rows, in parts that cannot overflow. A row of more than 2^31 values is a part by
 * itself: of less than 2^33 values, since each is of at most 2^31. */
static void add_all(column_sums *work) {
  const csrn_csr *A = work->A;
  memset(work->totals, 0, (size_t)A->n_cols * sizeof *work->totals);
  for (int64_t first = 0; first < A->n_rows && !work->refused;) {
    int64_t last = A->n_rows;
    while (last - first > 1 && csrn_cpu_offset(A, last) - csrn_cpu_offset(A, first) > VALUES_PER_FLUSH)
      last = first + (last - first) / 2;
    add_rows(work, first, last);
    first = last;
  }
}

typedef struct range_search {
  column_sums *work;
  double largest;
  bool nonfinite;
} range_search;

static void search_piece(void *arg, int thread, int64_t begin, int64_t end) {
  (void)thread;
  range_search *search = arg;
  column_sums *work = search->work;
  bool nonfinite = false;
  double largest = work->kernels->largest[work->A->data_type](work->A->data, begin, end, &nonfinite);
  pthread_mutex_lock(&work->lock);
  search->nonfinite |= nonfinite;
  search->largest = largest > search->largest ? largest : search->largest;
  pthread_mutex_unlock(&work->lock);
}

/* Finds the largest exponent E, sets the fixed point by it, and returns E. */
static int set_fixed_point(column_sums *work, bool *nonfinite) {
  range_search search = {.work = work};
  const csrn_csr *A = work->A;
  const csrn_piece_work pieces = {work->ctx, search_piece, &search};
  csrn_cpu_pieces(&pieces, csrn_cpu_offset(A, 0), csrn_cpu_offset(A, A->n_rows));
  int exponent = 1;
  if (search.largest > 0.0)
    frexp(search.largest, &exponent);
  exponent--; /* frexp counts from 0.5 */
  int up = CSRN_HIGH_BITS - exponent;
  work->unit[0] = ldexp(1.0, up / 2);
  work->unit[1] = ldexp(1.0, up - up / 2);
  *nonfinite = search.nonfinite;
  return exponent;
}

static double special_sum(uint8_t special, double sum) {
  if ((special & HAS_NAN) || special == (HAS_INF | HAS_MINUS_INF))
    return NAN;
  return special == HAS_INF ? INFINITY : special == HAS_MINUS_INF ? -INFINITY : sum;
}

/* Reals that are no counts: in fixed point. */
static void sum_reals(column_sums *work, double *sums) {
  const int64_t n_cols = work->A->n_cols;
  bool nonfinite;
  int exponent = set_fixed_point(work, &nonfinite);
  work->limbs = true;
  work->refused = false;
  add_all(work);
  for (int64_t c = 0; c < n_cols; c++)
    sums[c] = ldexp((double)work->totals[c], exponent - CSRN_HIGH_BITS - CSRN_LIMB_BITS);
  if (!nonfinite)
    return;
  work->specials = (uint8_t *)work->totals; /* read by now */
  for (int64_t c = 0; c < n_cols; c++)
    work->specials[c] = 0;
  const csrn_row_work visit = {work->ctx, work->A, 0, visit_rows, visit_giant, work};
  csrn_cpu_rows(&visit);
  for (int64_t c = 0; c < n_cols; c++)
    sums[c] = special_sum(work->specials[c], sums[c]);
}

size_t csrn_cpu_column_bytes(const csrn_context *ctx, int64_t n_cols) {
  _Static_assert(CSRN_MOST_COLUMNS <=
                     PTRDIFF_MAX / (sizeof(csrn_wide) + (size_t)CSRN_MOST_THREADS * 2 * sizeof(int64_t)),
                 "sizes are numbers");
  size_t threads = (size_t)csrn_cpu_state_of(ctx)->threads;
  return (size_t)n_cols * (sizeof(csrn_wide) + threads * 2 * sizeof(int64_t));
}

static csrn_status store_sums(const column_sums *work, void *sums, csrn_dtype sums_type) {
  bool fits = true;
  for (int64_t c = 0; c < work->A->n_cols; c++) {
    if (csrn_cpu_is_real(work->A->data_type))
      ((double *)sums)[c] = (double)work->totals[c];
    else
      fits &= csrn_cpu_store_sum(work->totals[c], work->A->data_type, sums_type, sums, c);
  }
  return fits ? CSRN_OK : csrn_cpu_overflow(work->ctx, "column", sums_type);
}

csrn_status csrn_cpu_column_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded_rows,
                                 void *sums, csrn_dtype sums_type) {
  if (A->n_cols <= 0)
    return CSRN_OK;
  char *scratch = csrn_cpu_scratch(ctx, CSRN_SLOT_COLUMNS, csrn_cpu_column_bytes(ctx, A->n_cols));
  if (!scratch)
    return CSRN_OUT_OF_MEMORY;
  int64_t nnz = csrn_cpu_offset(A, A->n_rows) - csrn_cpu_offset(A, 0);
  column_sums work = {.ctx = ctx,
                      .A = A,
                      .excluded_rows = excluded_rows,
                      .kernels = ctx->kernels,
                      .index_type = csrn_cpu_index_type(A),
                      .n_threads = csrn_cpu_threads_for(ctx, nnz + A->n_rows),
                      .limbs = A->data_type == CSRN_I64,
                      .totals = (csrn_wide *)(void *)scratch,
                      .shares = (int64_t *)(void *)(scratch + (size_t)A->n_cols * sizeof(csrn_wide)),
                      .lock = PTHREAD_MUTEX_INITIALIZER};
  csrn_status status = CSRN_OK;
  add_all(&work);
  if (work.refused)
    sum_reals(&work, sums);
  else
    status = store_sums(&work, sums, sums_type);
  pthread_mutex_destroy(&work.lock);
  return status;
}
