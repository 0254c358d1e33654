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

typedef enum csrn_place { CSRN_PLACE_UNKNOWN, CSRN_PLACE_DEVICE, CSRN_PLACE_HOST } csrn_place;

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
  csrn_status (*host_buffer_allocate)(csrn_context *ctx, size_t bytes, void **buffer);
  void (*host_buffer_release)(csrn_context *ctx, void *buffer, size_t bytes);
  csrn_status (*buffer_exchange)(csrn_context *ctx, void *to_device, const void *from_host, size_t up_bytes,
                                 void *to_host, const void *from_device, size_t down_bytes);
  /* Whether the backend can work on an array that lies there; `single`: one number or report. *place is where
   * the arrays of this call lie, found by the first of them. NULL: anywhere. */
  csrn_status (*check_place)(csrn_context *ctx, const char *name, const void *array, bool single,
                             csrn_place *place);
  /* The checks and operations for arrays in host memory; NULL: these here. */
  const struct csrn_backend_ops *on_host;
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

typedef struct csrn_kernels csrn_kernels; /* of the CPU for one instruction set */

struct csrn_context {
  const csrn_backend_ops *ops;
  csrn_allocator allocator;        /* of host memory */
  csrn_allocator device_allocator; /* without functions: the backend's own */
  void *stream; /* that the context, or the part of an AUTO one for a device, is made with; the backend knows
                 * the one of now */
  void *state;  /* the backend's own */
  /* Made as AUTO: a CPU context that has another one for arrays on a device, made when the first is met. */
  bool any_memory;
  int32_t device;
  csrn_context *on_device;
  csrn_context *owner; /* of the contexts on the device and on the host: errors are stored there */
  /* The CPU's part of a CUDA context that is given arrays in host memory, made when the first is met. */
  csrn_context *on_host;
  int32_t threads;             /* for that */
  const csrn_kernels *kernels; /* of the CPU: for that, or for a CPU context itself */
  int64_t device_memory;       /* as in the options */
  char detail[512];
};

/* Threads that a context may have, and columns for each of which an operation may need scratch memory, for
 * every thread: with more the bytes would not be a number of 64 bits. */
enum { CSRN_MOST_THREADS = 1 << 15 };
#define CSRN_MOST_COLUMNS (PTRDIFF_MAX >> 20)

/* The kernels to use: `name` NULL or "" is that of CSRNORM_ISA, else the best that this
 * machine runs. CSRN_INVALID_ARGUMENT for an unknown name, CSRN_UNSUPPORTED for one
 * that cannot run here. */
csrn_status csrn_cpu_choose_kernels(csrn_context *ctx, const char *name, const csrn_kernels **kernels);

extern const csrn_backend_ops csrn_cpu_ops;
#if defined(CSRNORM_WITH_CUDA)
extern const csrn_backend_ops csrn_cuda_ops;
/* Whether an array is in device or managed memory; false at once where nobody in this process uses CUDA. */
bool csrn_cuda_owns(const void *array);
/* The part of an AUTO context that works on a device, made now if need be; NULL with *status set if it cannot
 * be. */
csrn_context *csrn_context_on_device(csrn_context *ctx, csrn_status *status);
/* The same for the CPU's part of a CUDA context. */
csrn_context *csrn_context_on_host(csrn_context *ctx, csrn_status *status);
#endif

/* What the CUDA backend needs of the CPU's beside its operations: indptr[row] of any index type; a copy in
 * host memory by all threads of a CPU context; median and mean (by a canonical sum) of the positive finite
 * values, NaN if there is none. */
int64_t csrn_cpu_offset(const csrn_csr *A, int64_t row);
void csrn_cpu_copy(const csrn_context *ctx, void *to, const void *from, size_t bytes);
csrn_status csrn_cpu_median(csrn_context *ctx, const double *values, int64_t n, double *median);
csrn_status csrn_cpu_mean(csrn_context *ctx, const double *values, int64_t n, double *mean);

/* The context that works on arrays of which `array` is one: ctx itself, or for an AUTO context the one of the
 * device that holds them. NULL with *status set (the sentence is in ctx) if that cannot be made. */
csrn_context *csrn_context_of(csrn_context *ctx, const void *array, csrn_status *status);

/* Stores one sentence in ctx (of this thread if ctx is NULL) and returns `status`. */
csrn_status csrn_fail(csrn_context *ctx, csrn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An element of an index array, for a sentence: of uint64 ones too, which an int64_t holds as negative. */
typedef struct csrn_number {
  char text[24];
} csrn_number;
csrn_number csrn_number_of(csrn_dtype type, int64_t element);

/* Scratch from the context's allocator, 64-byte aligned; NULL with the error stored. */
void *csrn_scratch_allocate(csrn_context *ctx, size_t bytes);
void csrn_scratch_release(csrn_context *ctx, void *pointer, size_t bytes);

#endif
