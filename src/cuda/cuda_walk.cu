/*
 * Walking the rows of a matrix: the memory that walks share, and how much shared memory
 * their kernels get. The kernels are templates of cuda_walk.h.
 */
#include "cuda_walk.h"

namespace {

/* A row is a giant only if it has more than GIANT_ROW values. */
int64_t most_giants(int64_t n_rows, int64_t nnz) {
  const int64_t by_values = nnz / GIANT_ROW;
  return by_values < n_rows ? by_values : n_rows;
}

/* The list of rows, rounded up so that what follows is aligned. */
size_t row_list_bytes(int64_t n_rows) {
  return (static_cast<size_t>(n_rows) + 1) / 2 * 2 * sizeof(int64_t);
}

} // namespace

bool csrn_cuda_has_giants(int64_t nnz) {
  return nnz > GIANT_ROW;
}

size_t csrn_cuda_list_bytes(int64_t n_rows, int64_t nnz) {
  return row_list_bytes(n_rows) + static_cast<size_t>(most_giants(n_rows, nnz)) * sizeof(csrn_giant);
}

size_t csrn_cuda_piece_bytes(void) {
  return static_cast<size_t>(PIECES_PER_STRETCH) * PIECE_BYTES;
}

void csrn_cuda_walk(csrn_context *ctx, const csrn_csr *A, csrn_walk *walk) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  char *lists = static_cast<char *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_LISTS));
  walk->A = csrn_device_view(ctx, A);
  walk->list = reinterpret_cast<int64_t *>(lists);
  walk->giants = reinterpret_cast<csrn_giant *>(lists + row_list_bytes(A->n_rows));
  walk->left = &state->control->now.left[state->n_walks++];
  walk->pieces = csrn_cuda_slot_of(ctx, CSRN_CUDA_PIECES);
}

/* These are settings of a kernel on a device, of the current one. The second asks for all of the memory that
 * a multiprocessor can share, or the driver might leave more of it to the cache, and fewer blocks would run.
 */
csrn_status csrn_cuda_allow_shared(csrn_context *ctx, csrn_status status, const void *kernel, size_t bytes) {
  enum { WITHOUT_ASKING = 48 << 10 };
  if (status || bytes == 0)
    return status;
  cudaError_t error = cudaSuccess;
  if (bytes > WITHOUT_ASKING)
    error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error == cudaSuccess)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                 cudaSharedmemCarveoutMaxShared);
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "asking for shared memory");
}

size_t csrn_cuda_shared_share(const csrn_context *ctx, int blocks) {
  /* The system keeps 1 KiB of each block's for itself; static shared memory counts too. */
  enum { OVERHEAD = 3 << 10, GRANULE = 1 << 10 };
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const size_t share = state->shared_per_unit / static_cast<size_t>(blocks) - OVERHEAD;
  const size_t most = state->shared_per_block - OVERHEAD;
  return (share < most ? share : most) / GRANULE * GRANULE;
}
