/*
 * Rows for the streaming engine: indptr, which is all of a matrix's structure that
 * normalization looks at, read and checked; and its rows cut where row sums are.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 }; /* docs/numerics.md: longer rows are summed in blocks of this, in order */

int64_t csrn_stream_rows_bytes(int64_t n_rows, int64_t nnz) {
  return (2 * n_rows + nnz / BLOCK + 2) * (int64_t)sizeof(int64_t);
}

int64_t csrn_stream_find(const int64_t *starts, int64_t n, int64_t position) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (starts[middle] < position)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* What csrn_csr_check() says of a matrix in memory, but for its indices. */
static csrn_io_status check(csrn_stream_rows *rows, const csrn_hdf5_input *input) {
  const csrn_hdf5_file *file = &input->file;
  if (rows->indptr[0] != 0)
    return csrn_hdf5_refuse(file, "%s starts with %" PRId64 ", expected 0", input->indptr.path,
                            rows->indptr[0]);
  for (int64_t i = 0; i < rows->n_rows; i++)
    if (rows->indptr[i + 1] < rows->indptr[i])
      return csrn_hdf5_refuse(file,
                              "%s is not a valid sparse matrix: indptr decreases in row %" PRId64
                              ": from %" PRId64 " to %" PRId64,
                              input->matrix, i, rows->indptr[i], rows->indptr[i + 1]);
  if (rows->indptr[rows->n_rows] > rows->nnz)
    return csrn_hdf5_refuse(file, "%s ends with %" PRId64 ", expected at most the number of values, %" PRId64,
                            input->indptr.path, rows->indptr[rows->n_rows], rows->nnz);
  rows->nnz = rows->indptr[rows->n_rows]; /* what lies behind is none of the matrix */
  return CSRN_IO_OK;
}

static csrn_io_status make_indptr(csrn_stream_rows *rows, const csrn_hdf5_input *input) {
  rows->indptr = malloc(((size_t)rows->n_rows + 1) * sizeof *rows->indptr);
  for (int64_t i = 0; rows->indptr && i <= rows->n_rows; i++)
    rows->indptr[i] = i * rows->n_cols;
  return rows->indptr
             ? CSRN_IO_OK
             : csrn_hdf5_no_memory(&input->file, "the list of rows", ((uint64_t)rows->n_rows + 1) * 8);
}

static csrn_io_status read_indptr(csrn_stream_rows *rows, const csrn_hdf5_input *input) {
  void *read = NULL;
  csrn_io_status status = input->npz ? csrn_npz_rows(input, &read)
                                     : csrn_hdf5_array_read(&input->file, &input->indptr, input->n_rows + 1,
                                                            "reading indptr", NULL, &read);
  if (status)
    return status;
  if (input->indptr.type == CSRN_I64 || input->indptr.type == CSRN_U64) {
    rows->indptr = read;
    return CSRN_IO_OK;
  }
  rows->indptr = malloc(((size_t)rows->n_rows + 1) * sizeof *rows->indptr);
  for (int64_t i = 0; rows->indptr && i <= rows->n_rows; i++)
    rows->indptr[i] = csrn_io_integer_at(read, input->indptr.type, i);
  free(read);
  return rows->indptr ? CSRN_IO_OK
                      : csrn_hdf5_no_memory(&input->file, "indptr", ((uint64_t)rows->n_rows + 1) * 8);
}

static int64_t spans_of(int64_t length) {
  return length <= BLOCK ? 1 : (length + BLOCK - 1) / BLOCK;
}

static csrn_io_status make_spans(csrn_stream_rows *rows, const csrn_hdf5_input *input) {
  rows->n_spans = 0;
  for (int64_t i = 0; i < rows->n_rows; i++)
    rows->n_spans += spans_of(rows->indptr[i + 1] - rows->indptr[i]);
  rows->spans = rows->indptr;
  if (rows->n_spans == rows->n_rows)
    return CSRN_IO_OK;
  rows->spans = malloc(((size_t)rows->n_spans + 1) * sizeof *rows->spans);
  if (!rows->spans)
    return csrn_hdf5_no_memory(&input->file, "the list of rows", ((uint64_t)rows->n_spans + 1) * 8);
  int64_t n = 0;
  for (int64_t i = 0; i < rows->n_rows; i++)
    for (int64_t k = 0; k < spans_of(rows->indptr[i + 1] - rows->indptr[i]); k++)
      rows->spans[n++] = rows->indptr[i] + k * BLOCK;
  rows->spans[n] = rows->nnz;
  return CSRN_IO_OK;
}

csrn_io_status csrn_stream_rows_read(csrn_stream_rows *rows, const csrn_hdf5_input *input) {
  memset(rows, 0, sizeof *rows);
  rows->n_rows = input->n_rows;
  rows->n_cols = input->n_cols;
  rows->nnz = input->nnz;
  rows->dense = input->dense;
  csrn_io_status status = input->dense ? make_indptr(rows, input) : read_indptr(rows, input);
  if (!status)
    status = check(rows, input);
  return status ? status : make_spans(rows, input);
}

csrn_io_status csrn_stream_rows_replace(csrn_stream_rows *rows, const csrn_hdf5_input *input, int64_t *indptr,
                                        int64_t n_cols) {
  const int64_t n_rows = rows->n_rows;
  csrn_stream_rows_free(rows);
  *rows = (csrn_stream_rows){.n_rows = n_rows, .n_cols = n_cols, .nnz = indptr[n_rows], .indptr = indptr};
  return make_spans(rows, input);
}

void csrn_stream_rows_free(csrn_stream_rows *rows) {
  if (rows->spans != rows->indptr)
    free(rows->spans);
  free(rows->indptr);
  memset(rows, 0, sizeof *rows);
}
