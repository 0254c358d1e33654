/*
 * Entries of a MatrixMarket file that name the same place: the matrix has their sum there, as coordinate
 * formats mean it and scipy's readers take it. Rare, so that files without any pay for little more than a
 * look at each cell's genes.
 */
#include "mtx_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static bool ascends(const int32_t *genes, int64_t n) {
  for (int64_t i = 1; i < n; i++)
    if (genes[i - 1] >= genes[i])
      return false;
  return true;
}

int csrn_mtx_has_duplicates(const csrn_csr *csr) {
  const int64_t *indptr = csr->indptr;
  const int32_t *genes = csr->indices;
  int64_t *seen = NULL; /* of each gene: the end of the last cell not in order that has it */
  int found = 0;
  for (int64_t cell = 0; cell < csr->n_rows && !found; cell++) {
    const int64_t begin = indptr[cell], end = indptr[cell + 1];
    if (ascends(genes + begin, end - begin))
      continue;
    if (!seen && !(seen = calloc((size_t)csr->n_cols + 1, sizeof *seen)))
      return -1;
    for (int64_t i = begin; i < end && !found; i++) {
      found = seen[genes[i]] == end;
      seen[genes[i]] = end;
    }
  }
  free(seen);
  return found;
}

/* ---- Adding up ------------------------------------------------------------------ */

/* What the sums are made in: each value of the matrix as its file's field has it; pattern files have none,
 * and each entry counts one. */
static mtx_value *widen(const csrn_csr *csr) {
  mtx_value *values = calloc((size_t)csr->nnz + 1, sizeof *values);
  for (int64_t i = 0; values && i < csr->nnz; i++) {
    if (csr->data_type == CSRN_F32)
      values[i].real = (double)((const float *)csr->data)[i];
    else if (csr->data_type == CSRN_F64)
      values[i].real = ((const double *)csr->data)[i];
    else
      values[i].integer = csrn_io_integer_at(csr->data, csr->data_type, i);
  }
  return values;
}

/* Adds `value` to a sum; false if no int64 holds it. */
static bool add(const mtx_state *state, mtx_value *sum, const mtx_value *value) {
  if (state->field != FIELD_REAL)
    return !__builtin_add_overflow(sum->integer, value->integer, &sum->integer);
  sum->real += value->real;
  if (state->real_type == CSRN_F32)
    sum->real = (double)(float)sum->real;
  return true;
}

/* Adds up in place and moves what is left together. seen[gene]: one more than where the cell at hand has its
 * entry of the gene; what was before the cell is none. Returns the entry that could not be added, with its
 * cell in *where, or -1. */
static int64_t add_all(const mtx_state *state, csrn_csr *csr, mtx_value *values, int64_t *seen,
                       int64_t *where) {
  int64_t *indptr = (int64_t *)(uintptr_t)csr->indptr, n = 0, begin = 0;
  int32_t *genes = (int32_t *)(uintptr_t)csr->indices;
  for (int64_t cell = 0; cell < csr->n_rows; cell++) {
    const int64_t first = n, end = indptr[cell + 1];
    *where = cell;
    for (int64_t i = begin; i < end; i++) {
      const int64_t before = seen[genes[i]] - 1;
      if (before >= first) {
        if (!add(state, &values[before], &values[i]))
          return i;
        continue;
      }
      genes[n] = genes[i];
      values[n] = values[i];
      n++;
      seen[genes[n - 1]] = n;
    }
    begin = end;
    indptr[cell + 1] = n;
  }
  csr->nnz = n;
  return -1;
}

/* Gives the matrix the sums, in the type that they fit. */
static bool narrow(const mtx_state *state, csrn_csr *csr, const mtx_value *values) {
  bool fits_i32 = true, fits_f32 = state->real_type != CSRN_F64;
  for (int64_t i = 0; i < csr->nnz; i++)
    if (state->field == FIELD_REAL)
      fits_f32 &= isnan(values[i].real) || (double)(float)values[i].real == values[i].real;
    else
      fits_i32 &= values[i].integer >= INT32_MIN && values[i].integer <= INT32_MAX;
  free(csr->data);
  csr->data_type =
      csrn_mtx_type(state->field == FIELD_PATTERN ? FIELD_INTEGER : state->field, fits_i32, fits_f32);
  csr->data = malloc((size_t)csr->nnz * csrn_dtype_size(csr->data_type) + 1);
  for (int64_t i = 0; csr->data && i < csr->nnz; i++)
    csrn_mtx_store(values[i], csr->data, csr->data_type, i);
  return csr->data != NULL;
}

csrn_io_status csrn_mtx_add_duplicates(const csrn_io_input *input, csrn_csr *csr, csrn_io_error *error) {
  const mtx_state *state = input->state;
  mtx_value *values = widen(csr);
  int64_t *seen = calloc((size_t)csr->n_cols + 1, sizeof *seen), cell = 0;
  csrn_io_status status = CSRN_IO_OK;
  const int64_t failed = values && seen ? add_all(state, csr, values, seen, &cell) : -1;
  if (failed >= 0)
    status = csrn_io_fail(error, CSRN_IO_FAILED,
                          "%s: the entries of cell %" PRId64 ", gene %" PRId32
                          " add up to more than an integer of 64 bits",
                          input->path, cell + 1, ((const int32_t *)csr->indices)[failed] + 1);
  else if (!values || !seen || !narrow(state, csr, values))
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for adding up entries", input->path);
  free(seen);
  free(values);
  return status;
}
