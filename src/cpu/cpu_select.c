/*
 * The median by radix selection, without sorting and without changing or copying the
 * values: positive doubles are ordered like their bits, so histograms of ever lower
 * digits, each over the values that agree with the digits found so far, lead to the
 * value of a rank. Each histogram is one parallel read; once few values are left, they
 * are gathered and the rest is done on those. Also the mean of the positive values.
 */
#include "cpu_internal.h"
#include "numerics.h"

#include <math.h>
#include <string.h>

/* The digits of the 63 bits of a positive double, from the top: 15, then 4 times 12; of few values, for which
 * going through so many bins would take longer than counting, 7 times 9. */
enum { FIRST_BITS = 15, NEXT_BITS = 12, N_BINS = 1 << FIRST_BITS };
enum { FEW = 8192, FEW_BITS = 9 };

/* As many values as one histogram has bins are gathered; so many at a time, since all threads count them
 * together. */
enum { MAX_GATHERED = N_BINS, GATHERED_TOGETHER = 128 };

#define INFINITY_BITS 0x7ff0000000000000U

typedef struct selection {
  csrn_context *ctx;
  const double *values;
  int64_t n;
  int shift;       /* of the digit that is being counted */
  int bits;        /* how many it has */
  uint64_t prefix; /* all higher digits, the same for every candidate */
  int64_t *bins;   /* [threads][N_BINS] */
  /* Of the keys of all candidates: the least, the greatest, the bits that one of them has. */
  uint64_t lowest, highest, any;
  int n_threads;
  double *gathered;
  int64_t n_gathered;
  uint64_t low_bound, high_bound; /* of the two middle values: see find_neighbours() */
} selection;

/* The bits of a value; 0 for one that does not take part. Since 0 itself does not
 * either, a positive finite value is one whose bits are in (0, INFINITY_BITS). */
static uint64_t key_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits < INFINITY_BITS ? bits : 0;
}

static bool is_candidate(const selection *s, uint64_t key) {
  int top = s->shift + s->bits;
  return key != 0 && (top == 63 || key >> top == s->prefix);
}

/* What one thread has seen. */
static void note_keys(selection *s, uint64_t lowest, uint64_t highest, uint64_t any) {
  uint64_t seen = __atomic_load_n(&s->lowest, __ATOMIC_RELAXED);
  while (lowest < seen &&
         !__atomic_compare_exchange_n(&s->lowest, &seen, lowest, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    ;
  seen = __atomic_load_n(&s->highest, __ATOMIC_RELAXED);
  while (highest > seen &&
         !__atomic_compare_exchange_n(&s->highest, &seen, highest, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    ;
  __atomic_fetch_or(&s->any, any, __ATOMIC_RELAXED);
}

/* The digit of a candidate. */
static uint64_t digit_of(const selection *s, uint64_t key) {
  return key >> s->shift & (((uint64_t)1 << s->bits) - 1);
}

static void count_digits(void *arg, int thread, int n_threads) {
  selection *s = arg;
  int64_t *bins = s->bins + (int64_t)thread * N_BINS;
  uint64_t lowest = UINT64_MAX, highest = 0, any = 0;
  int64_t begin, end;
  memset(bins, 0, ((size_t)1 << s->bits) * sizeof *bins);
  csrn_cpu_range(s->n, 1024, thread, n_threads, &begin, &end);
  for (int64_t i = begin; i < end; i++) {
    uint64_t key = key_of(s->values[i]);
    if (!is_candidate(s, key))
      continue;
    bins[digit_of(s, key)]++;
    lowest = key < lowest ? key : lowest;
    highest = key > highest ? key : highest;
    any |= key;
  }
  note_keys(s, lowest, highest, any);
}

/* The counts of all threads in the first thread's bins; returns how many values. Only from the lowest digit
 * to the highest: totals of cells have few of the 2^15, and every other thread's bins come from its cache. */
static int64_t count_all(selection *s) {
  s->lowest = UINT64_MAX;
  s->highest = s->any = 0;
  s->n_threads = csrn_cpu_threads_for(s->ctx, s->n);
  csrn_cpu_parallel(s->ctx, s->n_threads, count_digits, s);
  int64_t total = 0;
  if (s->highest == 0)
    return 0;
  for (uint64_t bin = digit_of(s, s->lowest); bin <= digit_of(s, s->highest); bin++) {
    for (int t = 1; t < s->n_threads; t++)
      s->bins[bin] += s->bins[(uint64_t)t * N_BINS + bin];
    total += s->bins[bin];
  }
  return total;
}

/* The bin that holds a rank, which becomes the rank within the bin. */
static uint64_t find_bin(const selection *s, int64_t *rank) {
  uint64_t bin = digit_of(s, s->lowest);
  while (*rank >= s->bins[bin])
    *rank -= s->bins[bin++];
  return bin;
}

static void add_gathered(selection *s, const double *values, int64_t n) {
  const int64_t first = __atomic_fetch_add(&s->n_gathered, n, __ATOMIC_RELAXED);
  memcpy(s->gathered + first, values, (size_t)n * sizeof *values);
}

static void gather_range(void *arg, int thread, int n_threads) {
  selection *s = arg;
  int64_t begin, end;
  csrn_cpu_range(s->n, 1024, thread, n_threads, &begin, &end);
  double found[GATHERED_TOGETHER];
  int64_t n = 0;
  for (int64_t i = begin; i < end; i++) {
    if (!is_candidate(s, key_of(s->values[i])))
      continue;
    found[n++] = s->values[i];
    if (n == GATHERED_TOGETHER) {
      add_gathered(s, found, n);
      n = 0;
    }
  }
  add_gathered(s, found, n);
}

/* The candidates alone, in any order, as the values to go on with. */
static void gather(selection *s) {
  s->gathered = (double *)(void *)(s->bins + (int64_t)csrn_cpu_state_of(s->ctx)->threads * N_BINS);
  s->n_gathered = 0;
  csrn_cpu_parallel(s->ctx, s->n_threads, gather_range, s);
  s->values = s->gathered;
  s->n = s->n_gathered;
}

/* The largest value below or in bin low_bound, the smallest in or above high_bound. */
static void find_neighbours(const selection *s, int shift, double *low, double *high) {
  uint64_t below = 0, above = INFINITY_BITS;
  for (int64_t i = 0; i < s->n; i++) {
    uint64_t key = key_of(s->values[i]);
    if (key != 0 && key >> shift <= s->low_bound && key > below)
      below = key;
    if (key != 0 && key >> shift >= s->high_bound && key < above)
      above = key;
  }
  memcpy(low, &below, sizeof *low);
  memcpy(high, &above, sizeof *high);
}

static double select_median(selection *s) {
  const bool few = s->n <= FEW;
  s->bits = few ? FEW_BITS : FIRST_BITS;
  s->shift = 63 - s->bits;
  int64_t count = count_all(s);
  if (count == 0)
    return NAN;
  int64_t low = (count - 1) / 2, high = count / 2;
  for (;;) {
    uint64_t low_bin = find_bin(s, &low), high_bin = find_bin(s, &high);
    s->low_bound = s->prefix << s->bits | low_bin;
    s->high_bound = s->prefix << s->bits | high_bin;
    double a, b;
    if (low_bin != high_bin) {
      find_neighbours(s, s->shift, &a, &b);
      return isfinite(a + b) ? (a + b) / 2 : a / 2 + b / 2;
    }
    s->prefix = s->low_bound;
    /* Counts add up to integers, whose lower digits are zeros. */
    if ((s->any & (((uint64_t)1 << s->shift) - 1)) == 0) {
      const uint64_t key = s->prefix << s->shift;
      memcpy(&a, &key, sizeof a);
      return a;
    }
    int64_t left = s->bins[low_bin];
    s->bits = few ? FEW_BITS : NEXT_BITS;
    s->shift -= s->bits;
    if (left <= MAX_GATHERED && s->values != s->gathered)
      gather(s);
    count_all(s);
  }
}

csrn_status csrn_cpu_median(csrn_context *ctx, const double *values, int64_t n, double *median) {
  selection s = {.ctx = ctx, .values = values, .n = n};
  s.bins = csrn_cpu_thread_scratch(ctx);
  if (!s.bins)
    return CSRN_OUT_OF_MEMORY;
  *median = select_median(&s);
  return CSRN_OK;
}

/* ---- The mean ------------------------------------------------------------- */

typedef struct positive_sum {
  const double *values;
  int64_t begin, end;
  double *sums; /* [blocks] */
  int64_t count;
} positive_sum;

/* As a row whose other values are excluded: those add +0 in their lane. */
static double positive_block(const double *values, int64_t n, int64_t *count) {
  double lanes[CSRN_LANES] = {0};
  for (int64_t i = 0; i < n; i++) {
    bool counts = key_of(values[i]) != 0;
    lanes[i % CSRN_LANES] += counts ? values[i] : 0.0;
    *count += counts;
  }
  return csrn_combine_lanes(lanes);
}

static void sum_positive_blocks(void *arg, int thread, int n_threads) {
  positive_sum *work = arg;
  int64_t begin, end, count = 0;
  csrn_cpu_range(work->end - work->begin, CSRN_BLOCK, thread, n_threads, &begin, &end);
  for (int64_t i = begin; i < end; i += CSRN_BLOCK)
    work->sums[i / CSRN_BLOCK] =
        positive_block(work->values + work->begin + i, end - i < CSRN_BLOCK ? end - i : CSRN_BLOCK, &count);
  __atomic_fetch_add(&work->count, count, __ATOMIC_RELAXED);
}

csrn_status csrn_cpu_mean(csrn_context *ctx, const double *values, int64_t n, double *mean) {
  const int64_t stretch = (int64_t)CSRN_GIANT_BLOCKS * CSRN_BLOCK;
  positive_sum work = {.values = values, .sums = csrn_cpu_thread_scratch(ctx)};
  if (!work.sums)
    return CSRN_OUT_OF_MEMORY;
  double sum = 0.0;
  for (int64_t i = 0; i < n; i += stretch) {
    work.begin = i;
    work.end = n - i < stretch ? n : i + stretch;
    csrn_cpu_parallel(ctx, csrn_cpu_threads_for(ctx, work.end - i), sum_positive_blocks, &work);
    for (int64_t k = 0; k * CSRN_BLOCK < work.end - i; k++)
      sum += work.sums[k];
  }
  *mean = work.count > 0 ? sum / (double)work.count : NAN;
  return CSRN_OK;
}
