/*
 * `csrnorm simulate`: realistic counts without data. Sequencing depth is log-normal over
 * cells, abundance log-normal over genes, and the counts of a cell are a Poisson number
 * of draws from the abundances, which makes every count a Poisson variable.
 *
 * Every cell has a random stream of its own, made from the seed and its number, and all
 * arithmetic is plain IEEE 754 (no library functions that differ by version): the same
 * file on every machine and for every number of threads.
 */
#include "commands.h"
#include "json.h"
#include "session.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_simulate_options[] = {
    {"output", 'o', "FILE", "where the counts go: .h5ad, .mtx, .mtx.gz or .npz"},
    {"cells", 0, "N", "number of cells (default: 1000)"},
    {"genes", 0, "N", "number of genes (default: 20000)"},
    {"seed", 0, "S", "whole number that chooses the counts (default: 0)"},
    {"depth", 0, "D", "median counts of a cell (default: 5000)"},
    {"threads", 0, "N", "CPU threads (default: all that OpenMP grants)"},
    {"compression", 0, "HOW", "of the result: none (default for .h5ad), gzip[:LEVEL]"},
    {"force", 'f', NULL, "replace an existing output"},
    CLI_OPTIONS_REPORT,
    CLI_OPTIONS_END,
};

/* Spread of the logarithms: of depth as in droplet data, of abundance as in tissue. */
#define DEPTH_SIGMA     0.4
#define ABUNDANCE_SIGMA 2.0

typedef struct simulation {
  int64_t n_cells, n_genes, seed;
  double depth;
  double *keep;   /* [n_genes] alias method: chance to keep a drawn gene ... */
  int32_t *other; /* [n_genes] ... and what to take instead */
} simulation;

/* ---- Random numbers --------------------------------------------------------- */

/* splitmix64 (Steele, Lea and Flood, 2014). */
static uint64_t next_random(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27) * 0x94d049bb133111ebU;
  return z ^ z >> 31;
}

/* A stream for (seed, kind, number), well apart from all others. */
static uint64_t stream_of(int64_t seed, uint64_t kind, int64_t number) {
  uint64_t state = (uint64_t)seed;
  state = next_random(&state) ^ kind;
  state = next_random(&state) ^ (uint64_t)number;
  return next_random(&state);
}

static double uniform(uint64_t *state) {
  return (double)(next_random(state) >> 11) * 0x1p-53;
}

/* Irwin-Hall: twelve uniform numbers have variance 1 and are close enough to normal. */
static double normal(uint64_t *state) {
  double sum = -6.0;
  for (int i = 0; i < 12; i++)
    sum += uniform(state);
  return sum;
}

/* e^x by plain arithmetic: 2^k times the Taylor series on [-0.35, 0.35], good to 1e-15. */
static double exponential(double x) {
  const double log2 = 0.6931471805599453;
  double k = floor(x / log2 + 0.5), r = x - k * log2, sum = 1.0;
  for (int i = 14; i > 0; i--)
    sum = 1.0 + sum * r / i;
  return ldexp(sum, (int)k);
}

/* Poisson: by products of uniform numbers where that is short, else by its normal limit. */
static int64_t poisson(double mean, uint64_t *state) {
  if (mean >= 64.0) {
    double n = floor(mean + sqrt(mean) * normal(state) + 0.5);
    return n > 0 ? (int64_t)n : 0;
  }
  int64_t n = 0;
  for (double product = uniform(state), limit = exponential(-mean); product > limit; n++)
    product *= uniform(state);
  return n;
}

/* ---- Genes ------------------------------------------------------------------ */

/* Vose's form of Walker's alias method: O(1) for each draw from the abundances. */
static bool make_genes(simulation *s) {
  const int64_t n = s->n_genes;
  int32_t *queue = malloc((size_t)n * sizeof *queue);
  double total = 0.0;
  s->keep = malloc((size_t)n * sizeof *s->keep);
  s->other = malloc((size_t)n * sizeof *s->other);
  if (!queue || !s->keep || !s->other) {
    free(queue);
    return false;
  }
  for (int64_t g = 0; g < n; g++) {
    uint64_t state = stream_of(s->seed, 1, g);
    s->keep[g] = exponential(ABUNDANCE_SIGMA * normal(&state));
    total += s->keep[g];
  }
  /* Genes below the mean share are at the front of the queue, the others at its back. */
  int64_t small = 0, large = n;
  for (int64_t g = 0; g < n; g++) {
    s->keep[g] *= (double)n / total;
    s->other[g] = (int32_t)g;
    queue[s->keep[g] < 1.0 ? small++ : --large] = (int32_t)g;
  }
  for (int64_t done = 0; done < small && large < n;) {
    int32_t low = queue[done++], high = queue[large];
    s->other[low] = high;
    s->keep[high] -= 1.0 - s->keep[low];
    if (s->keep[high] < 1.0) {
      queue[small++] = high; /* small never passes large: one leaves as one comes */
      large++;
    }
  }
  free(queue);
  return true;
}

static int32_t draw_gene(const simulation *s, uint64_t *state) {
  uint64_t random = next_random(state);
  int64_t gene = (int64_t)((random >> 32) * (uint64_t)s->n_genes >> 32);
  return (double)(random & 0xffffffffU) * 0x1p-32 < s->keep[gene] ? (int32_t)gene : s->other[gene];
}

/* ---- Cells ------------------------------------------------------------------ */

/* Draws a cell: counts[n_genes] and a bit per gene that has any. Both are zero before. */
static void draw_cell(const simulation *s, int64_t cell, uint32_t *counts, uint64_t *present) {
  uint64_t state = stream_of(s->seed, 2, cell);
  int64_t n = poisson(s->depth * exponential(DEPTH_SIGMA * normal(&state)), &state);
  for (int64_t i = 0; i < n; i++) {
    int32_t gene = draw_gene(s, &state);
    counts[gene]++;
    present[gene / 64] |= (uint64_t)1 << (gene % 64);
  }
}

/* Moves the counts of a cell out, in the order of the genes (or only counts the genes, for
 * indices NULL), and leaves zeros. */
static int64_t collect_cell(const simulation *s, uint32_t *counts, uint64_t *present, int32_t *indices,
                            float *data) {
  int64_t n = 0;
  for (int64_t word = 0; word * 64 < s->n_genes; word++) {
    for (uint64_t bits = present[word]; bits; bits &= bits - 1, n++) {
      int64_t gene = word * 64 + __builtin_ctzll(bits);
      if (indices) {
        indices[n] = (int32_t)gene;
        data[n] = (float)counts[gene];
      }
      counts[gene] = 0;
    }
    present[word] = 0;
  }
  return n;
}

/* One pass over all cells: lengths into indptr[cell + 1], or the values. */
static bool draw_cells(const simulation *s, int threads, int64_t *indptr, int32_t *indices, float *data) {
  bool failed = false;
#pragma omp parallel num_threads(threads) shared(failed)
  {
    uint32_t *counts = calloc((size_t)s->n_genes, sizeof *counts);
    uint64_t *present = calloc((size_t)(s->n_genes / 64 + 1), sizeof *present);
    if (!counts || !present) {
#pragma omp atomic write
      failed = true;
    }
#pragma omp barrier
#pragma omp for schedule(dynamic, 64)
    for (int64_t cell = 0; cell < s->n_cells; cell++) {
      if (failed)
        continue;
      draw_cell(s, cell, counts, present);
      if (indices)
        collect_cell(s, counts, present, indices + indptr[cell], data + indptr[cell]);
      else
        indptr[cell + 1] = collect_cell(s, counts, present, NULL, NULL);
    }
    free(counts);
    free(present);
  }
  return !failed;
}

/* The matrix, in two passes of the same draws, since its size is known only after the first. */
static bool simulate(const simulation *s, int threads, csrn_io_matrix *matrix) {
  int64_t *indptr = calloc((size_t)s->n_cells + 1, sizeof *indptr);
  matrix->csr = (csrn_csr){.n_rows = s->n_cells,
                           .n_cols = s->n_genes,
                           .indptr = indptr,
                           .indptr_type = CSRN_I64,
                           .indices_type = CSRN_I32,
                           .data_type = CSRN_F32};
  matrix->cells = CSRN_PER_ROW;
  if (!indptr || !draw_cells(s, threads, indptr, NULL, NULL))
    return false;
  for (int64_t cell = 0; cell < s->n_cells; cell++)
    indptr[cell + 1] += indptr[cell];
  matrix->csr.nnz = indptr[s->n_cells];
  int32_t *indices = malloc((size_t)matrix->csr.nnz * sizeof *indices + 1);
  float *data = malloc((size_t)matrix->csr.nnz * sizeof *data + 1);
  matrix->csr.indices = indices;
  matrix->csr.data = data;
  return indices && data && draw_cells(s, threads, indptr, indices, data);
}

/* ---- The command ------------------------------------------------------------ */

static void print_report(const cli_session *session, const csrn_io_output *output, const simulation *s,
                         int64_t nnz) {
  if (cli_flag(session->arguments, "json")) {
    cli_json json = {.stream = stdout};
    cli_json_open(&json, NULL, '{');
    cli_json_string(&json, "output", output->path);
    cli_json_integer(&json, "n_cells", s->n_cells);
    cli_json_integer(&json, "n_genes", s->n_genes);
    cli_json_integer(&json, "nnz", nnz);
    cli_json_integer(&json, "seed", s->seed);
    cli_json_close(&json, '}');
  } else if (!cli_flag(session->arguments, "quiet")) {
    printf("%s: %" PRId64 " cells x %" PRId64 " genes, %" PRId64 " values, seed %" PRId64 "\n", output->path,
           s->n_cells, s->n_genes, nnz, s->seed);
  }
}

static int run(cli_session *session, simulation *s, const csrn_io_output *output, csrn_io_matrix *matrix) {
  csrn_io_status status = csrn_io_output_check(NULL, output, &session->error);
  if (status)
    return cli_session_fail(session, status);
  if (!make_genes(s) || !simulate(s, csrn_context_threads(session->ctx), matrix))
    return cli_fail(session->arguments, "out of memory");
  status = csrn_io_write(NULL, matrix, output, &session->progress, &session->error);
  if (status)
    return cli_session_fail(session, status);
  print_report(session, output, s, matrix->csr.nnz);
  return CLI_OK;
}

int cli_simulate(const cli_arguments *arguments) {
  simulation s = {.n_cells = 1000, .n_genes = 20000, .depth = 5000};
  csrn_io_output output = {.path = cli_value(arguments, "output"), .force = cli_flag(arguments, "force")};
  csrn_io_matrix matrix = {0};
  cli_session session;
  if (!cli_integer(arguments, "cells", 0, INT32_MAX, &s.n_cells) ||
      !cli_integer(arguments, "genes", 1, INT32_MAX, &s.n_genes) ||
      !cli_integer(arguments, "seed", 0, INT64_MAX, &s.seed) || !cli_real(arguments, "depth", &s.depth) ||
      !cli_compression(arguments, &output))
    return CLI_USAGE;
  if (!output.path)
    return cli_usage(arguments, "--output is missing");
  if (!(s.depth > 0 && s.depth <= 1e9))
    return cli_usage(arguments, "--depth is %g; expected a number above 0, at most 1e9", s.depth);
  int code = cli_session_begin(&session, arguments);
  if (!code)
    output.threads = csrn_context_threads(session.ctx);
  if (!code)
    code = run(&session, &s, &output, &matrix);
  csrn_io_matrix_free(&matrix);
  free(s.keep);
  free(s.other);
  cli_session_end(&session);
  return code;
}
