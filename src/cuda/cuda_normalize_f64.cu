/*
 * Normalization of rows to float64: the kernels of cuda_rows.h for every type of the data.
 */
#include "cuda_rows.h"

csrn_status csrn_cuda_normalize_rows_f64(csrn_context *ctx, const csrn_csr *A,
                                         const csrn_normalize_job *job) {
  return csrn_cuda_normalize_rows_to<double>(ctx, A, job);
}
