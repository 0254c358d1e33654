/*
 * Row sums, scaling and log1p: the operations that are one walk over the rows or
 * elements, and the parts of them that normalization is made of.
 */
#include "cpu_internal.h"
#include "numerics.h"

#include <math.h>
#include <string.h>

/* ---- Sums ----------------------------------------------------------------- */

csrn_dtype csrn_cpu_index_type(const csrn_csr *A) {
  if (A->indices_type == CSRN_U64)
    return CSRN_I64;
  if (A->indices_type == CSRN_U32 && A->n_cols <= INT32_MAX)
    return CSRN_I32;
  return A->indices_type;
}

bool csrn_cpu_is_real(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

bool csrn_cpu_store_sum(csrn_wide sum, csrn_dtype data_type, csrn_dtype sums_type, void *sums, int64_t i) {
  bool is_signed = data_type == CSRN_I32 || data_type == CSRN_I64;
  csrn_wide lowest = is_signed ? INT64_MIN : 0;
  csrn_wide highest = is_signed ? (csrn_wide)INT64_MAX : (csrn_wide)UINT64_MAX;
  bool fits = sum >= lowest && sum <= highest;
  if (sums_type == CSRN_F64) {
    ((double *)sums)[i] = is_signed ? (double)(int64_t)sum : (double)(uint64_t)sum;
  } else if (sums_type == CSRN_I64) {
    fits = fits && sum <= INT64_MAX;
    ((int64_t *)sums)[i] = (int64_t)sum;
  } else {
    fits = fits && sum >= 0;
    ((uint64_t *)sums)[i] = (uint64_t)sum;
  }
  return fits;
}

/* Sums of n rows as the kernels give them: double, or csrn_wide for integers. */
static void raw_sums(const csrn_row_source *source, const int64_t *indptr, int64_t n, void *sums) {
  const csrn_csr *A = source->A;
  const csrn_kernels *kernels = source->ctx->kernels;
  if (source->excluded)
    kernels->row_sums_excluding[A->data_type][csrn_cpu_index_type(A)](A->data, A->indices, source->excluded,
                                                                      indptr, n, sums);
  else
    kernels->row_sums[A->data_type](A->data, indptr, n, sums);
}

bool csrn_cpu_sum_batch(const csrn_row_source *source, const int64_t *indptr, int64_t n, void *sums,
                        csrn_dtype sums_type) {
  const csrn_dtype type = source->A->data_type;
  if (csrn_cpu_is_real(type)) {
    raw_sums(source, indptr, n, sums);
    return true;
  }
  csrn_wide exact[CSRN_BATCH_ROWS];
  raw_sums(source, indptr, n, exact);
  bool fits = true;
  for (int64_t i = 0; i < n; i++)
    fits &= csrn_cpu_store_sum(exact[i], type, sums_type, sums, i);
  return fits;
}

/* ---- Giant rows ----------------------------------------------------------- */

typedef struct giant_blocks {
  const csrn_row_source *source;
  int64_t begin, end;
  csrn_wide *sums; /* [blocks], or as many doubles in the same memory */
} giant_blocks;

/* Blocks are rows to the kernel, which sums each as the whole row would. */
static void sum_blocks(void *arg, int thread, int n_threads) {
  const giant_blocks *blocks = arg;
  const bool real = csrn_cpu_is_real(blocks->source->A->data_type);
  int64_t first, last;
  csrn_cpu_range(blocks->end - blocks->begin, CSRN_BLOCK, thread, n_threads, &first, &last);
  for (int64_t i = first; i < last; i += CSRN_BLOCK) {
    const int64_t stop = last - i < CSRN_BLOCK ? last : i + CSRN_BLOCK;
    const int64_t indptr[2] = {blocks->begin + i, blocks->begin + stop};
    const int64_t k = i / CSRN_BLOCK;
    raw_sums(blocks->source, indptr, 1, real ? (void *)((double *)blocks->sums + k) : blocks->sums + k);
  }
}

bool csrn_cpu_sum_giant(const csrn_row_source *source, int64_t begin, int64_t end, void *sum,
                        csrn_dtype sums_type) {
  const int64_t stretch = (int64_t)CSRN_GIANT_BLOCKS * CSRN_BLOCK;
  const csrn_dtype type = source->A->data_type;
  csrn_wide *sums = csrn_cpu_giant_scratch(source->ctx);
  double real_sum = 0.0;
  csrn_wide exact_sum = 0;
  for (int64_t i = begin; i < end; i += stretch) {
    giant_blocks blocks = {source, i, end - i < stretch ? end : i + stretch, sums};
    int64_t n = (blocks.end - blocks.begin + CSRN_BLOCK - 1) / CSRN_BLOCK;
    csrn_cpu_parallel(source->ctx, csrn_cpu_threads_for(source->ctx, blocks.end - blocks.begin), sum_blocks,
                      &blocks);
    for (int64_t k = 0; k < n; k++) {
      if (csrn_cpu_is_real(type))
        real_sum += ((const double *)sums)[k];
      else
        exact_sum += sums[k];
    }
  }
  if (!csrn_cpu_is_real(type))
    return csrn_cpu_store_sum(exact_sum, type, sums_type, sum, 0);
  *(double *)sum = real_sum;
  return true;
}

/* ---- Row sums ------------------------------------------------------------- */

typedef struct row_sums {
  csrn_row_source source;
  char *sums; /* [n_rows] of sums_type, 8 bytes each */
  csrn_dtype sums_type;
  bool overflow;
} row_sums;

static void note_overflow(bool *overflow, bool fits) {
  if (!fits)
    __atomic_store_n(overflow, true, __ATOMIC_RELAXED);
}

static void row_sums_batch(void *arg, int thread, int64_t row, int64_t n, const int64_t *indptr) {
  (void)thread;
  row_sums *work = arg;
  note_overflow(&work->overflow,
                csrn_cpu_sum_batch(&work->source, indptr, n, work->sums + row * 8, work->sums_type));
}

static void row_sums_giant(void *arg, int64_t row, int64_t begin, int64_t end) {
  row_sums *work = arg;
  note_overflow(&work->overflow,
                csrn_cpu_sum_giant(&work->source, begin, end, work->sums + row * 8, work->sums_type));
}

size_t csrn_cpu_bits_bytes(int64_t n_cols) {
  return ((size_t)n_cols / 32 + 1) * sizeof(uint32_t);
}

const uint32_t *csrn_cpu_mask_bits(csrn_context *ctx, const uint8_t *mask, int64_t n_cols) {
  uint32_t *bits = csrn_cpu_scratch(ctx, CSRN_SLOT_BITS, csrn_cpu_bits_bytes(n_cols));
  if (!bits)
    return NULL;
  memset(bits, 0, csrn_cpu_bits_bytes(n_cols));
  for (int64_t c = 0; c < n_cols; c++)
    bits[c / 32] |= (uint32_t)(mask[c] != 0) << (c % 32);
  return bits;
}

csrn_status csrn_cpu_row_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded, void *sums,
                              csrn_dtype sums_type) {
  const uint32_t *bits = excluded ? csrn_cpu_mask_bits(ctx, excluded, A->n_cols) : NULL;
  if ((excluded && !bits) || !csrn_cpu_thread_scratch(ctx))
    return CSRN_OUT_OF_MEMORY;
  row_sums state = {.source = {ctx, A, bits}, .sums = sums, .sums_type = sums_type};
  const csrn_row_work work = {ctx, A, 0, row_sums_batch, row_sums_giant, &state};
  csrn_cpu_rows(&work);
  return state.overflow ? csrn_cpu_overflow(ctx, "row", sums_type) : CSRN_OK;
}

csrn_status csrn_cpu_overflow(csrn_context *ctx, const char *what, csrn_dtype sums_type) {
  return csrn_fail(ctx, CSRN_OVERFLOW, "the exact sum of a %s does not fit %s", what,
                   sums_type == CSRN_F64 ? "64 bits" : csrn_dtype_name(sums_type));
}

/* ---- Elements ------------------------------------------------------------- */

static void transform_piece(void *arg, int thread, int64_t begin, int64_t end) {
  (void)thread;
  const csrn_element_work *work = arg;
  const csrn_csr *A = work->A;
  const csrn_kernels *kernels = work->ctx->kernels;
  const int64_t indptr[2] = {begin, end};
  if (work->axis == CSRN_PER_ROW)
    kernels->transform_rows[A->data_type](&work->how, NULL, A->data, indptr, 1, work->factors, work->out);
  else
    kernels->transform_columns[A->data_type][csrn_cpu_index_type(A)](&work->how, A->data, A->indices, begin,
                                                                     end, work->factors, work->out);
}

void csrn_cpu_transform(const csrn_element_work *work, int64_t begin, int64_t end) {
  const csrn_piece_work pieces = {work->ctx, transform_piece, (void *)(uintptr_t)work};
  csrn_cpu_pieces(&pieces, begin, end);
}

/* ---- Scaling -------------------------------------------------------------- */

typedef struct scaling {
  csrn_element_work elements; /* without factors */
  const void *factors;        /* the caller's */
  csrn_dtype factors_type;
  bool zero_as_one;
} scaling;

/* The factors of n rows or columns in the type of the arithmetic. */
static void load_factors(const scaling *s, int64_t first, int64_t n, void *factors) {
  for (int64_t i = 0; i < n; i++) {
    double factor = s->factors_type == CSRN_F32 ? (double)((const float *)s->factors)[first + i]
                                                : ((const double *)s->factors)[first + i];
    if (s->zero_as_one)
      factor = csrn_divisor_f64(factor);
    if (s->elements.how.arithmetic == CSRN_IN_F32_TO_F32)
      ((float *)factors)[i] = (float)factor;
    else
      ((double *)factors)[i] = factor;
  }
}

static void scale_batch(void *arg, int thread, int64_t row, int64_t n, const int64_t *indptr) {
  (void)thread;
  const scaling *s = arg;
  const csrn_csr *A = s->elements.A;
  double factors[CSRN_BATCH_ROWS];
  load_factors(s, row, n, factors);
  s->elements.ctx->kernels->transform_rows[A->data_type](&s->elements.how, NULL, A->data, indptr, n, factors,
                                                         s->elements.out);
}

static void scale_giant(void *arg, int64_t row, int64_t begin, int64_t end) {
  const scaling *s = arg;
  double factor;
  load_factors(s, row, 1, &factor);
  csrn_element_work work = s->elements;
  work.factors = &factor;
  csrn_cpu_transform(&work, begin, end);
}

csrn_status csrn_cpu_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                void *out, csrn_dtype out_type) {
  scaling s = {.elements = {.ctx = ctx, .A = A, .axis = axis, .out = out},
               .factors = factors,
               .factors_type = factors_type,
               .zero_as_one = op == CSRN_DIVIDE && zeros == CSRN_ZERO_AS_ONE};
  s.elements.how.step = op == CSRN_MULTIPLY ? CSRN_STEP_MULTIPLY : CSRN_STEP_DIVIDE;
  s.elements.how.arithmetic = out_type == CSRN_F64       ? CSRN_IN_F64_TO_F64
                              : factors_type == CSRN_F64 ? CSRN_IN_F64_TO_F32
                                                         : CSRN_IN_F32_TO_F32;
  if (axis == CSRN_PER_ROW) {
    const csrn_row_work work = {ctx, A, 0, scale_batch, scale_giant, &s};
    csrn_cpu_rows(&work);
    return CSRN_OK;
  }
  void *column_factors = csrn_cpu_scratch(ctx, CSRN_SLOT_FACTORS, (size_t)A->n_cols * sizeof(double));
  if (!column_factors)
    return CSRN_OUT_OF_MEMORY;
  load_factors(&s, 0, A->n_cols, column_factors);
  s.elements.factors = column_factors;
  csrn_cpu_transform(&s.elements, csrn_cpu_offset(A, 0), csrn_cpu_offset(A, A->n_rows));
  return CSRN_OK;
}

csrn_status csrn_cpu_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                           csrn_dtype out_type) {
  const csrn_element_work work = {.ctx = ctx,
                                  .A = A,
                                  .axis = CSRN_PER_ROW,
                                  .how = csrn_cpu_log_transform(CSRN_STEP_NONE, out_type, true, base),
                                  .out = out};
  csrn_cpu_transform(&work, csrn_cpu_offset(A, 0), csrn_cpu_offset(A, A->n_rows));
  return CSRN_OK;
}

csrn_transform csrn_cpu_log_transform(csrn_step step, csrn_dtype out_type, bool log1p, double base) {
  csrn_transform how = {.arithmetic = out_type == CSRN_F64 ? CSRN_IN_F64_TO_F64 : CSRN_IN_F32_TO_F32,
                        .step = step,
                        .log1p = log1p,
                        .log_base = base != 0.0 ? log(base) : 0.0};
  return how;
}
