/*
 * Normalization of rows to float32: the kernels of cuda_rows.h for every type of the data.
 */
#include "cuda_rows.h"

csrn_status csrn_cuda_normalize_rows_f32(csrn_context *ctx, const csrn_csr *A,
                                         const csrn_normalize_job *job) {
  return csrn_cuda_normalize_rows_to<float>(ctx, A, job);
}
