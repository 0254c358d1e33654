/*
 * The matrix that `csrnorm bench` measures on, and its statistics. A simulated one must
 * load the memory system as real counts do, and be made in a second or two: row lengths
 * are log-normal, genes are detected with log-normal odds, and counts follow a curve
 * fitted to PBMC data. It depends on the seed alone, not on the number of threads.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Standard deviations of log(genes per cell) and log(mean count of a gene), as in PBMC data. */
static const double LENGTH_SIGMA = 0.45, GENE_SIGMA = 2.0;

enum { QUANTILES = 1 << 16 };

typedef struct generator {
  uint64_t seed;
  int64_t n_cols;
  int32_t *gene;   /* [QUANTILES] the gene at each quantile of the detected values */
  uint16_t *count; /* [QUANTILES] the count at each quantile */
  double largest;  /* that the data type holds */
  bool reals;
} generator;

/* ---- Typed access -------------------------------------------------------- */

#define BENCH_TYPES(X)                                                                                       \
  X(CSRN_F32, float)                                                                                         \
  X(CSRN_F64, double)                                                                                        \
  X(CSRN_U8, uint8_t)                                                                                        \
  X(CSRN_U16, uint16_t)                                                                                      \
  X(CSRN_U32, uint32_t)                                                                                      \
  X(CSRN_U64, uint64_t)                                                                                      \
  X(CSRN_I32, int32_t)                                                                                       \
  X(CSRN_I64, int64_t)

int64_t bench_get_index(const void *array, csrn_dtype type, int64_t i) {
  switch (type) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    return (int64_t)((const ctype *)array)[i];
    BENCH_TYPES(CASE)
#undef CASE
  default:
    return 0;
  }
}

long double bench_get_value(const void *array, csrn_dtype type, int64_t i) {
  switch (type) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    return (long double)((const ctype *)array)[i];
    BENCH_TYPES(CASE)
#undef CASE
  default:
    return 0;
  }
}

void bench_put_value(void *array, csrn_dtype type, int64_t i, double value) {
  switch (type) {
#define CASE(code, ctype)                                                                                    \
  case code:                                                                                                 \
    ((ctype *)array)[i] = (ctype)value;                                                                      \
    break;
    BENCH_TYPES(CASE)
#undef CASE
  default:
    break;
  }
}

static double largest_count(csrn_dtype type) {
  return type == CSRN_U8 ? UINT8_MAX : UINT16_MAX;
}

/* ---- Random numbers ------------------------------------------------------ */

/* SplitMix64: one multiplication chain per draw, and any seed is a good one. */
static uint64_t draw(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* An independent stream for each row (or gene) of each purpose. */
static uint64_t stream(uint64_t seed, uint64_t purpose, int64_t i) {
  uint64_t state = seed ^ (purpose << 56) ^ (uint64_t)i;
  return draw(&state);
}

static double draw_unit(uint64_t *state) { /* in (0, 1) */
  return ((double)(draw(state) >> 11) + 0.5) * 0x1p-53;
}

static double draw_log_normal(uint64_t *state, double sigma) {
  double radius = sqrt(-2.0 * log(draw_unit(state)));
  return exp(sigma * radius * cos(6.283185307179586 * draw_unit(state)));
}

/* ---- Simulation ---------------------------------------------------------- */

/* indptr[i + 1] = length of row i, adding up to exactly nnz, none above n_cols. */
static void draw_row_lengths(const bench_settings *s, int64_t *indptr) {
  double total = 0;
  for (int64_t i = 0; i < s->n_cells; i++) {
    uint64_t state = stream(s->seed, 1, i);
    total += s->constant_rows ? 1 : draw_log_normal(&state, LENGTH_SIGMA);
  }
  int64_t left = s->nnz;
  for (int64_t i = 0; i < s->n_cells; i++) {
    uint64_t state = stream(s->seed, 1, i);
    double share = s->constant_rows ? 1 : draw_log_normal(&state, LENGTH_SIGMA);
    double length = floor(share / total * (double)s->nnz);
    indptr[i + 1] = length < (double)s->n_genes ? (int64_t)length : s->n_genes;
    left -= indptr[i + 1];
  }
  while (left > 0) { /* what rounding and the limit have left over; every pass places some */
    int64_t each = left / s->n_cells + 1;
    for (int64_t i = 0; i < s->n_cells && left > 0; i++) {
      int64_t room = s->n_genes - indptr[i + 1], add = each < room ? each : room;
      add = add < left ? add : left;
      indptr[i + 1] += add;
      left -= add;
    }
  }
  indptr[0] = 0;
  for (int64_t i = 0; i < s->n_cells; i++)
    indptr[i + 1] += indptr[i];
}

/* The share of cells that a gene of relative abundance w is seen in, when abundances are scaled by c. */
static double detection(double w, double c) {
  return -expm1(-c * w);
}

static double expected_length(const double *weights, int64_t n, double c) {
  double sum = 0;
  for (int64_t j = 0; j < n; j++)
    sum += detection(weights[j], c);
  return sum;
}

/* gene[q]: genes in order of index, each as often as the share of the values that are its own. */
static bool make_gene_quantiles(const bench_settings *s, int32_t *gene) {
  int64_t n = s->n_genes;
  double *weights = malloc((size_t)n * sizeof *weights);
  if (!weights)
    return false;
  for (int64_t j = 0; j < n; j++) {
    uint64_t state = stream(s->seed, 2, j);
    weights[j] = draw_log_normal(&state, GENE_SIGMA);
  }
  double mean_length = (double)s->nnz / (double)s->n_cells, low = 0, high = 1;
  mean_length = fmin(mean_length, 0.99 * (double)n);
  while (expected_length(weights, n, high) < mean_length)
    high *= 2;
  for (int step = 0; step < 40; step++) {
    double middle = (low + high) / 2;
    *(expected_length(weights, n, middle) < mean_length ? &low : &high) = middle;
  }
  double total = expected_length(weights, n, high), cumulative = 0;
  int64_t q = 0;
  for (int64_t j = 0; j < n; j++) {
    cumulative += detection(weights[j], high);
    while (q < QUANTILES && (double)q + 0.5 < cumulative / total * QUANTILES)
      gene[q++] = (int32_t)j;
  }
  while (q < QUANTILES)
    gene[q++] = (int32_t)(n - 1);
  free(weights);
  return true;
}

/* count[q]. The share of counts above k, as three exponentials fitted to the PBMC counts
 * (68.2 % are 1, 93.4 % at most 8, 99.1 % below 32, 99.9 % at most 64). */
static void make_count_quantiles(uint16_t *count) {
  int k = 1;
  for (int q = 0; q < QUANTILES; q++) {
    double above = 1 - ((double)q + 0.5) / QUANTILES;
    while (0.109 * exp((1 - k) / 0.6) + 0.124 * exp((1 - k) / 3.4) + 0.085 * exp((1 - k) / 13.3) > above)
      k++;
    count[q] = (uint16_t)k;
  }
}

static void fill_row(const generator *g, const csrn_csr *A, int64_t i, int64_t begin, int64_t end) {
  uint64_t state = stream(g->seed, 3, i);
  double step = (double)QUANTILES / (double)(end - begin);
  int64_t previous = -1;
  for (int64_t k = begin; k < end; k++) {
    uint64_t bits = draw(&state);
    /* One gene from each of `length` equal shares of the quantiles: sorted as drawn. A gene drawn twice
     * moves on to the next, and the last ones leave room for those to come. */
    double place = ((double)(k - begin) + (double)(bits >> 40) * 0x1p-24) * step;
    int64_t gene = g->gene[(int64_t)place], last = g->n_cols - (end - k);
    gene = gene > previous ? gene : previous + 1;
    previous = gene < last ? gene : last;
    bench_put_value((void *)A->indices, A->indices_type, k, (double)previous);
    double value = g->count[bits & (QUANTILES - 1)];
    if (g->reals)
      value *= 0.5 + (double)((bits >> 16) & 0xffffff) * 0x1p-24;
    bench_put_value(A->data, A->data_type, k, value < g->largest || g->reals ? value : g->largest);
  }
}

static void fill_matrix(const generator *g, const csrn_csr *A, const int64_t *indptr) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < A->n_rows; i++)
    fill_row(g, A, i, indptr[i], indptr[i + 1]);
  for (int64_t i = 0; i <= A->n_rows; i++)
    bench_put_value((void *)A->indptr, A->indptr_type, i, (double)indptr[i]);
}

static void free_arrays(void *user) {
  csrn_csr *csr = user;
  free((void *)csr->indptr);
  free((void *)csr->indices);
  free(csr->data);
  free(csr);
}

/* 64-byte aligned, as every large array of a real program is. */
static void *allocate_array(int64_t n, csrn_dtype type) {
  size_t bytes = (size_t)n * csrn_dtype_size(type);
  return aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
}

static bool allocate_csr(const bench_settings *s, bench_matrix *matrix) {
  csrn_csr *csr = calloc(1, sizeof *csr);
  if (!csr)
    return false;
  *csr = (csrn_csr){.n_rows = s->n_cells,
                    .n_cols = s->n_genes,
                    .nnz = s->nnz,
                    .indptr = allocate_array(s->n_cells + 1, s->indptr_type),
                    .indices = allocate_array(s->nnz, s->indices_type),
                    .data = allocate_array(s->nnz, s->data_type),
                    .indptr_type = s->indptr_type,
                    .indices_type = s->indices_type,
                    .data_type = s->data_type};
  matrix->csr = *csr;
  matrix->release = free_arrays;
  matrix->user = csr;
  return csr->indptr && csr->indices && csr->data;
}

bool bench_matrix_simulate(const bench_settings *s, bench_matrix *matrix, char error[BENCH_DETAIL]) {
  *matrix = (bench_matrix){.max_fraction = s->max_fraction};
  generator g = {.seed = s->seed,
                 .n_cols = s->n_genes,
                 .gene = malloc(QUANTILES * sizeof *g.gene),
                 .count = malloc(QUANTILES * sizeof *g.count),
                 .largest = largest_count(s->data_type),
                 .reals = s->reals};
  int64_t *indptr = malloc((size_t)(s->n_cells + 1) * sizeof *indptr);
  char source[160];
  snprintf(source, sizeof source, "simulated: %s, %s row lengths, seed %llu", s->reals ? "reals" : "counts",
           s->constant_rows ? "constant" : "log-normal", (unsigned long long)s->seed);
  matrix->source = strdup(source);
  bool done = g.gene && g.count && indptr && matrix->source && allocate_csr(s, matrix);
  if (done) {
    draw_row_lengths(s, indptr);
    make_count_quantiles(g.count);
    done = make_gene_quantiles(s, g.gene);
  }
  if (done) {
    fill_matrix(&g, &matrix->csr, indptr);
    done = bench_matrix_describe(matrix);
  }
  if (!done)
    snprintf(error, BENCH_DETAIL, "not enough memory for a matrix of %lld values", (long long)s->nnz);
  free(indptr);
  free(g.gene);
  free(g.count);
  return done;
}

/* ---- Statistics ---------------------------------------------------------- */

static int compare_lengths(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static double measure_small_fraction(const csrn_csr *A, int64_t begin, int64_t end) {
  int64_t n_small = 0;
#pragma omp parallel for schedule(static) reduction(+ : n_small)
  for (int64_t k = begin; k < end; k++) {
    long double x = bench_get_value(A->data, A->data_type, k);
    n_small += x >= 0 && x < 32 && x == (long double)(int)x;
  }
  return end > begin ? (double)n_small / (double)(end - begin) : NAN;
}

/* 0.05, as everybody uses it, where a cell has 1,500 values. In shorter rows every gene exceeds that
 * somewhere; a share that grows with 1 / length keeps it at a few genes, as in real data. */
static double usual_max_fraction(double mean_length) {
  return fmin(0.8, fmax(0.05, 75 / mean_length));
}

bool bench_matrix_describe(bench_matrix *matrix) {
  const csrn_csr *A = &matrix->csr;
  int64_t n = A->n_rows;
  int64_t *lengths = malloc((size_t)(n ? n : 1) * sizeof *lengths);
  if (!lengths)
    return false;
  for (int64_t i = 0; i < n; i++)
    lengths[i] =
        bench_get_index(A->indptr, A->indptr_type, i + 1) - bench_get_index(A->indptr, A->indptr_type, i);
  qsort(lengths, (size_t)n, sizeof *lengths, compare_lengths);
  matrix->row_min = n ? lengths[0] : 0;
  matrix->row_median = n ? lengths[n / 2] : 0;
  matrix->row_max = n ? lengths[n - 1] : 0;
  free(lengths);
  int64_t begin = bench_get_index(A->indptr, A->indptr_type, 0),
          end = bench_get_index(A->indptr, A->indptr_type, n);
  matrix->small_fraction = measure_small_fraction(A, begin, end);
  if (matrix->max_fraction == 0)
    matrix->max_fraction = end > begin ? usual_max_fraction((double)(end - begin) / (double)n) : 0.05;
  return true;
}

void bench_matrix_free(bench_matrix *matrix) {
  if (matrix->release)
    matrix->release(matrix->user);
  free(matrix->source);
  *matrix = (bench_matrix){0};
}
