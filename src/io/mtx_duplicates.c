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

/* Pattern files have no values: each entry counts one. */
static bool count_patterns(mtx_entries *entries) {
  entries->values = malloc(((size_t)entries->n + 1) * sizeof *entries->values);
  for (int64_t i = 0; entries->values && i < entries->n; i++)
    entries->values[i].integer = 1;
  return entries->values != NULL;
}

/* Adds entry `other` to entry `first`; false if no int64 holds the sum. */
static bool add(const mtx_state *state, mtx_entries *entries, int64_t first, int64_t other) {
  mtx_value *sum = &entries->values[first];
  const mtx_value *value = &entries->values[other];
  if (state->field != FIELD_REAL)
    return !__builtin_add_overflow(sum->integer, value->integer, &sum->integer);
  sum->real += value->real;
  if (state->real_type == CSRN_F32)
    sum->real = (double)(float)sum->real;
  return true;
}

/* Moves what was not added to another together, and sees anew what types the values fit. */
static void compact(const mtx_state *state, mtx_entries *entries) {
  int64_t n = 0;
  entries->fits_i32 = true;
  entries->fits_f32 = state->real_type != CSRN_F64;
  for (int64_t i = 0; i < entries->n; i++) {
    if (entries->cells[i] < 0)
      continue;
    const mtx_value value = entries->values[i];
    entries->cells[n] = entries->cells[i];
    entries->genes[n] = entries->genes[i];
    entries->values[n++] = value;
    if (state->field == FIELD_REAL)
      entries->fits_f32 &= isnan(value.real) || (double)(float)value.real == value.real;
    else
      entries->fits_i32 &= value.integer >= INT32_MIN && value.integer <= INT32_MAX;
  }
  entries->n = n;
}

/* Where the entries of each cell are, in the order of the file: order[] by the indptr of csr. */
static void find_order(const csrn_csr *csr, const mtx_entries *entries, int64_t *next, int64_t *order) {
  for (int64_t cell = 0; cell < csr->n_rows; cell++)
    next[cell] = ((const int64_t *)csr->indptr)[cell];
  for (int64_t i = 0; i < entries->n; i++)
    order[next[entries->cells[i]]++] = i;
}

/* first[gene]: the entry before of the cell at hand that names the gene; that of another cell, or -1, is
 * none. Returns the entry that could not be added, or -1. */
static int64_t add_all(const csrn_csr *csr, const mtx_state *state, mtx_entries *entries,
                       const int64_t *order, int64_t *first) {
  const int64_t *indptr = csr->indptr;
  for (int64_t gene = 0; gene < csr->n_cols; gene++)
    first[gene] = -1;
  for (int64_t cell = 0; cell < csr->n_rows; cell++)
    for (int64_t k = indptr[cell]; k < indptr[cell + 1]; k++) {
      const int64_t i = order[k];
      int64_t *before = &first[entries->genes[i]];
      if (*before < 0 || entries->cells[*before] != cell)
        *before = i;
      else if (add(state, entries, *before, i))
        entries->cells[i] = -1;
      else
        return i;
    }
  return -1;
}

csrn_io_status csrn_mtx_add_duplicates(const csrn_io_input *input, const csrn_csr *csr, mtx_entries *entries,
                                       csrn_io_error *error) {
  const mtx_state *state = input->state;
  int64_t *order = malloc(((size_t)entries->n + 1) * sizeof *order);
  int64_t *next = malloc(((size_t)csr->n_rows + 1) * sizeof *next);
  int64_t *first = malloc(((size_t)csr->n_cols + 1) * sizeof *first);
  csrn_io_status status = CSRN_IO_OK;
  if (!order || !next || !first || (!entries->values && !count_patterns(entries))) {
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for adding up entries", input->path);
  } else {
    find_order(csr, entries, next, order);
    const int64_t failed = add_all(csr, state, entries, order, first);
    if (failed < 0)
      compact(state, entries);
    else
      status = csrn_io_fail(error, CSRN_IO_FAILED,
                            "%s: the entries of cell %" PRId32 ", gene %" PRId32
                            " add up to more than an integer of 64 bits",
                            input->path, entries->cells[failed] + 1, entries->genes[failed] + 1);
  }
  free(first);
  free(next);
  free(order);
  return status;
}
