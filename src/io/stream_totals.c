/*
 * The first pass of the streaming engine: the total of every row, to the bit as
 * csrn_axis_sum() has it for the matrix in memory. A unit sums the spans that lie in it; a span
 * that crosses into other units is put together in a seam, and summed by the worker that
 * brings its last piece.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct seam {
  void *values;
  int64_t span, missing; /* values that have not come yet; 0: this place is free */
} seam;

typedef struct totals_pass {
  csrn_stream_matrix *matrix;
  const csrn_stream_rows *rows;
  const csrn_stream_array *data;
  const uint8_t *excluded;
  csrn_dtype sums_type; /* i64 for integers, which add up exactly, else f64 */
  void *sums;           /* [n_spans] */
  seam *seams;          /* at most at both ends of each unit begun and not ended */
  int n_seams;
  int overflow; /* the integers of a span, or of a row, do not fit: a sum in another order may */
} totals_pass;

/* The sums of n spans of values, which begin with the first of them, by the CPU or by a device. */
static csrn_io_status sum_spans(csrn_stream_worker *worker, totals_pass *pass, int64_t first, int64_t n,
                                void *values, bool on_cpu) {
  const int64_t *spans = pass->rows->spans + first;
  int64_t *starts = csrn_stream_buffer(worker, CSRN_STREAM_STARTS, (size_t)(n + 1) * sizeof *starts);
  if (!starts)
    return CSRN_IO_FAILED;
  for (int64_t i = 0; i <= n; i++)
    starts[i] = spans[i] - spans[0];
  const csrn_csr A = {.n_rows = n,
                      .n_cols = pass->rows->n_cols,
                      .nnz = starts[n],
                      .indptr = starts,
                      .data = values,
                      .indptr_type = CSRN_I64,
                      .data_type = pass->data->type};
  csrn_context *ctx = on_cpu ? worker->ctx : csrn_stream_take_context(worker);
  const csrn_status status = csrn_axis_sum(
      ctx, &A, CSRN_PER_ROW, (char *)pass->sums + (size_t)first * sizeof(int64_t), pass->sums_type);
  if (status == CSRN_OVERFLOW)
    __atomic_store_n(&pass->overflow, 1, __ATOMIC_RELAXED);
  return csrn_stream_give_back(worker, ctx, status == CSRN_OVERFLOW ? CSRN_OK : status, pass->data->file);
}

/* ---- Seams ------------------------------------------------------------------- */

/* The seam of a span, new if this is the first piece; NULL: out of memory. */
static seam *find_seam(totals_pass *pass, int64_t span, int64_t length) {
  seam *found = NULL;
  for (int i = 0; i < pass->n_seams; i++) {
    if (pass->seams[i].missing > 0 && pass->seams[i].span == span)
      return &pass->seams[i];
    if (pass->seams[i].missing == 0 && !found)
      found = &pass->seams[i];
  }
  void *values = found ? malloc((size_t)length * csrn_dtype_size(pass->data->type)) : NULL;
  if (!values)
    return NULL;
  *found = (seam){values, span, length};
  return found;
}

/* Puts the part of a span that lies in [begin, end) to the others; sums it if that was the last. */
static csrn_io_status add_piece(csrn_stream_worker *worker, totals_pass *pass, int64_t span, int64_t begin,
                                int64_t end, const char *values) {
  const size_t size = csrn_dtype_size(pass->data->type);
  const int64_t start = pass->rows->spans[span], stop = pass->rows->spans[span + 1];
  const int64_t from = start > begin ? start : begin, to = stop < end ? stop : end;
  void *whole = NULL;
  pthread_mutex_lock(&worker->pool->state);
  seam *place = find_seam(pass, span, stop - start);
  if (place) {
    memcpy((char *)place->values + (size_t)(from - start) * size, values + (size_t)(from - begin) * size,
           (size_t)(to - from) * size);
    place->missing -= to - from;
    whole = place->missing == 0 ? place->values : NULL;
    if (whole)
      place->values = NULL;
  }
  pthread_mutex_unlock(&worker->pool->state);
  if (!place)
    return csrn_io_fail(&worker->error, CSRN_IO_FAILED, "out of memory for a row in pieces");
  csrn_io_status status = whole ? sum_spans(worker, pass, span, 1, whole, true) : CSRN_IO_OK;
  free(whole);
  return status;
}

/* ---- Units ------------------------------------------------------------------- */

static csrn_io_status sum_unit(csrn_stream_worker *worker, totals_pass *pass, int64_t begin, int64_t end,
                               char *values) {
  const csrn_stream_rows *rows = pass->rows;
  const int64_t *spans = rows->spans;
  int64_t first = csrn_stream_find(spans, rows->n_spans, begin);
  int64_t last = end == rows->nnz ? rows->n_spans : csrn_stream_find(spans, rows->n_spans, end);
  csrn_io_status status = CSRN_IO_OK;
  if (first > 0 && spans[first] > begin)
    status = add_piece(worker, pass, first - 1, begin, end, values);
  if (!status && last > first && spans[last] > end)
    status = add_piece(worker, pass, --last, begin, end, values);
  if (!status && last > first)
    status = sum_spans(worker, pass, first, last - first,
                       values + (size_t)(spans[first] - begin) * csrn_dtype_size(pass->data->type), false);
  return status;
}

/* An excluded value adds +0 in its place. */
static csrn_io_status erase_excluded(csrn_stream_worker *worker, totals_pass *pass, int64_t unit,
                                     char *values) {
  const size_t size = csrn_dtype_size(pass->data->type);
  int64_t n;
  int32_t *columns = NULL;
  csrn_stream_unit(pass->matrix, unit, &n);
  if (csrn_stream_columns(worker, pass->matrix, unit, &columns))
    return CSRN_IO_FAILED;
  for (int64_t i = 0; i < n; i++)
    if (pass->excluded[columns[i]])
      memset(values + (size_t)i * size, 0, size);
  return CSRN_IO_OK;
}

static csrn_io_status do_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  totals_pass *pass = arg;
  int64_t n;
  const int64_t begin = csrn_stream_unit(pass->matrix, unit, &n);
  void *values = NULL;
  csrn_io_status status = csrn_stream_read(worker, pass->matrix, unit, &values);
  if (!status && pass->excluded)
    status = erase_excluded(worker, pass, unit, values);
  if (!status)
    status = sum_unit(worker, pass, begin, begin + n, values);
  if (!status && !pass->excluded)
    csrn_stream_keep(worker->pool, pass->matrix, unit, values, n);
  return status;
}

/* ---- The pass ---------------------------------------------------------------- */

bool csrn_stream_store_sum(__int128 sum, csrn_dtype data_type, csrn_dtype sums_type, void *sums, int64_t i) {
  const bool is_signed = data_type == CSRN_I32 || data_type == CSRN_I64;
  const __int128 highest = is_signed || sums_type == CSRN_I64 ? INT64_MAX : (__int128)UINT64_MAX;
  const __int128 lowest = is_signed && sums_type != CSRN_U64 ? INT64_MIN : 0;
  if (sums_type == CSRN_F64)
    ((double *)sums)[i] = is_signed ? (double)(int64_t)sum : (double)(uint64_t)sum;
  else
    ((uint64_t *)sums)[i] = (uint64_t)sum;
  return sum >= lowest && sum <= highest;
}

/* The sums of the spans of each row, added in order; false if one does not fit. */
static bool combine(const totals_pass *pass, void *totals, csrn_dtype sums_type) {
  const csrn_stream_rows *rows = pass->rows;
  const bool real = pass->data->type == CSRN_F32 || pass->data->type == CSRN_F64;
  int64_t span = 0;
  bool fits = true;
  for (int64_t i = 0; i < rows->n_rows; i++) {
    double sum = 0;
    __int128 count = 0;
    do {
      if (real)
        sum += ((const double *)pass->sums)[span];
      else
        count += ((const int64_t *)pass->sums)[span];
    } while (++span < rows->n_spans && rows->spans[span] < rows->indptr[i + 1]);
    if (real)
      ((double *)totals)[i] = sum;
    else
      fits &= csrn_stream_store_sum(count, pass->data->type, sums_type, totals, i);
  }
  return fits;
}

csrn_io_status csrn_stream_totals(csrn_stream_pool *pool, csrn_stream_matrix *matrix, const uint8_t *excluded,
                                  void *totals, csrn_dtype sums_type, bool *exact,
                                  const csrn_io_progress *progress, csrn_io_error *error) {
  const csrn_stream_rows *rows = &matrix->rows;
  const csrn_dtype type = matrix->data.type;
  totals_pass pass = {.matrix = matrix,
                      .rows = rows,
                      .data = &matrix->data,
                      .excluded = excluded,
                      .sums_type = type == CSRN_F32 || type == CSRN_F64 ? CSRN_F64 : CSRN_I64,
                      .sums = calloc((size_t)rows->n_spans + 1, sizeof(int64_t)),
                      .seams = calloc(2 * (size_t)pool->n_workers, sizeof(seam)),
                      .n_seams = 2 * pool->n_workers};
  csrn_io_status status = CSRN_IO_OK;
  if (!pass.sums || !pass.seams)
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for %" PRId64 " totals",
                          matrix->data.file, rows->n_spans);
  if (!status)
    status = csrn_stream_run(pool, matrix->cut.n_units, do_unit, &pass, excluded ? "summing" : "reading",
                             rows->nnz * (int64_t)csrn_dtype_size(type), progress, error);
  *exact = !status && !pass.overflow && combine(&pass, totals, sums_type);
  for (int i = 0; pass.seams && i < pass.n_seams; i++)
    free(pass.seams[i].values);
  free(pass.seams);
  free(pass.sums);
  return status;
}
