/*
 * Walking the rows of a matrix: the memory that walks share. The kernels are templates of
 * cuda_walk.h.
 */
#include "cuda_walk.h"

namespace {

/* Rows of more values on average have a block each. */
enum { LONG_ROWS = 3072 };

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
  char *lists = static_cast<char *>(csrn_cuda_slot_of(ctx, CSRN_CUDA_LISTS));
  memset(walk, 0, sizeof *walk);
  walk->A = csrn_device_view(ctx, A);
  walk->list = reinterpret_cast<int64_t *>(lists);
  if (lists)
    walk->giants = reinterpret_cast<csrn_giant *>(lists + row_list_bytes(A->n_rows));
  walk->most_giants = most_giants(A->n_rows, A->nnz);
  walk->left = &csrn_cuda_state_of(ctx)->control->now.left;
  walk->n_early = int64_t(csrn_cuda_state_of(ctx)->n_units) * 8;
  walk->pieces = csrn_cuda_slot_of(ctx, CSRN_CUDA_PIECES);
  walk->all_long = A->n_rows > 0 && A->nnz / A->n_rows >= LONG_ROWS;
  /* A row is longer than there are columns only if it has entries twice, which is no reason for more kernels.
   */
  walk->shares_giants = A->nnz > GIANT_ROW && A->n_cols > GIANT_ROW;
}
