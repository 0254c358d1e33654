/*
 * What the operations of `csrnorm bench` must give, computed in the plainest way from
 * the definitions in csrnorm.h and docs/numerics.md, sharing no code with the library.
 * It is computed once per matrix; every configuration is compared with it.
 */
#include "bench.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 32, BLOCK = 4096 };
/* Values compared per operation and configuration: enough to meet every kind of row, and few enough that
 * checking costs less than measuring. */
enum { SAMPLE_VALUES = 1 << 20 };

static bool is_real(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

/* The canonical row sum: 32 lanes, combined by halving, blocks of 4,096 added in order. An excluded
 * value counts as +0. Integers are summed exactly. */
static double row_total(const csrn_csr *A, int64_t begin, int64_t end, const uint8_t *excluded) {
  double total = 0;
  long double exact = 0;
  for (int64_t first = begin; first < end; first += BLOCK) {
    double lane[LANES] = {0};
    for (int64_t k = first; k < end && k < first + BLOCK; k++) {
      bool out = excluded && excluded[bench_get_index(A->indices, A->indices_type, k)];
      long double x = out ? 0 : bench_get_value(A->data, A->data_type, k);
      lane[(k - first) % LANES] += (double)x;
      exact += x;
    }
    for (int width = LANES / 2; width > 0; width /= 2)
      for (int l = 0; l < width; l++)
        lane[l] += lane[l + width];
    total += lane[0];
  }
  return is_real(A->data_type) ? total : (double)exact;
}

static void compute_totals(const csrn_csr *A, const uint8_t *excluded, double *totals) {
#pragma omp parallel for schedule(dynamic, 1024)
  for (int64_t i = 0; i < A->n_rows; i++)
    totals[i] = row_total(A, bench_get_index(A->indptr, A->indptr_type, i),
                          bench_get_index(A->indptr, A->indptr_type, i + 1), excluded);
}

static void compute_mask(const csrn_csr *A, const double *totals, double max_fraction, uint8_t *mask) {
  memset(mask, 0, (size_t)A->n_cols);
#pragma omp parallel for schedule(dynamic, 1024)
  for (int64_t i = 0; i < A->n_rows; i++) {
    int64_t end = bench_get_index(A->indptr, A->indptr_type, i + 1);
    for (int64_t k = bench_get_index(A->indptr, A->indptr_type, i); k < end; k++)
      if ((double)bench_get_value(A->data, A->data_type, k) > max_fraction * totals[i]) {
#pragma omp atomic write
        mask[bench_get_index(A->indices, A->indices_type, k)] = 1;
      }
  }
}

/* What one thread has seen of the columns. */
typedef struct column_part {
  long double *sums, largest;
  int64_t *counts;
  bool whole; /* only integers so far */
} column_part;

static void add_columns(const csrn_csr *A, int64_t begin, int64_t end, column_part *part) {
  for (int64_t k = begin; k < end; k++) {
    long double x = bench_get_value(A->data, A->data_type, k);
    int64_t j = bench_get_index(A->indices, A->indices_type, k);
    part->sums[j] += x;
    part->counts[j]++;
    part->largest = fabsl(x) > part->largest ? fabsl(x) : part->largest;
    part->whole = part->whole && x == truncl(x);
  }
}

static void merge_columns(column_part *all, const column_part *part, int64_t n_cols) {
  for (int64_t j = 0; j < n_cols; j++) {
    all->sums[j] += part->sums[j];
    all->counts[j] += part->counts[j];
  }
  all->largest = part->largest > all->largest ? part->largest : all->largest;
  all->whole = all->whole && part->whole;
}

static bool allocate_part(column_part *part, int64_t n_cols) {
  *part = (column_part){calloc((size_t)n_cols + 1, sizeof *part->sums), 0,
                        calloc((size_t)n_cols + 1, sizeof *part->counts), true};
  return part->sums && part->counts;
}

static void free_part(column_part *part) {
  free(part->sums);
  free(part->counts);
}

/* Columns in long double: exact for counts, where the slack is 0. Other reals may be off by what the
 * library's fixed point loses (2^-60 of the largest magnitude for every value, at most) and by roundings. */
static bool compute_column_sums(bench_expected *e, const csrn_csr *A) {
  int64_t begin = bench_get_index(A->indptr, A->indptr_type, 0);
  int64_t end = bench_get_index(A->indptr, A->indptr_type, A->n_rows);
  column_part all;
  bool done = allocate_part(&all, A->n_cols);
#pragma omp parallel if (done && end - begin > A->n_cols)
  {
    column_part part;
    int64_t t = omp_get_thread_num(), parts = omp_get_num_threads(), step = (end - begin) / parts + 1;
    int64_t first = begin + t * step, last = first + step < end ? first + step : end;
    bool allocated = allocate_part(&part, A->n_cols);
    if (allocated)
      add_columns(A, first, last, &part);
#pragma omp critical
    {
      done = done && allocated;
      if (done)
        merge_columns(&all, &part, A->n_cols);
    }
    free_part(&part);
  }
  for (int64_t j = 0; done && j < A->n_cols; j++) {
    long double lost = (long double)all.counts[j] * all.largest * 0x1p-60L + fabsl(all.sums[j]) * 0x1p-52L;
    e->column_sums[j] = (double)all.sums[j];
    e->column_slack[j] = all.whole ? 0 : (double)lost;
  }
  free_part(&all);
  return done;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double bench_plain_median(const double *values, int64_t n) {
  double *positive = malloc((size_t)(n ? n : 1) * sizeof *positive), median = NAN;
  if (!positive)
    return NAN;
  int64_t m = 0;
  for (int64_t i = 0; i < n; i++)
    if (values[i] > 0 && isfinite(values[i]))
      positive[m++] = values[i];
  qsort(positive, (size_t)m, sizeof *positive, compare_doubles);
  if (m > 0)
    median = m % 2 ? positive[m / 2] : (positive[m / 2 - 1] + positive[m / 2]) / 2;
  free(positive);
  return median;
}

static int compare_rows(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static int64_t length_of(const csrn_csr *A, int64_t i) {
  return bench_get_index(A->indptr, A->indptr_type, i + 1) - bench_get_index(A->indptr, A->indptr_type, i);
}

/* Every row of a small matrix. Of a large one the first, last, longest and shortest, and others by chance
 * until there are enough values. */
static void choose_sample(bench_expected *e, const csrn_csr *A, uint64_t seed) {
  int64_t n = A->n_rows, values = 0, longest = 0, shortest = 0;
  bool all = A->nnz <= SAMPLE_VALUES;
  for (int64_t i = 0; i < n; i++) {
    longest = length_of(A, i) > length_of(A, longest) ? i : longest;
    shortest = length_of(A, i) < length_of(A, shortest) ? i : shortest;
  }
  int64_t always[] = {0, n - 1, longest, shortest};
  uint64_t state = seed;
  for (int64_t k = 0; k < n && (all || k < 4 || values < SAMPLE_VALUES); k++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    int64_t i = all ? k : k < 4 ? always[k] : (int64_t)((state >> 33) % (uint64_t)n);
    e->sample[e->n_sample++] = i;
    values += length_of(A, i);
  }
  qsort(e->sample, (size_t)e->n_sample, sizeof *e->sample, compare_rows);
}

static void *allocate(int64_t n, size_t size) {
  return malloc((size_t)(n + 1) * size);
}

bool bench_expected_create(bench_expected *e, const bench_matrix *matrix, uint64_t seed) {
  const csrn_csr *A = &matrix->csr;
  *e = (bench_expected){.matrix = matrix,
                        .totals = allocate(A->n_rows, sizeof(double)),
                        .totals_excluding = allocate(A->n_rows, sizeof(double)),
                        .column_sums = allocate(A->n_cols, sizeof(double)),
                        .column_slack = allocate(A->n_cols, sizeof(double)),
                        .mask = allocate(A->n_cols, 1),
                        .sample = allocate(A->n_rows, sizeof(int64_t))};
  if (!e->totals || !e->totals_excluding || !e->column_sums || !e->column_slack || !e->mask || !e->sample ||
      !compute_column_sums(e, A)) {
    bench_expected_free(e);
    return false;
  }
  compute_totals(A, NULL, e->totals);
  compute_mask(A, e->totals, matrix->max_fraction, e->mask);
  compute_totals(A, e->mask, e->totals_excluding);
  for (int64_t j = 0; j < A->n_cols; j++)
    e->n_excluded += e->mask[j];
  e->median = bench_plain_median(e->totals, A->n_rows);
  e->median_excluding = bench_plain_median(e->totals_excluding, A->n_rows);
  e->column_median = bench_plain_median(e->column_sums, A->n_cols);
  choose_sample(e, A, seed);
  return true;
}

void bench_expected_free(bench_expected *e) {
  free(e->totals);
  free(e->totals_excluding);
  free(e->column_sums);
  free(e->column_slack);
  free(e->mask);
  free(e->sample);
  *e = (bench_expected){0};
}
