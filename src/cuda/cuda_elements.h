/*
 * What normalization needs of the operations on elements.
 */
#ifndef CSRN_CUDA_ELEMENTS_H
#define CSRN_CUDA_ELEMENTS_H

#include "cuda_scale.h"

/* out = data / divisors[its column], then the logarithm; divisors are of out_type. After csrn_cuda_begin().
 */
csrn_status csrn_cuda_divide_columns(csrn_context *ctx, const csrn_csr *A, const csrn_cuda_how &how,
                                     const void *divisors, void *out, csrn_dtype out_type);

#endif
