/*
 * What the parts of the core library share: the context, the table of operations
 * that a backend fills, and the one way to report an error. api.c validates every
 * argument and then calls one operation; a backend may therefore trust what it is
 * given and never needs to look at a pointer, size or type again.
 */
#ifndef CSRN_INTERNAL_H
#define CSRN_INTERNAL_H

#include "csrnorm/csrnorm.h"

#include <stdbool.h>

/* Validated forms of the options of csrn_normalize_total() and _with(). */
typedef struct csrn_normalize_plan {
  csrn_normalize_options options; /* completed with defaults */
  const double *totals;           /* NULL: to be computed */
  const double *target;           /* given with totals */
  void *out;
  csrn_dtype out_type;
  void *factors;                 /* NULL: not wanted */
  csrn_normalize_report *report; /* NULL: not wanted */
} csrn_normalize_plan;

/* The operations of a backend, all required; arguments are valid as the public
 * header demands, and A has at least one row and one column unless said otherwise. */
typedef struct csrn_backend_ops {
  csrn_backend backend;
  csrn_status (*create)(csrn_context *ctx, const csrn_context_options *options);
  void (*destroy)(csrn_context *ctx);
  const char *(*isa)(const csrn_context *ctx);
  int32_t (*threads)(const csrn_context *ctx);
  csrn_status (*set_stream)(csrn_context *ctx, void *stream);
  csrn_status (*reserve)(csrn_context *ctx, int64_t n_rows, int64_t n_cols);
  csrn_status (*synchronize)(csrn_context *ctx);
  csrn_status (*buffer_allocate)(csrn_context *ctx, size_t bytes, void **buffer);
  void (*buffer_release)(csrn_context *ctx, void *buffer, size_t bytes);
  csrn_status (*buffer_copy)(csrn_context *ctx, void *to, const void *from, size_t bytes);
  /* Monotone indptr inside [0, nnz], where the backend can see it without waiting. */
  csrn_status (*check_rows)(csrn_context *ctx, const csrn_csr *A);
  csrn_status (*check_indices)(csrn_context *ctx, const csrn_csr *A);
  csrn_status (*axis_sum)(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const uint8_t *excluded,
                          void *sums, csrn_dtype sums_type);
  csrn_status (*axis_scale)(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                            const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros, void *out,
                            csrn_dtype out_type);
  csrn_status (*median_positive)(csrn_context *ctx, const double *values, int64_t n, double *median);
  csrn_status (*highly_expressed)(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, double max_fraction,
                                  uint8_t *mask);
  csrn_status (*normalize)(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan);
  csrn_status (*log1p)(csrn_context *ctx, const csrn_csr *A, double base, void *out, csrn_dtype out_type);
  csrn_status (*device_count)(int32_t *count);
  csrn_status (*device_info)(int32_t device, csrn_device_properties *properties);
} csrn_backend_ops;

struct csrn_context {
  const csrn_backend_ops *ops;
  csrn_allocator allocator;
  void *state;     /* the backend's own */
  bool any_memory; /* made as AUTO: takes the backend of the pointers */
  char detail[512];
};

/* The backends of this build; NULL where one is not built. */
extern const csrn_backend_ops csrn_cpu_ops;

/* Stores one sentence in ctx (of this thread if ctx is NULL) and returns `status`. */
csrn_status csrn_fail(csrn_context *ctx, csrn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Scratch from the context's allocator, 64-byte aligned; NULL with the error stored. */
void *csrn_scratch_allocate(csrn_context *ctx, size_t bytes);
void csrn_scratch_release(csrn_context *ctx, void *pointer, size_t bytes);

#endif
