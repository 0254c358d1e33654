/*
 * Normalization in as few passes over the data as its target allows. A fixed target
 * needs one: a few rows are summed and divided while they are in cache. The median and
 * the mean need the totals of all rows first, and gene exclusion a pass that marks the
 * genes before the totals are taken without them.
 */
#include "cpu_internal.h"
#include "numerics.h"

#include <math.h>
#include <string.h>

/* Values of the rows that are summed and then divided together. Few, so that the sums of
 * the next rows already wait for memory while these are divided: of 256 to 65536 values
 * those up to 2048 came to 0.9 of the roofline on one core and larger ones to 0.72-0.83. */
enum { FUSED_NNZ = 1024 };

typedef struct normalizer {
  csrn_row_source source; /* of the totals */
  const csrn_normalize_plan *plan;
  csrn_transform how;
  double target;
  double max_fraction;
  const double *given; /* totals known already, or NULL */
  double *totals;      /* [rows] where they are to be kept, or NULL */
  uint8_t *mask;       /* [columns] to mark */
  csrn_tables *tables; /* [threads] for logarithms, or NULL */
  int64_t n_zero, n_negative, n_nonfinite;
  bool overflow;
} normalizer;

/* ---- Factors -------------------------------------------------------------- */

/* Factors and divisors of n cells from their totals, in the output type. */
#define DEFINE_DIVISORS(suffix, T)                                                                           \
  static void divisors_##suffix(const double *totals, int64_t n, double target, T *factors, T *divisors) {   \
    for (int64_t i = 0; i < n; i++) {                                                                        \
      T factor = isnan(target) ? (T)0 : csrn_factor_##suffix(totals[i], target);                             \
      divisors[i] = csrn_divisor_##suffix(factor);                                                           \
      if (factors)                                                                                           \
        factors[i] = factor;                                                                                 \
    }                                                                                                        \
  }

DEFINE_DIVISORS(f32, float)
DEFINE_DIVISORS(f64, double)
#undef DEFINE_DIVISORS

/* Whether all totals are positive and finite, seen by their bits, since that takes no
 * comparison of doubles. */
static bool are_ordinary(const double *totals, int64_t n) {
  const uint64_t infinity = (uint64_t)0x7ff << 52;
  bool ordinary = true;
  for (int64_t i = 0; i < n; i++) {
    uint64_t bits;
    memcpy(&bits, totals + i, sizeof bits);
    ordinary &= bits - 1 < infinity - 1;
  }
  return ordinary;
}

static void count_cells(normalizer *work, const double *totals, int64_t n) {
  if (are_ordinary(totals, n))
    return;
  int64_t zero = 0, negative = 0, nonfinite = 0;
  for (int64_t i = 0; i < n; i++) {
    zero += totals[i] == 0.0;
    negative += totals[i] < 0.0;
    nonfinite += !isfinite(totals[i]);
  }
  if (zero)
    __atomic_fetch_add(&work->n_zero, zero, __ATOMIC_RELAXED);
  if (negative)
    __atomic_fetch_add(&work->n_negative, negative, __ATOMIC_RELAXED);
  if (nonfinite)
    __atomic_fetch_add(&work->n_nonfinite, nonfinite, __ATOMIC_RELAXED);
}

/* Writes the factors of the cells [first, first + n) where they are wanted, and their
 * divisors to `divisors`. */
static void finish_totals(normalizer *work, const double *totals, int64_t first, int64_t n, void *divisors) {
  const csrn_normalize_plan *plan = work->plan;
  count_cells(work, totals, n);
  if (plan->out_type == CSRN_F32)
    divisors_f32(totals, n, work->target, plan->factors ? (float *)plan->factors + first : NULL, divisors);
  else
    divisors_f64(totals, n, work->target, plan->factors ? (double *)plan->factors + first : NULL, divisors);
}

/* ---- Cells in rows -------------------------------------------------------- */

static void note_overflow(normalizer *work, bool fits) {
  if (!fits)
    __atomic_store_n(&work->overflow, true, __ATOMIC_RELAXED);
}

static void divide_batch(void *arg, int thread, int64_t row, int64_t n, const int64_t *indptr) {
  normalizer *work = arg;
  const csrn_csr *A = work->source.A;
  double totals[CSRN_BATCH_ROWS], divisors[CSRN_BATCH_ROWS];
  const double *known = work->given ? work->given + row : totals;
  if (!work->given)
    note_overflow(work, csrn_cpu_sum_batch(&work->source, indptr, n, totals, CSRN_F64));
  finish_totals(work, known, row, n, divisors);
  work->source.ctx->kernels->transform_rows[A->data_type](
      &work->how, work->tables ? work->tables + thread : NULL, A->data, indptr, n, divisors, work->plan->out);
}

static void divide_giant(void *arg, int64_t row, int64_t begin, int64_t end) {
  normalizer *work = arg;
  double total, divisor;
  if (work->given)
    total = work->given[row];
  else
    note_overflow(work, csrn_cpu_sum_giant(&work->source, begin, end, &total, CSRN_F64));
  finish_totals(work, &total, row, 1, &divisor);
  const csrn_element_work elements = {.ctx = work->source.ctx,
                                      .A = work->source.A,
                                      .axis = CSRN_PER_ROW,
                                      .how = work->how,
                                      .factors = &divisor,
                                      .out = work->plan->out};
  csrn_cpu_transform(&elements, begin, end);
}

static void divide_rows(normalizer *work) {
  const csrn_csr *A = work->source.A;
  const int threads = csrn_cpu_threads_for(work->source.ctx, A->nnz + A->n_rows); /* at most */
  work->how.target = work->target;
  for (int k = 0; work->tables && k < threads; k++) {
    work->tables[k].balance = CSRN_TABLES_CREDIT;
    memset(work->tables[k].divisors, 0, sizeof work->tables[k].divisors);
  }
  const csrn_row_work rows = {work->source.ctx, A,   work->given ? 0 : FUSED_NNZ, divide_batch,
                              divide_giant,     work};
  csrn_cpu_rows(&rows);
}

/* ---- Marking highly expressed genes: cells in rows ------------------------- */

static void mark_range(const normalizer *work, const int64_t *indptr, int64_t n, const double *totals) {
  const csrn_csr *A = work->source.A;
  const csrn_kernels *kernels = work->source.ctx->kernels;
  double thresholds[CSRN_BATCH_ROWS];
  for (int64_t i = 0; i < n; i++)
    thresholds[i] = work->max_fraction * totals[i];
  kernels->mark_columns[A->data_type][csrn_cpu_index_type(A)](A->data, A->indices, indptr, n, thresholds,
                                                              work->mask);
}

static void mark_batch(void *arg, int thread, int64_t row, int64_t n, const int64_t *indptr) {
  (void)thread;
  normalizer *work = arg;
  double totals[CSRN_BATCH_ROWS];
  note_overflow(work, csrn_cpu_sum_batch(&work->source, indptr, n, totals, CSRN_F64));
  mark_range(work, indptr, n, totals);
  if (work->totals)
    memcpy(work->totals + row, totals, (size_t)n * sizeof *totals);
}

typedef struct giant_mark {
  const normalizer *work;
  double total;
} giant_mark;

static void mark_piece(void *arg, int thread, int64_t begin, int64_t end) {
  (void)thread;
  const giant_mark *giant = arg;
  const int64_t indptr[2] = {begin, end};
  mark_range(giant->work, indptr, 1, &giant->total);
}

static void mark_giant(void *arg, int64_t row, int64_t begin, int64_t end) {
  normalizer *work = arg;
  giant_mark giant = {work, 0.0};
  note_overflow(work, csrn_cpu_sum_giant(&work->source, begin, end, &giant.total, CSRN_F64));
  const csrn_piece_work pieces = {work->source.ctx, mark_piece, &giant};
  csrn_cpu_pieces(&pieces, begin, end);
  if (work->totals)
    work->totals[row] = giant.total;
}

static void mark_by_rows(normalizer *work) {
  memset(work->mask, 0, (size_t)work->source.A->n_cols);
  const csrn_row_work rows = {work->source.ctx, work->source.A, FUSED_NNZ, mark_batch, mark_giant, work};
  csrn_cpu_rows(&rows);
}

/* ---- Marking highly expressed genes: cells in columns ---------------------- */

typedef struct row_marks {
  csrn_context *ctx;
  const csrn_csr *A;
  const double *thresholds; /* [n_cols] */
  uint8_t *mask;            /* [n_rows] */
} row_marks;

static void mark_rows_range(const row_marks *work, int64_t row, int64_t n, const int64_t *indptr) {
  const csrn_csr *A = work->A;
  const csrn_kernels *kernels = work->ctx->kernels;
  kernels->mark_rows[A->data_type][csrn_cpu_index_type(A)](A->data, A->indices, indptr, n, work->thresholds,
                                                           work->mask + row);
}

static void mark_rows_batch(void *arg, int thread, int64_t row, int64_t n, const int64_t *indptr) {
  (void)thread;
  mark_rows_range(arg, row, n, indptr);
}

static void mark_rows_giant(void *arg, int64_t row, int64_t begin, int64_t end) {
  const int64_t indptr[2] = {begin, end};
  mark_rows_range(arg, row, 1, indptr);
}

/* `totals` [n_cols] become the thresholds. */
static void mark_by_columns(csrn_context *ctx, const csrn_csr *A, double max_fraction, double *totals,
                            uint8_t *mask) {
  for (int64_t c = 0; c < A->n_cols; c++)
    totals[c] *= max_fraction;
  memset(mask, 0, (size_t)A->n_rows);
  row_marks work = {ctx, A, totals, mask};
  const csrn_row_work rows = {ctx, A, 0, mark_rows_batch, mark_rows_giant, &work};
  csrn_cpu_rows(&rows);
}

/* ---- csrn_highly_expressed() ---------------------------------------------- */

csrn_status csrn_cpu_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                      double max_fraction, uint8_t *mask) {
  if (axis == CSRN_PER_COLUMN) {
    double *totals = csrn_cpu_scratch(ctx, CSRN_SLOT_TOTALS, (size_t)A->n_cols * sizeof *totals);
    if (!totals)
      return CSRN_OUT_OF_MEMORY;
    csrn_status status = csrn_cpu_column_sums(ctx, A, NULL, totals, CSRN_F64);
    if (status == CSRN_OK)
      mark_by_columns(ctx, A, max_fraction, totals, mask);
    return status;
  }
  if (!csrn_cpu_thread_scratch(ctx))
    return CSRN_OUT_OF_MEMORY;
  normalizer work = {.source = {ctx, A, NULL}, .max_fraction = max_fraction, .mask = mask};
  mark_by_rows(&work);
  return work.overflow ? csrn_cpu_overflow(ctx, "row", CSRN_F64) : CSRN_OK;
}

/* ---- csrn_normalize_total() and csrn_normalize_with() ---------------------- */

static csrn_status find_target(csrn_context *ctx, const csrn_normalize_plan *plan, const double *totals,
                               int64_t n, double *target) {
  switch (plan->options.target) {
  case CSRN_TARGET_FIXED:
    *target = plan->options.target_sum;
    return CSRN_OK;
  case CSRN_TARGET_MEAN:
    return csrn_cpu_mean(ctx, totals, n, target);
  default:
    return csrn_cpu_median(ctx, totals, n, target);
  }
}

static int64_t count_marks(const uint8_t *mask, int64_t n) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++)
    count += mask[i];
  return count;
}

static void write_report(const normalizer *work, int64_t n_excluded) {
  if (!work->plan->report)
    return;
  const csrn_normalize_report report = {.target = work->target,
                                        .n_zero = work->n_zero,
                                        .n_negative = work->n_negative,
                                        .n_nonfinite = work->n_nonfinite,
                                        .n_excluded = n_excluded};
  *work->plan->report = report;
}

/* Whether rows are so short on average that tables of logarithms are kept from row to row. */
static bool keeps_tables(const csrn_csr *A, const csrn_normalize_options *options) {
  return options->log1p && options->axis == CSRN_PER_ROW && A->nnz / CSRN_KEEPS_TABLES_BELOW < A->n_rows;
}

/* What a call needs is allocated before anything is written. */
static csrn_status allocate(normalizer *work) {
  const csrn_normalize_plan *plan = work->plan;
  const csrn_normalize_options *options = &plan->options;
  const csrn_csr *A = work->source.A;
  csrn_context *ctx = work->source.ctx;
  const bool columns = options->axis == CSRN_PER_COLUMN;
  const size_t n = (size_t)(columns ? A->n_cols : A->n_rows);
  const size_t n_genes = (size_t)(columns ? A->n_rows : A->n_cols);
  work->mask = options->excluded;
  if (!csrn_cpu_thread_scratch(ctx))
    return CSRN_OUT_OF_MEMORY;
  if (!plan->totals && options->exclude_highly_expressed && !work->mask) {
    work->mask = csrn_cpu_scratch(ctx, CSRN_SLOT_MASK, n_genes);
    if (!work->mask)
      return CSRN_OUT_OF_MEMORY;
  }
  if (!plan->totals && options->exclude_highly_expressed &&
      !csrn_cpu_scratch(ctx, CSRN_SLOT_BITS, csrn_cpu_bits_bytes(A->n_cols)))
    return CSRN_OUT_OF_MEMORY;
  const bool fused = !columns && options->target == CSRN_TARGET_FIXED && !options->exclude_highly_expressed;
  if (!plan->totals && !fused) {
    work->totals = csrn_cpu_scratch(ctx, CSRN_SLOT_TOTALS, n * sizeof *work->totals);
    if (!work->totals)
      return CSRN_OUT_OF_MEMORY;
  }
  if (keeps_tables(A, options)) {
    work->tables = csrn_cpu_scratch(ctx, CSRN_SLOT_TABLES, csrn_cpu_table_bytes(ctx));
    if (!work->tables)
      return CSRN_OUT_OF_MEMORY;
  }
  if (columns && !csrn_cpu_scratch(ctx, CSRN_SLOT_FACTORS, n * sizeof(double)))
    return CSRN_OUT_OF_MEMORY;
  if (columns && !plan->totals &&
      !csrn_cpu_scratch(ctx, CSRN_SLOT_COLUMNS, csrn_cpu_column_bytes(ctx, A->n_cols)))
    return CSRN_OUT_OF_MEMORY;
  return CSRN_OK;
}

/* The totals of the rows, without the marked genes if any are. Leaves work->given NULL
 * where the last pass can still take them itself. */
static csrn_status row_totals(normalizer *work, int64_t *n_excluded) {
  const csrn_row_source *source = &work->source;
  const csrn_normalize_options *options = &work->plan->options;
  const bool fixed = options->target == CSRN_TARGET_FIXED;
  if (options->exclude_highly_expressed) {
    mark_by_rows(work);
    *n_excluded = count_marks(work->mask, source->A->n_cols);
    work->source.excluded =
        *n_excluded ? csrn_cpu_mask_bits(source->ctx, work->mask, source->A->n_cols) : NULL;
    work->given = *n_excluded ? NULL : work->totals;
  }
  if (work->overflow)
    return csrn_cpu_overflow(source->ctx, "row", CSRN_F64);
  if (fixed || work->given)
    return CSRN_OK;
  work->given = work->totals;
  return csrn_cpu_row_sums(source->ctx, source->A, *n_excluded ? work->mask : NULL, work->totals, CSRN_F64);
}

static csrn_status normalize_rows(normalizer *work, int64_t *n_excluded) {
  csrn_context *ctx = work->source.ctx;
  csrn_status status = CSRN_OK;
  if (!work->given) {
    status = row_totals(work, n_excluded);
    if (status == CSRN_OK)
      status = find_target(ctx, work->plan, work->totals, work->source.A->n_rows, &work->target);
  }
  if (status)
    return status;
  divide_rows(work);
  return work->overflow ? csrn_cpu_overflow(ctx, "row", CSRN_F64) : CSRN_OK;
}

static csrn_status column_totals(normalizer *work, int64_t *n_excluded) {
  csrn_context *ctx = work->source.ctx;
  const csrn_csr *A = work->source.A;
  const csrn_normalize_options *options = &work->plan->options;
  csrn_status status = csrn_cpu_column_sums(ctx, A, NULL, work->totals, CSRN_F64);
  if (status == CSRN_OK && options->exclude_highly_expressed) {
    mark_by_columns(ctx, A, options->max_fraction, work->totals, work->mask);
    *n_excluded = count_marks(work->mask, A->n_rows);
    status = csrn_cpu_column_sums(ctx, A, work->mask, work->totals, CSRN_F64);
  }
  work->given = work->totals;
  return status;
}

static csrn_status normalize_columns(normalizer *work, int64_t *n_excluded) {
  csrn_context *ctx = work->source.ctx;
  const csrn_csr *A = work->source.A;
  if (!work->given) {
    csrn_status status = column_totals(work, n_excluded);
    if (status == CSRN_OK)
      status = find_target(ctx, work->plan, work->totals, A->n_cols, &work->target);
    if (status)
      return status;
  }
  void *divisors = csrn_cpu_scratch(ctx, CSRN_SLOT_FACTORS, (size_t)A->n_cols * sizeof(double));
  finish_totals(work, work->given, 0, A->n_cols, divisors);
  const csrn_element_work elements = {.ctx = ctx,
                                      .A = A,
                                      .axis = CSRN_PER_COLUMN,
                                      .how = work->how,
                                      .factors = divisors,
                                      .out = work->plan->out};
  csrn_cpu_transform(&elements, csrn_cpu_offset(A, 0), csrn_cpu_offset(A, A->n_rows));
  return CSRN_OK;
}

csrn_status csrn_cpu_normalize(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan) {
  const csrn_normalize_options *options = &plan->options;
  normalizer work = {
      .source = {ctx, A, NULL},
      .plan = plan,
      .how = csrn_cpu_log_transform(CSRN_STEP_DIVIDE, plan->out_type, options->log1p, options->log_base),
      .target = plan->totals ? *plan->target : 0.0,
      .max_fraction = options->max_fraction,
      .given = plan->totals,
  };
  int64_t n_excluded = 0;
  csrn_status status = allocate(&work);
  if (status)
    return status;
  if (options->excluded && !options->exclude_highly_expressed)
    memset(options->excluded, 0, (size_t)(options->axis == CSRN_PER_ROW ? A->n_cols : A->n_rows));
  status = options->axis == CSRN_PER_COLUMN ? normalize_columns(&work, &n_excluded)
                                            : normalize_rows(&work, &n_excluded);
  if (status == CSRN_OK)
    write_report(&work, n_excluded);
  return status;
}
