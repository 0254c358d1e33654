/*
 * Every public operation: validate, then one operation of the context's backend. This
 * is the only place that validates, so that a mistake is reported in the same words by
 * every backend, before anything is written.
 *
 * The checks of one call are chained in a struct check that remembers the first
 * failure. Operations run in the default floating-point mode, whatever the caller's is
 * (csrn_float_enter), so that flush-to-zero or another rounding never reach a result.
 */
#include "internal.h"

#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- The caller's floating-point mode ------------------------------------ */

static void float_enter(fenv_t *saved) {
  fegetenv(saved);
  fesetenv(FE_DFL_ENV);
}

static csrn_status float_leave(const fenv_t *saved, csrn_status status) {
  fesetenv(saved);
  return status;
}

/* ---- Checks --------------------------------------------------------------- */

/* An array of the call: where it lies, and whether it is written. */
typedef struct span {
  const char *name;
  const void *begin;
  uint64_t bytes;
  bool written;
} span;

enum { MAX_SPANS = 9 };

typedef struct check {
  csrn_context *ctx;
  csrn_status status;
  bool single; /* the arrays that follow are one number or report each */
  csrn_place place;
  span spans[MAX_SPANS];
  int n_spans;
} check;

#define FAIL(c, code, ...)                                                                                   \
  do {                                                                                                       \
    if (!(c)->status) {                                                                                      \
      csrn_fail((c)->ctx, code, __VA_ARGS__);                                                                \
      (c)->status = (code);                                                                                  \
    }                                                                                                        \
  } while (0)

/* `array` is one of the arrays of the call, by which an AUTO context finds the backend; c.ctx is the context
 * to use. */
static check check_begin(csrn_context *ctx, const void *array) {
  check c = {.ctx = ctx};
  csrn_context *routed = csrn_context_of(ctx, array, &c.status);
  if (!ctx)
    FAIL(&c, CSRN_INVALID_ARGUMENT, "ctx is NULL");
  if (routed)
    c.ctx = routed;
  return c;
}

static check check_begin_matrix(csrn_context *ctx, const csrn_csr *A) {
  return check_begin(ctx, A ? A->indptr : NULL);
}

/* The operations for arrays that lie where those of this call do. */
static const csrn_backend_ops *operations(const check *c) {
  const csrn_backend_ops *ops = c->ctx->ops;
  return c->place == CSRN_PLACE_HOST && ops->on_host ? ops->on_host : ops;
}

static bool is_float(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_F64;
}

static bool is_index(csrn_dtype type) {
  return csrn_dtype_size(type) > 0 && !is_float(type);
}

static bool is_data(csrn_dtype type) {
  return csrn_dtype_size(type) > 0 && type != CSRN_U64;
}

/* Registers an array of n elements; `optional` ones may be NULL. */
static void check_array(check *c, const char *name, const void *array, int64_t n, csrn_dtype type,
                        bool written, bool optional) {
  if (c->status)
    return;
  size_t size = csrn_dtype_size(type);
  if (!array) {
    if (!optional && n > 0)
      FAIL(c, CSRN_INVALID_ARGUMENT, "%s is NULL; expected an array of %" PRId64 " %s", name, n,
           csrn_dtype_name(type));
    return;
  }
  if ((uint64_t)n > (uint64_t)PTRDIFF_MAX / size)
    FAIL(c, CSRN_INVALID_ARGUMENT, "%s would have %" PRId64 " elements, more than memory can hold", name, n);
  if ((uintptr_t)array % size != 0)
    FAIL(c, CSRN_INVALID_ARGUMENT, "%s is at address %p, not aligned to its type %s", name, array,
         csrn_dtype_name(type));
  if (!c->status && n > 0 && c->ctx->ops->check_place)
    c->status = c->ctx->ops->check_place(c->ctx, name, array, c->single, &c->place);
#if defined(CSRNORM_WITH_CUDA)
  if (n > 0 && c->ctx->any_memory && csrn_cuda_owns(array))
    FAIL(c, CSRN_INVALID_ARGUMENT,
         "%s lies in device or managed memory; expected host memory, where A->indptr or values lie", name);
#endif
  c->spans[c->n_spans++] = (span){name, array, (uint64_t)n * size, written};
}

/* `allowed` are the types an argument may have, as a text for the message. */
static void check_type(check *c, const char *name, csrn_dtype type, bool valid, const char *allowed) {
  if (!valid)
    FAIL(c, CSRN_INVALID_ARGUMENT, "%s is %d (%s); expected %s", name, (int)type, csrn_dtype_name(type),
         allowed);
}

static void check_float_type(check *c, const char *name, csrn_dtype type) {
  check_type(c, name, type, is_float(type), "float32 or float64");
}

static void check_enum(check *c, const char *name, int value, int last) {
  if (value < 0 || value > last)
    FAIL(c, CSRN_INVALID_ARGUMENT, "%s is %d; expected 0 to %d", name, value, last);
}

/* Written arrays overlap nothing, but `out` may be A->data itself. */
static void check_overlaps(check *c, const csrn_csr *A, const void *out, csrn_dtype out_type) {
  for (int i = 0; i < c->n_spans && !c->status; i++) {
    const span *a = &c->spans[i];
    for (int j = 0; j < c->n_spans && a->written && a->bytes; j++) {
      const span *b = &c->spans[j];
      uintptr_t a0 = (uintptr_t)a->begin, b0 = (uintptr_t)b->begin;
      if (i == j || !b->bytes || a0 + a->bytes <= b0 || b0 + b->bytes <= a0)
        continue;
      bool in_place = A && out == A->data && a->begin == out && b->begin == out &&
                      csrn_dtype_size(out_type) == csrn_dtype_size(A->data_type) && j == 1;
      if (!in_place)
        FAIL(c, CSRN_INVALID_ARGUMENT, "%s overlaps %s; only working in place, with types of equal size, may",
             a->name, b->name);
    }
  }
}

static void check_fields(check *c, const csrn_csr *A, bool needs_indices, bool needs_data) {
  const struct {
    const char *name;
    int64_t value;
  } sizes[] = {{"n_rows", A->n_rows}, {"n_cols", A->n_cols}, {"nnz", A->nnz}};
  for (int i = 0; i < 3; i++)
    if (sizes[i].value < 0 || sizes[i].value == INT64_MAX)
      FAIL(c, CSRN_INVALID_ARGUMENT, "A->%s is %" PRId64 "; expected 0 to %" PRId64, sizes[i].name,
           sizes[i].value, INT64_MAX - 1);
  if (c->status)
    return;
  check_type(c, "A->indptr_type", A->indptr_type, is_index(A->indptr_type), "an integer type");
  if (needs_data)
    check_type(c, "A->data_type", A->data_type, is_data(A->data_type),
               "float32, float64, uint8, uint16, uint32, int32 or int64");
  if (needs_indices)
    check_type(c, "A->indices_type", A->indices_type, is_index(A->indices_type), "an integer type");
  check_array(c, "A->indptr", A->indptr, A->n_rows + 1, A->indptr_type, false, false);
  if (needs_data)
    check_array(c, "A->data", A->data, A->nnz, A->data_type, false, false);
  if (needs_indices || (A->indices && is_index(A->indices_type)))
    check_array(c, "A->indices", A->indices, A->nnz, A->indices_type, false, !needs_indices);
}

/* The matrix itself; its arrays become the first spans. Where data and indices are needed, so is scratch
 * memory for columns. */
static void check_matrix(check *c, const csrn_csr *A, bool needs_indices, bool needs_data) {
  if (!A)
    FAIL(c, CSRN_INVALID_ARGUMENT, "A is NULL");
  if (!c->status)
    check_fields(c, A, needs_indices, needs_data);
  if (!c->status && needs_indices && needs_data && A->n_cols > CSRN_MOST_COLUMNS)
    FAIL(c, CSRN_OUT_OF_MEMORY, "A->n_cols is %" PRId64 "; there is no scratch memory for so many columns",
         A->n_cols);
}

static void check_axis(check *c, csrn_axis axis) {
  check_enum(c, "axis", (int)axis, CSRN_PER_COLUMN);
}

/* The number of things there are one of per `axis`, and per the other axis. */
static int64_t axis_length(const csrn_csr *A, csrn_axis axis) {
  return axis == CSRN_PER_ROW ? A->n_rows : A->n_cols;
}

static int64_t other_length(const csrn_csr *A, csrn_axis axis) {
  return axis == CSRN_PER_ROW ? A->n_cols : A->n_rows;
}

/* Last, since it may wait for work on a device that the arrays in host memory come from, and costs O(n_rows):
 * indptr. True if the operation may run. */
static bool check_end(check *c, const csrn_csr *A, const void *out, csrn_dtype out_type) {
  check_overlaps(c, A, out, out_type);
  if (!c->status && operations(c) != c->ctx->ops)
    c->status = c->ctx->ops->synchronize(c->ctx);
  if (!c->status && A)
    c->status = operations(c)->check_rows(c->ctx, A);
  return !c->status;
}

static void check_base(check *c, const char *name, double base) {
  if (base != 0.0 && !(base > 0.0 && isfinite(base) && base != 1.0))
    FAIL(c, CSRN_INVALID_ARGUMENT, "%s is %g; expected 0 (natural) or a positive finite number other than 1",
         name, base);
}

static void check_fraction(check *c, const char *name, double fraction) {
  if (!(fraction >= 0.0 && fraction <= 1.0))
    FAIL(c, CSRN_INVALID_ARGUMENT, "%s is %g; expected a fraction from 0 to 1", name, fraction);
}

/* A target is divided by in the output type, and must be a number there. */
static void check_target(check *c, const char *name, double target, csrn_dtype out_type) {
  double rounded = out_type == CSRN_F32 ? (double)(float)target : target;
  if (!(rounded > 0.0 && isfinite(rounded)))
    FAIL(c, CSRN_INVALID_ARGUMENT, "%s is %g; expected a positive finite %s", name, target,
         csrn_dtype_name(out_type));
}

/* ---- Axis sums and scaling ------------------------------------------------ */

static csrn_status axis_sum(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const uint8_t *excluded,
                            void *sums, csrn_dtype sums_type) {
  check c = check_begin_matrix(ctx, A);
  check_axis(&c, axis);
  check_matrix(&c, A, axis == CSRN_PER_COLUMN || excluded, true);
  check_type(&c, "sums_type", sums_type,
             sums_type == CSRN_F64 || sums_type == CSRN_I64 || sums_type == CSRN_U64,
             "float64, int64 or uint64");
  if (!c.status && is_float(A->data_type) && sums_type != CSRN_F64)
    FAIL(&c, CSRN_INVALID_ARGUMENT, "sums_type is %s for %s data; expected float64",
         csrn_dtype_name(sums_type), csrn_dtype_name(A->data_type));
  if (!c.status) {
    check_array(&c, "sums", sums, axis_length(A, axis), sums_type, true, false);
    check_array(&c, "excluded", excluded, other_length(A, axis), CSRN_U8, false, true);
  }
  if (!check_end(&c, A, NULL, CSRN_NONE))
    return c.status;
  return operations(&c)->axis_sum(c.ctx, A, axis, excluded, sums, sums_type);
}

csrn_status csrn_axis_sum_excluding(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                    const uint8_t *excluded, void *sums, csrn_dtype sums_type) {
  fenv_t saved;
  float_enter(&saved);
  return float_leave(&saved, axis_sum(ctx, A, axis, excluded, sums, sums_type));
}

csrn_status csrn_axis_sum(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, void *sums,
                          csrn_dtype sums_type) {
  return csrn_axis_sum_excluding(ctx, A, axis, NULL, sums, sums_type);
}

static csrn_status axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                              const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros, void *out,
                              csrn_dtype out_type) {
  check c = check_begin_matrix(ctx, A);
  check_axis(&c, axis);
  check_enum(&c, "op", (int)op, CSRN_DIVIDE);
  check_enum(&c, "zeros", (int)zeros, CSRN_ZERO_AS_ONE);
  check_float_type(&c, "factors_type", factors_type);
  check_float_type(&c, "out_type", out_type);
  check_matrix(&c, A, axis == CSRN_PER_COLUMN, true);
  if (!c.status) {
    check_array(&c, "factors", factors, axis_length(A, axis), factors_type, false, false);
    check_array(&c, "out", out, A->nnz, out_type, true, false);
  }
  if (!check_end(&c, A, out, out_type))
    return c.status;
  return operations(&c)->axis_scale(c.ctx, A, axis, op, factors, factors_type, zeros, out, out_type);
}

csrn_status csrn_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                            const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros, void *out,
                            csrn_dtype out_type) {
  fenv_t saved;
  float_enter(&saved);
  return float_leave(&saved, axis_scale(ctx, A, axis, op, factors, factors_type, zeros, out, out_type));
}

/* ---- Selection ------------------------------------------------------------ */

csrn_status csrn_median_positive(csrn_context *ctx, const double *values, int64_t n, double *median) {
  fenv_t saved;
  float_enter(&saved);
  check c = check_begin(ctx, values);
  if (n < 0)
    FAIL(&c, CSRN_INVALID_ARGUMENT, "n is %" PRId64 "; expected 0 or more", n);
  check_array(&c, "values", values, n, CSRN_F64, false, false);
  c.single = true;
  check_array(&c, "median", median, 1, CSRN_F64, true, false);
  if (check_end(&c, NULL, NULL, CSRN_NONE))
    c.status = operations(&c)->median_positive(c.ctx, values, n, median);
  return float_leave(&saved, c.status);
}

csrn_status csrn_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, double max_fraction,
                                  uint8_t *mask) {
  fenv_t saved;
  float_enter(&saved);
  check c = check_begin_matrix(ctx, A);
  check_axis(&c, axis);
  check_fraction(&c, "max_fraction", max_fraction);
  check_matrix(&c, A, true, true);
  if (!c.status)
    check_array(&c, "mask", mask, other_length(A, axis), CSRN_U8, true, false);
  if (check_end(&c, A, NULL, CSRN_NONE))
    c.status = operations(&c)->highly_expressed(c.ctx, A, axis, max_fraction, mask);
  return float_leave(&saved, c.status);
}

/* ---- Normalization -------------------------------------------------------- */

/* Copies the caller's options over the defaults: an older caller's struct is shorter. */
static void complete_options(check *c, const csrn_normalize_options *given, csrn_normalize_options *options) {
  const csrn_normalize_options defaults = CSRN_NORMALIZE_OPTIONS_INIT;
  *options = defaults;
  if (!given || c->status)
    return;
  if (given->size < sizeof given->size || given->size > sizeof *options) {
    FAIL(c, CSRN_INVALID_ARGUMENT, "options->size is %zu; expected %zu to %zu", given->size,
         sizeof given->size, sizeof *options);
    return;
  }
  memcpy(options, given, given->size);
  check_enum(c, "options->axis", (int)options->axis, CSRN_PER_COLUMN);
  check_enum(c, "options->target", (int)options->target, CSRN_TARGET_FIXED);
  check_enum(c, "options->exclude_highly_expressed", options->exclude_highly_expressed, 1);
  check_enum(c, "options->log1p", options->log1p, 1);
  check_fraction(c, "options->max_fraction", options->max_fraction);
  check_base(c, "options->log_base", options->log_base);
}

/* What csrn_normalize_total() and csrn_normalize_with() check alike. */
static void check_normalize(check *c, const csrn_csr *A, const csrn_normalize_plan *plan) {
  const csrn_normalize_options *options = &plan->options;
  bool excludes = !plan->totals && options->exclude_highly_expressed;
  check_float_type(c, "out_type", plan->out_type);
  check_matrix(c, A, options->axis == CSRN_PER_COLUMN || excludes, true);
  if (c->status)
    return;
  int64_t n = axis_length(A, options->axis);
  check_array(c, "out", plan->out, A->nnz, plan->out_type, true, false);
  check_array(c, "factors", plan->factors, n, plan->out_type, true, true);
  if (!plan->totals)
    check_array(c, "options->excluded", options->excluded, other_length(A, options->axis), CSRN_U8, true,
                true);
  c->single = true;
  check_array(c, "report", plan->report, sizeof(csrn_normalize_report) / 8, CSRN_I64, true, true);
  c->single = false;
}

static csrn_status normalize_total(csrn_context *ctx, const csrn_csr *A,
                                   const csrn_normalize_options *options, csrn_normalize_plan *plan) {
  check c = check_begin_matrix(ctx, A);
  complete_options(&c, options, &plan->options);
  check_normalize(&c, A, plan);
  if (plan->options.target == CSRN_TARGET_FIXED)
    check_target(&c, "options->target_sum", plan->options.target_sum, plan->out_type);
  if (!check_end(&c, A, plan->out, plan->out_type))
    return c.status;
  return operations(&c)->normalize(c.ctx, A, plan);
}

csrn_status csrn_normalize_total(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_options *options,
                                 void *out, csrn_dtype out_type, void *factors,
                                 csrn_normalize_report *report) {
  csrn_normalize_plan plan = {.out = out, .out_type = out_type, .factors = factors, .report = report};
  fenv_t saved;
  float_enter(&saved);
  return float_leave(&saved, normalize_total(ctx, A, options, &plan));
}

static csrn_status normalize_with(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_options *options,
                                  csrn_normalize_plan *plan) {
  /* An array without elements may be NULL, but tells the backend that totals are given. */
  static const double no_totals[1];
  check c = check_begin_matrix(ctx, A);
  complete_options(&c, options, &plan->options);
  if (!c.status && A && axis_length(A, plan->options.axis) > 0 && !plan->totals)
    FAIL(&c, CSRN_INVALID_ARGUMENT, "totals is NULL");
  if (!plan->totals)
    plan->totals = no_totals;
  plan->options.exclude_highly_expressed = 0;
  plan->options.excluded = NULL;
  check_normalize(&c, A, plan);
  if (!c.status)
    check_array(&c, "totals", plan->totals, axis_length(A, plan->options.axis), CSRN_F64, false, false);
  c.single = true;
  check_array(&c, "target", plan->target, 1, CSRN_F64, false, false);
  /* A target on a device is looked at there. */
  if (check_end(&c, A, plan->out, plan->out_type) && operations(&c)->backend == CSRN_BACKEND_CPU &&
      !isnan(*plan->target))
    check_target(&c, "*target", *plan->target, plan->out_type);
  return c.status ? c.status : operations(&c)->normalize(c.ctx, A, plan);
}

csrn_status csrn_normalize_with(csrn_context *ctx, const csrn_csr *A, const double *totals,
                                const double *target, const csrn_normalize_options *options, void *out,
                                csrn_dtype out_type, void *factors, csrn_normalize_report *report) {
  csrn_normalize_plan plan = {.totals = totals,
                              .target = target,
                              .out = out,
                              .out_type = out_type,
                              .factors = factors,
                              .report = report};
  fenv_t saved;
  float_enter(&saved);
  return float_leave(&saved, normalize_with(ctx, A, options, &plan));
}

csrn_status csrn_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out, csrn_dtype out_type) {
  fenv_t saved;
  float_enter(&saved);
  check c = check_begin_matrix(ctx, A);
  check_float_type(&c, "out_type", out_type);
  check_base(&c, "base", base);
  check_matrix(&c, A, false, true);
  if (!c.status)
    check_array(&c, "out", out, A->nnz, out_type, true, false);
  if (check_end(&c, A, out, out_type))
    c.status = operations(&c)->log1p(c.ctx, A, base, out, out_type);
  return float_leave(&saved, c.status);
}

/* ---- Checking and contexts ------------------------------------------------ */

csrn_status csrn_csr_check(csrn_context *ctx, const csrn_csr *A) {
  check c = check_begin_matrix(ctx, A);
  check_matrix(&c, A, true, false);
  if (!check_end(&c, A, NULL, CSRN_NONE))
    return c.status;
  return operations(&c)->check_indices(c.ctx, A);
}

#if defined(CSRNORM_WITH_CUDA)
/* Of an AUTO context without a part for a device: that is made with this stream, later if it is the default
 * one. */
static csrn_status set_first_stream(csrn_context *ctx, void *stream) {
  void *before = ctx->stream;
  csrn_status status = CSRN_OK;
  ctx->stream = stream;
  if (stream && !csrn_context_on_device(ctx, &status))
    ctx->stream = before;
  return status;
}
#endif

csrn_status csrn_context_set_stream(csrn_context *ctx, void *stream) {
  check c = check_begin(ctx, NULL);
#if defined(CSRNORM_WITH_CUDA)
  if (!c.status && ctx->on_device)
    ctx = ctx->on_device;
  else if (!c.status && ctx->any_memory)
    return set_first_stream(ctx, stream);
#endif
  return c.status ? c.status : ctx->ops->set_stream(ctx, stream);
}

csrn_status csrn_context_reserve(csrn_context *ctx, int64_t n_rows, int64_t n_cols) {
  check c = check_begin(ctx, NULL);
  if (n_rows < 0 || n_cols < 0 || n_rows > PTRDIFF_MAX / 64 || n_cols > CSRN_MOST_COLUMNS)
    FAIL(&c, CSRN_INVALID_ARGUMENT,
         "n_rows x n_cols is %" PRId64 " x %" PRId64 "; expected sizes of a matrix", n_rows, n_cols);
#if defined(CSRNORM_WITH_CUDA)
  if (!c.status && ctx->any_memory && ctx->stream)
    csrn_context_on_device(ctx, &c.status);
#endif
  if (!c.status && ctx->on_device)
    c.status = ctx->on_device->ops->reserve(ctx->on_device, n_rows, n_cols);
  return c.status ? c.status : ctx->ops->reserve(ctx, n_rows, n_cols);
}

csrn_status csrn_context_synchronize(csrn_context *ctx) {
  check c = check_begin(ctx, NULL);
  if (!c.status && ctx->on_device)
    ctx = ctx->on_device;
  return c.status ? c.status : ctx->ops->synchronize(ctx);
}

csrn_status csrn_buffer_allocate(csrn_context *ctx, size_t bytes, void **buffer) {
  check c = check_begin(ctx, NULL);
  if (!buffer)
    FAIL(&c, CSRN_INVALID_ARGUMENT, "buffer is NULL");
  if (c.status)
    return c.status;
  *buffer = NULL;
  return bytes ? ctx->ops->buffer_allocate(ctx, bytes, buffer) : CSRN_OK;
}

void csrn_buffer_release(csrn_context *ctx, void *buffer, size_t bytes) {
  if (ctx && buffer)
    ctx->ops->buffer_release(ctx, buffer, bytes);
}

csrn_status csrn_buffer_copy(csrn_context *ctx, void *to, const void *from, size_t bytes) {
  check c = check_begin(ctx, NULL);
  if (bytes && (!to || !from))
    FAIL(&c, CSRN_INVALID_ARGUMENT, "%s is NULL", to ? "from" : "to");
  if (c.status || !bytes)
    return c.status;
  return ctx->ops->buffer_copy(ctx, to, from, bytes);
}

csrn_status csrn_buffer_exchange(csrn_context *ctx, void *to_device, const void *from_host, size_t up_bytes,
                                 void *to_host, const void *from_device, size_t down_bytes) {
  check c = check_begin(ctx, NULL);
  if (up_bytes && (!to_device || !from_host))
    FAIL(&c, CSRN_INVALID_ARGUMENT, "%s is NULL", to_device ? "from_host" : "to_device");
  if (down_bytes && (!to_host || !from_device))
    FAIL(&c, CSRN_INVALID_ARGUMENT, "%s is NULL", to_host ? "from_device" : "to_host");
  if (c.status || (!up_bytes && !down_bytes))
    return c.status;
  return ctx->ops->buffer_exchange(ctx, to_device, from_host, up_bytes, to_host, from_device, down_bytes);
}

csrn_status csrn_host_buffer_allocate(csrn_context *ctx, size_t bytes, void **buffer) {
  check c = check_begin(ctx, NULL);
  if (!buffer)
    FAIL(&c, CSRN_INVALID_ARGUMENT, "buffer is NULL");
  if (c.status)
    return c.status;
  *buffer = NULL;
  return bytes ? ctx->ops->host_buffer_allocate(ctx, bytes, buffer) : CSRN_OK;
}

void csrn_host_buffer_release(csrn_context *ctx, void *buffer, size_t bytes) {
  if (ctx && buffer)
    ctx->ops->host_buffer_release(ctx, buffer, bytes);
}

/* ---- Versions ------------------------------------------------------------- */

#define STRING(x)                    #x
#define VERSION(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)
#define VERSION_TEXT                 VERSION(CSRN_VERSION_MAJOR, CSRN_VERSION_MINOR, CSRN_VERSION_PATCH)

const char *csrn_version(void) {
  return VERSION_TEXT;
}

const char *csrn_build_info(void) {
  return "csrnorm " VERSION_TEXT ", " CSRN_BUILD_COMPILER ", OpenMP " CSRN_BUILD_OPENMP
         ", instruction sets " CSRN_BUILD_ISAS ", " CSRN_BUILD_CUDA;
}
