/*
 * Row sums: a walk that only sums, with and without excluded columns.
 */
#include "cuda_rows.h"

namespace {

template <typename T, bool HAS_MASK>
csrn_status sum_rows(csrn_context *ctx, const csrn_csr *A, const uint32_t *excluded, void *sums,
                     csrn_dtype sums_type, bool backwards) {
  const csrn_sum_rows<T, HAS_MASK> op = {static_cast<const T *>(A->data), excluded, sums, sums_type};
  return csrn_cuda_walk_rows(ctx, A, op, backwards);
}

} // namespace

csrn_status csrn_cuda_row_sums(csrn_context *ctx, const csrn_csr *A, const uint32_t *excluded, void *sums,
                               csrn_dtype sums_type, bool backwards) {
#define CASE(code, T)                                                                                        \
  case code:                                                                                                 \
    return excluded ? sum_rows<T, true>(ctx, A, excluded, sums, sums_type, backwards)                        \
                    : sum_rows<T, false>(ctx, A, nullptr, sums, sums_type, backwards);
  switch (A->data_type) {
    CSRN_CUDA_DATA_TYPES(CASE)
  default:
    return CSRN_INVALID_ARGUMENT; /* api.c lets no other type through */
  }
#undef CASE
}
