/*
 * The operations that `csrnorm bench` measures, one entry of a table each: what it is
 * called, what it must move at the floor, what it runs, and what checks its result. A
 * new operation is a new line.
 *
 * The rooflines are the plainest loops over the same array with the same threads: they
 * say what the memory gives. They are compiled for the baseline instruction set on
 * purpose, so that one number serves every instruction set; wider ones are no faster
 * at this.
 */
#include "bench.h"

#include <omp.h>
#include <string.h>

/* ---- Rooflines (CPU) ----------------------------------------------------- */

/* Seen by the compiler as unknown: no multiplication by it can be left out. */
static volatile float one = 1;
static volatile double sink;

/* Multiplies reals by 1 and adds 0 to integers (whose bits, taken as floats, would be denormal and slow). */
static void scale_bytes(void *array, size_t bytes, csrn_dtype type) {
  float factor = one;
  uint32_t zero = factor == 1 ? 0 : 1;
  if (type == CSRN_F32) {
    float *x = array;
    for (size_t i = 0; i < bytes / sizeof *x; i++)
      x[i] *= factor;
  } else if (type == CSRN_F64) {
    double *x = array;
    for (size_t i = 0; i < bytes / sizeof *x; i++)
      x[i] *= (double)factor;
  } else {
    uint32_t *x = array;
    for (size_t i = 0; i < bytes / sizeof *x; i++)
      x[i] += zero;
  }
}

/* Sums 32-bit words in as many lanes as keep the adders busy without regard to order. */
static double sum_bytes(const void *array, size_t bytes, csrn_dtype type) {
  enum { LANES = 64 };
  size_t n = bytes / 4, i = 0;
  double total = 0;
  if (type == CSRN_F32 || type == CSRN_F64) {
    const float *x = array;
    float lane[LANES] = {0};
    for (; i + LANES <= n; i += LANES)
      for (int l = 0; l < LANES; l++)
        lane[l] += x[i + (size_t)l];
    for (int l = 0; l < LANES; l++)
      total += (double)lane[l];
  } else {
    const uint32_t *x = array;
    uint32_t lane[LANES] = {0};
    for (; i + LANES <= n; i += LANES)
      for (int l = 0; l < LANES; l++)
        lane[l] += x[i + (size_t)l];
    for (int l = 0; l < LANES; l++)
      total += lane[l];
  }
  return total;
}

/* The part of thread t of `parts`, in whole cache lines. */
static size_t part_begin(size_t bytes, int t, int parts) {
  return t == parts ? bytes : bytes / 64 * (size_t)t / (size_t)parts * 64;
}

static csrn_status run_roofline_scale(bench_run *run) {
  size_t bytes = (size_t)run->whole.nnz * csrn_dtype_size(run->whole.data_type);
#pragma omp parallel num_threads(run->threads)
  {
    int t = omp_get_thread_num(), parts = omp_get_num_threads();
    size_t begin = part_begin(bytes, t, parts), end = part_begin(bytes, t + 1, parts);
    scale_bytes((char *)run->work + begin, end - begin, run->whole.data_type);
  }
  return CSRN_OK;
}

static csrn_status run_roofline_sum(bench_run *run) {
  size_t bytes = (size_t)run->whole.nnz * csrn_dtype_size(run->whole.data_type);
  double total = 0;
#pragma omp parallel num_threads(run->threads) reduction(+ : total)
  {
    int t = omp_get_thread_num(), parts = omp_get_num_threads();
    size_t begin = part_begin(bytes, t, parts), end = part_begin(bytes, t + 1, parts);
    total += sum_bytes((const char *)run->whole.data + begin, end - begin, run->whole.data_type);
  }
  sink = total;
  return CSRN_OK;
}

/* For a backend whose memory this program cannot touch: its own copy from one array to another. Each is
 * complete on return. */
static csrn_status run_roofline_copy(bench_run *run) {
  return csrn_buffer_copy(run->ctx, run->work, run->whole.data,
                          (size_t)run->whole.nnz * csrn_dtype_size(run->whole.data_type));
}

/* ---- Operations of the library ------------------------------------------- */

static csrn_status run_row_sums(bench_run *run) {
  return csrn_axis_sum(run->ctx, &run->A, CSRN_PER_ROW, run->row_sums, CSRN_F64);
}

static csrn_status run_column_sums(bench_run *run) {
  return csrn_axis_sum(run->ctx, &run->A, CSRN_PER_COLUMN, run->column_sums, CSRN_F64);
}

static csrn_status run_row_scale(bench_run *run) {
  return csrn_axis_scale(run->ctx, &run->A, CSRN_PER_ROW, CSRN_DIVIDE, run->row_factors, run->out_type,
                         CSRN_ZERO_AS_ONE, run->out, run->out_type);
}

static csrn_status run_column_scale(bench_run *run) {
  return csrn_axis_scale(run->ctx, &run->A, CSRN_PER_COLUMN, CSRN_DIVIDE, run->column_factors, run->out_type,
                         CSRN_ZERO_AS_ONE, run->out, run->out_type);
}

static csrn_status run_median(bench_run *run) {
  return csrn_median_positive(run->ctx, run->totals, run->A.n_rows, run->median);
}

static csrn_status run_highly_expressed(bench_run *run) {
  return csrn_highly_expressed(run->ctx, &run->A, CSRN_PER_ROW, run->max_fraction, run->mask);
}

static csrn_status run_normalize(bench_run *run) {
  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.axis = run->op->per_column ? CSRN_PER_COLUMN : CSRN_PER_ROW;
  options.target = run->op->target;
  options.target_sum = run->target_sum;
  options.exclude_highly_expressed = run->op->exclude;
  options.max_fraction = run->max_fraction;
  options.log1p = run->op->log1p;
  return csrn_normalize_total(run->ctx, &run->A, &options, run->out, run->out_type, run->factors, NULL);
}

static csrn_status run_log1p(bench_run *run) {
  return csrn_log1p(run->ctx, &run->A, 0, run->out, run->out_type);
}

static csrn_status run_check(bench_run *run) {
  return csrn_csr_check(run->ctx, &run->A);
}

/* ---- The table ----------------------------------------------------------- */

#define ROOFLINE .roofline = true, .cpu = true, .reference = "", .check = bench_check_unchanged
#define ROWS     .axis = "row", .cpu = true, .device = true
#define COLUMNS  .axis = "column", .cpu = true, .device = true, .per_column = true
#define VALUES   .input = BENCH_INPUT_VALUES, .check = bench_check_values
#define REALS    .input = BENCH_INPUT_REALS, .check = bench_check_values
#define FIXED    .run = run_normalize, .divide = BENCH_DIVIDE_BY_TOTAL, .target = CSRN_TARGET_FIXED
#define LINK                                                                                                 \
  .roofline = true, .device = true, .reference = "", .axis = "", .place = BENCH_PINNED, .waits = true,       \
  .run = bench_run_link, .check = bench_check_unchanged
#define THROUGH                                                                                              \
  .axis = "row", .device = true, .reads = 1, .writes = 1, .reference = "link_both",                          \
  .check = bench_check_values
#define MEDIAN .run = run_normalize, .divide = BENCH_DIVIDE_BY_TOTAL, .target = CSRN_TARGET_MEDIAN

const bench_operation bench_operations[] = {
    {"roofline_scale", ROOFLINE, .axis = "", .reads = 1, .writes = 1, .input = BENCH_INPUT_VALUES,
     .run = run_roofline_scale},
    {"roofline_sum", ROOFLINE, .axis = "", .reads = 1, .run = run_roofline_sum},
    {"roofline_copy", .roofline = true, .device = true, .waits = true, .reference = "", .axis = "",
     .reads = 1, .writes = 1, .run = run_roofline_copy, .check = bench_check_unchanged},
    {"link_up", LINK, .reads = 1},
    {"link_down", LINK, .writes = 1},
    {"link_both", LINK, .reads = 1, .writes = 1},
    {"row_sums", ROWS, .reads = 1, .run = run_row_sums, .check = bench_check_row_sums},
    {"row_scale", ROWS, VALUES, .reads = 1, .writes = 1, .run = run_row_scale, .divide = BENCH_DIVIDE_BY_ROW},
    {"column_sums", COLUMNS, .reads = 1, .index_reads = 1, .run = run_column_sums,
     .check = bench_check_column_sums},
    {"column_scale", COLUMNS, VALUES, .reads = 1, .writes = 1, .index_reads = 1, .run = run_column_scale,
     .divide = BENCH_DIVIDE_BY_COLUMN},
    {"median", ROWS, .per_row = true, .reads = 1, .reference = "", .run = run_median,
     .check = bench_check_median},
    {"normalize_fixed", ROWS, VALUES, FIXED, .reads = 1, .writes = 1},
    {"normalize_median", ROWS, VALUES, MEDIAN, .reads = 2, .writes = 1},
    {"normalize_fixed_log1p", ROWS, VALUES, FIXED, .reads = 1, .writes = 1, .log1p = true,
     .reference_of_reals = "normalize_fixed_log1p_cached"},
    {"normalize_median_log1p", ROWS, VALUES, MEDIAN, .reads = 2, .writes = 1, .log1p = true},
    {"normalize_fixed_excluding", ROWS, VALUES, FIXED, .reads = 2, .writes = 1, .index_reads = 1,
     .exclude = true},
    {"normalize_median_excluding", ROWS, VALUES, MEDIAN, .reads = 3, .writes = 1, .index_reads = 1,
     .exclude = true},
    {"normalize_columns_median", COLUMNS, VALUES, MEDIAN, .reads = 2, .writes = 1, .index_reads = 2},
    {"highly_expressed", ROWS, .reads = 1, .run = run_highly_expressed, .check = bench_check_mask},
    {"log1p", ROWS, VALUES, .reads = 1, .writes = 1, .run = run_log1p, .log1p = true,
     .reference_of_reals = "log1p_reals_cached"},
    {"log1p_reals", ROWS, REALS, .reads = 1, .writes = 1, .run = run_log1p, .log1p = true,
     .reference = "log1p_reals_cached"},
    {"log1p_reals_cached", ROWS, REALS, .reads = 1, .writes = 1, .run = run_log1p, .log1p = true,
     .cached = true, .reference = ""},
    {"normalize_fixed_log1p_cached", ROWS, VALUES, FIXED, .reads = 1, .writes = 1, .log1p = true,
     .cached = true, .reference = ""},
    /* From host to host through a device: every value travels once each way, for the median too. */
    {"pinned_normalize_fixed", THROUGH, FIXED, .place = BENCH_PINNED},
    {"pinned_normalize_fixed_log1p", THROUGH, FIXED, .place = BENCH_PINNED, .log1p = true},
    {"pinned_normalize_median_log1p", THROUGH, MEDIAN, .place = BENCH_PINNED, .log1p = true},
    {"pageable_normalize_fixed_log1p", THROUGH, FIXED, .place = BENCH_PAGEABLE, .log1p = true},
    {"pageable_normalize_median_log1p", THROUGH, MEDIAN, .place = BENCH_PAGEABLE, .log1p = true},
    {"check", ROWS, .index_reads = 1, .run = run_check, .check = bench_check_unchanged},
};
const int bench_n_operations = sizeof bench_operations / sizeof *bench_operations;
