/*
 * Matrices in host memory: a pass sends the values of a matrix through the device in chunks of
 * rows, up on one stream and down on another, while the kernels work on the context's own. An
 * operation is one pass or several (cuda_host_operations.cu); how a pass runs is
 * cuda_host_pipeline.cu's.
 */
#ifndef CSRN_CUDA_HOST_H
#define CSRN_CUDA_HOST_H

#include "cuda_scale.h"

/* What the device has of one chunk while the kernels are enqueued. */
struct csrn_host_chunk {
  csrn_csr A;         /* its rows: offsets from 0 on, arrays on the device */
  void *out;          /* [A.nnz] of the pass's type; A.data itself where sizes are equal */
  const void *row_in; /* [A.n_rows], or NULL */
  void *row_out;      /* [A.n_rows], or NULL; zeroed where it is to be or-ed */
  int64_t row, begin; /* of the matrix: its first row, its first value */
  bool is_part;       /* of a single row that is longer than a chunk */
};

/* What travels, and what is done with it; arrays are those of the host. */
struct csrn_host_pass {
  bool data, indices; /* go up, unless they are on the device already */
  void *out;          /* [nnz] come down; NULL: none */
  const void *row_in; /* [n_rows] go up; NULL: none */
  size_t row_in_size;
  void *row_out; /* [n_rows] come down, but not of parts of a row; NULL: none */
  size_t row_out_size;
  bool ors; /* bytes of row_out are or-ed to what is there, those of parts too */
  csrn_status (*work)(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg);
  /* A row that is longer than a chunk, before its parts are sent; NULL: nothing. `sends_parts`: they are.
   * Without, they go up only if the whole matrix stays on the device, for the passes to come. With a function
   * here the indices of parts are needed neither in this pass nor in later ones: they stay where they are. */
  csrn_status (*long_row)(csrn_context *ctx, int64_t row, const void *arg);
  bool sends_parts;
  const void *arg;
};

/* Prepares the passes of one operation on A, with values of out_type (CSRN_NONE: none) to come down: memory
 * for chunks, scratch memory in the slots, and, with several passes, for the whole matrix where it fits.
 * Earlier work of the context has been waited for (api.c). `indices`: how many of the passes need them. */
csrn_status csrn_host_open(csrn_context *ctx, const csrn_csr *A, csrn_dtype out_type, int passes, int indices,
                           unsigned slots);
/* One pass; all is done when it returns, also after a failure. */
csrn_status csrn_host_run(csrn_context *ctx, const csrn_host_pass *pass);
/* Ends the operation: what the device has found wrong, if `status` is CSRN_OK. */
csrn_status csrn_host_close(csrn_context *ctx, csrn_status status);
void csrn_cuda_host_destroy(csrn_context *ctx);

/* csrn_buffer_exchange(). */
csrn_status csrn_host_exchange(csrn_context *ctx, void *to_device, const void *from_host, size_t up_bytes,
                               void *to_host, const void *from_device, size_t down_bytes);

/* Between host and device in the order of the context's stream, complete on return. */
csrn_status csrn_host_copy(csrn_context *ctx, void *to, const void *from, size_t bytes);

/* ---- What operations are made of, once csrn_host_open() has been called -------------- */

/* Nothing to send: the CPU is done at once. */
bool csrn_host_is_empty(const csrn_csr *A);
/* csrn_host_close(), naming an index that is no column as the CPU would. */
csrn_status csrn_host_end(csrn_context *ctx, const csrn_csr *A, csrn_status status);

/* The columns that a mask[n] in host memory leaves out, as bits on the device; needs CSRN_CUDA_MASK and
 * CSRN_CUDA_BITS. */
csrn_status csrn_host_send_mask(csrn_context *ctx, const uint8_t *mask, int64_t n, const uint32_t **bits);

struct csrn_host_row_sums {
  const csrn_csr *A;
  const uint8_t *excluded;            /* host; NULL: none */
  const uint32_t *excluded_on_device; /* csrn_host_send_mask() */
  void *sums;                         /* host */
  csrn_dtype type;
};

/* All sums; those of a chunk, and of a row that is longer than one (arg: a csrn_host_row_sums). */
csrn_status csrn_host_run_row_sums(csrn_context *ctx, const csrn_host_row_sums *job);
csrn_status csrn_host_sum_chunk(csrn_context *ctx, const csrn_host_chunk *chunk, const void *arg);
csrn_status csrn_host_sum_long_row(csrn_context *ctx, int64_t row, const void *arg);
/* The CPU sums a row without values: what it allocates for any other is there then, so that nothing fails for
 * lack of memory once results are written. */
csrn_status csrn_host_try_row(csrn_context *ctx, const csrn_host_row_sums *job);

enum { CSRN_HOST_COLUMN_PASSES = 3, CSRN_HOST_COLUMN_INDICES = 2 }; /* of reals that are no counts */

/* To sums[n_cols] in host memory; needs CSRN_CUDA_COLUMNS and CSRN_CUDA_TOTALS. */
csrn_status csrn_host_run_column_sums(csrn_context *ctx, const csrn_csr *A, const uint8_t *excluded_rows,
                                      void *sums, csrn_dtype type);
/* Columns where an entry exceeds its fraction, to mask[n_cols] in host memory; room: [2 * n_cols]. Needs
 * CSRN_CUDA_MASK. */
csrn_status csrn_host_mark_columns(csrn_context *ctx, const csrn_csr *A, double max_fraction, uint8_t *mask,
                                   uint8_t *room);
/* Rows where an entry exceeds its fraction of totals[n_cols], to mask[n_rows], all in host memory. Needs
 * CSRN_CUDA_TOTALS. */
csrn_status csrn_host_mark_rows(csrn_context *ctx, const csrn_csr *A, double max_fraction,
                                const double *totals, uint8_t *mask);
/* All values by divisors[n_cols] of out_type on the device, then the logarithm. */
csrn_status csrn_host_divide_columns(csrn_context *ctx, const csrn_cuda_how &how, const void *divisors,
                                     void *out, csrn_dtype out_type);

/* The operations: slots of the table for arrays in host memory. */
csrn_status csrn_host_check_rows(csrn_context *ctx, const csrn_csr *A);
csrn_status csrn_host_check_indices(csrn_context *ctx, const csrn_csr *A);
csrn_status csrn_host_axis_sum(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const uint8_t *excluded,
                               void *sums, csrn_dtype sums_type);
csrn_status csrn_host_axis_scale(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, csrn_scale_op op,
                                 const void *factors, csrn_dtype factors_type, csrn_zero_policy zeros,
                                 void *out, csrn_dtype out_type);
csrn_status csrn_host_median_positive(csrn_context *ctx, const double *values, int64_t n, double *median);
csrn_status csrn_host_highly_expressed(csrn_context *ctx, const csrn_csr *A, csrn_axis axis,
                                       double max_fraction, uint8_t *mask);
csrn_status csrn_host_normalize(csrn_context *ctx, const csrn_csr *A, const csrn_normalize_plan *plan);
csrn_status csrn_host_log1p(csrn_context *ctx, const csrn_csr *A, double base, void *out,
                            csrn_dtype out_type);

#endif
