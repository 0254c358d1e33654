/*
 * Threads: the only OpenMP region of the library, and how rows and elements are split
 * over it. Rows are split by nnz, not by number, so that skewed matrices balance; a
 * row longer than a fair share is shared by all threads. What a thread gets never
 * changes a result.
 */
#include "cpu_internal.h"
#include "numerics.h"

#include <fenv.h>
#include <pthread.h>
#include <string.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

/* ---- Forks ---------------------------------------------------------------- */

/* OpenMP's worker threads do not exist in a forked child, and waiting for them would
 * hang; so a child works with one thread. That is seen from the loading of the library on:
 * the program itself may have made those threads before it first calls the library. */
static int in_child;

static void enter_child(void) {
  in_child = 1;
}

__attribute__((constructor)) static void watch_forks(void) {
  pthread_atfork(NULL, NULL, enter_child);
}

/* ---- Threads -------------------------------------------------------------- */

/* Below VALUES_PER_THREAD a thread that is awake costs more than it saves (a few microseconds). But threads
 * that have not worked for some milliseconds sleep, to wake them takes as long as to go through VALUES_ALONE,
 * and where their processors have other work they come when that lets them, which has taken a hundred times
 * as long. So a caller who has not asked for threads gets none for a matrix that one goes through in that
 * time. */
enum { VALUES_PER_THREAD = 8192, VALUES_ALONE = 1 << 18 };

int csrn_cpu_threads_for(const csrn_context *ctx, int64_t values) {
  const csrn_cpu_state *state = csrn_cpu_state_of(ctx);
  if (in_child || (state->by_work && values < VALUES_ALONE))
    return 1;
  int64_t useful = 1 + values / VALUES_PER_THREAD;
  return (int)(useful < state->threads ? useful : state->threads);
}

static void run_in_default_mode(void (*function)(void *arg, int thread, int n_threads), void *arg, int thread,
                                int n_threads) {
  fenv_t saved;
  fegetenv(&saved);
  fesetenv(FE_DFL_ENV);
  function(arg, thread, n_threads);
  fesetenv(&saved);
}

/* Once it has some number of threads, a context goes on with as many, also where there is less to do: libgomp
 * ends those that a smaller team leaves out, and the next region has to make them anew, which takes longer
 * (0.3 ms for 8) than it takes the others to wait. */
void csrn_cpu_parallel(const csrn_context *ctx, int n_threads,
                       void (*function)(void *arg, int thread, int n_threads), void *arg) {
  csrn_cpu_state *state = csrn_cpu_state_of(ctx);
  if (n_threads <= 1) {
    run_in_default_mode(function, arg, 0, 1);
    return;
  }
  state->team = n_threads < state->team ? state->team : n_threads;
  /* OpenMP may grant fewer threads than asked for, so the shares are handed out by a loop. */
#pragma omp parallel for num_threads(state->team) schedule(static, 1)
  for (int thread = 0; thread < n_threads; thread++)
    run_in_default_mode(function, arg, thread, n_threads);
}

/* ---- Elements ------------------------------------------------------------- */

void csrn_cpu_range(int64_t n, int64_t grain, int thread, int n_threads, int64_t *begin, int64_t *end) {
  int64_t grains = n / grain + (n % grain != 0);
  int64_t share = grains / n_threads, rest = grains % n_threads;
  int64_t first = thread * share + (thread < rest ? thread : rest);
  int64_t last = first + share + (thread < rest);
  *begin = first * grain < n ? first * grain : n;
  *end = last * grain < n ? last * grain : n;
}

typedef struct pieces {
  const csrn_piece_work *work;
  int64_t begin, end;
} pieces;

static void run_piece(void *arg, int thread, int n_threads) {
  const pieces *p = arg;
  int64_t begin, end;
  csrn_cpu_range(p->end - p->begin, CSRN_BLOCK, thread, n_threads, &begin, &end);
  if (begin < end)
    p->work->piece(p->work->arg, thread, p->begin + begin, p->begin + end);
}

void csrn_cpu_pieces(const csrn_piece_work *work, int64_t begin, int64_t end) {
  pieces p = {work, begin, end};
  csrn_cpu_parallel(work->ctx, csrn_cpu_threads_for(work->ctx, end - begin), run_piece, &p);
}

typedef struct copy_work {
  char *to;
  const char *from;
  int64_t bytes;
} copy_work;

static void copy_range(void *arg, int thread, int n_threads) {
  enum { PAGE = 4096 };
  const copy_work *copy = arg;
  int64_t begin, end;
  csrn_cpu_range(copy->bytes, PAGE, thread, n_threads, &begin, &end);
  memcpy(copy->to + begin, copy->from + begin, (size_t)(end - begin));
}

void csrn_cpu_copy(const csrn_context *ctx, void *to, const void *from, size_t bytes) {
  enum { BYTES_PER_VALUE = 8 };
  copy_work copy = {to, from, (int64_t)bytes};
  csrn_cpu_parallel(ctx, csrn_cpu_threads_for(ctx, copy.bytes / BYTES_PER_VALUE), copy_range, &copy);
}

/* ---- Rows ----------------------------------------------------------------- */

int64_t csrn_cpu_offset(const csrn_csr *A, int64_t row) {
  switch (A->indptr_type) {
  case CSRN_U8:
    return ((const uint8_t *)A->indptr)[row];
  case CSRN_U16:
    return ((const uint16_t *)A->indptr)[row];
  case CSRN_U32:
    return ((const uint32_t *)A->indptr)[row];
  case CSRN_I32:
    return ((const int32_t *)A->indptr)[row];
  default: /* i64 and u64, both checked to be at most nnz */
    return ((const int64_t *)A->indptr)[row];
  }
}

/* Shares of rows that a thread has, of at least so many values each: so many that the last ones to be done
 * take about a hundredth of the time. */
enum { SHARES_PER_THREAD = 32, SHARE_VALUES = 1 << 15 };

/* The first row of [first, last] that begins at or after `offset`. */
static int64_t find_row(const csrn_csr *A, int64_t first, int64_t last, int64_t offset) {
  while (first < last) {
    int64_t middle = first + (last - first) / 2;
    if (csrn_cpu_offset(A, middle) < offset)
      first = middle + 1;
    else
      last = middle;
  }
  return first;
}

/* Offsets of the rows [row, row + n] as int64: read in place where they are. */
static const int64_t *load_offsets(const csrn_csr *A, int64_t row, int64_t n, int64_t *buffer) {
  if (csrn_dtype_size(A->indptr_type) == sizeof(int64_t))
    return (const int64_t *)A->indptr + row;
  for (int64_t i = 0; i <= n; i++)
    buffer[i] = csrn_cpu_offset(A, row + i);
  return buffer;
}

/* Runs the batches of rows [first, last). */
static void run_rows(const csrn_row_work *work, int thread, int64_t first, int64_t last) {
  int64_t buffer[CSRN_BATCH_ROWS + 1];
  int64_t limit = work->max_batch_nnz ? work->max_batch_nnz : INT64_MAX;
  while (first < last) {
    int64_t loaded = last - first < CSRN_BATCH_ROWS ? last - first : CSRN_BATCH_ROWS;
    const int64_t *indptr = load_offsets(work->A, first, loaded, buffer);
    for (int64_t i = 0; i < loaded;) {
      int64_t n = 1;
      while (i + n < loaded && indptr[i + n + 1] - indptr[i] <= limit)
        n++;
      if (n > CSRN_ROW_GROUP && i + n < loaded)
        n -= n % CSRN_ROW_GROUP;
      work->batch(work->arg, thread, first + i, n, indptr + i);
      i += n;
    }
    first += loaded;
  }
}

/* A run of rows between two giants, in as many shares of about the same nnz for each thread. */
typedef struct row_run {
  const csrn_row_work *work;
  int64_t first, last;
  int64_t origin, nnz;
  int64_t per_thread;
} row_run;

/* The first row of share `share` of `n`; the last for share n. */
static int64_t share_begin(const row_run *run, int64_t share, int64_t n) {
  if (share == 0 || share == n)
    return share ? run->last : run->first;
  if (run->nnz == 0)
    return run->first + (run->last - run->first) / n * share;
  return find_row(run->work->A, run->first, run->last,
                  run->origin + run->nnz / n * share + run->nnz % n * share / n);
}

/* A thread's own shares lie one behind the other, as if they were one. When it is done with them it helps the
 * others with theirs: processors, virtual ones above all, are not equally fast. */
static void run_shares(void *arg, int thread, int n_threads) {
  const row_run *run = arg;
  csrn_cpu_turn *turns = csrn_cpu_state_of(run->work->ctx)->turns;
  const int64_t n = run->per_thread * n_threads;
  for (int k = 0; k < n_threads && (k == 0 || run->per_thread > 1); k++) {
    const int owner = (thread + k) % n_threads;
    for (int64_t next;
         (next = __atomic_fetch_add(&turns[owner].next, 1, __ATOMIC_RELAXED)) < run->per_thread;) {
      const int64_t share = owner * run->per_thread + next;
      run_rows(run->work, thread, share_begin(run, share, n), share_begin(run, share + 1, n));
    }
  }
}

static void run_between(const csrn_row_work *work, int64_t first, int64_t last) {
  if (first >= last)
    return;
  row_run run = {work, first, last, csrn_cpu_offset(work->A, first), 0, 1};
  run.nnz = csrn_cpu_offset(work->A, last) - run.origin;
  const int threads = csrn_cpu_threads_for(work->ctx, run.nnz + (last - first));
  const int64_t fitting = run.nnz / threads / SHARE_VALUES;
  run.per_thread = threads == 1 || fitting < 1   ? 1
                   : fitting < SHARES_PER_THREAD ? fitting
                                                 : SHARES_PER_THREAD;
  for (int k = 0; k < threads; k++)
    csrn_cpu_state_of(work->ctx)->turns[k].next = 0;
  csrn_cpu_parallel(work->ctx, threads, run_shares, &run);
}

/* A row longer than 1/4 of a thread's fair share would unbalance the threads; such rows
 * are found without looking at all of indptr, since each covers a multiple of that
 * length. */
void csrn_cpu_rows(const csrn_row_work *work) {
  const csrn_csr *A = work->A;
  enum { PARTS_PER_THREAD = 4, SMALLEST_GIANT = 16 * CSRN_BLOCK };
  int64_t origin = csrn_cpu_offset(A, 0), nnz = csrn_cpu_offset(A, A->n_rows) - origin;
  int threads = csrn_cpu_threads_for(work->ctx, nnz);
  int64_t length = nnz / ((int64_t)threads * PARTS_PER_THREAD);
  if (length < SMALLEST_GIANT)
    length = SMALLEST_GIANT;
  int64_t next = 0;
  for (int64_t offset = length; threads > 1 && offset < nnz; offset += length) {
    int64_t row = find_row(A, 0, A->n_rows, origin + offset + 1) - 1;
    int64_t begin = csrn_cpu_offset(A, row), end = csrn_cpu_offset(A, row + 1);
    if (row < next || end - begin < length)
      continue;
    run_between(work, next, row);
    work->giant(work->arg, row, begin, end);
    next = row + 1;
  }
  run_between(work, next, A->n_rows);
}
