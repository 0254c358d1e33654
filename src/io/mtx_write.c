/*
 * Writing MatrixMarket, plain or gzip: the matrix alone, genes x cells as 10x has it unless
 * the input was a file with cells in rows. Decimals read back to the same bits. The lists
 * of names that may lie beside an input are not written, so that the output is one file.
 */
#include "io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* The shortest decimals that read back as the same float32 or float64. */
static int format_real(char *text, size_t size, double value, bool single) {
  if (value == rint(value) && fabs(value) < 1e15)
    return snprintf(text, size, "%.0f", value);
  int n = 0;
  for (int digits = single ? 6 : 15; digits <= (single ? 9 : 17); digits++) {
    n = snprintf(text, size, "%.*g", digits, value);
    if (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
      break;
  }
  return n;
}

static int64_t offset_at(const void *array, csrn_dtype type, int64_t i) {
  switch (type) {
  case CSRN_U8:
    return ((const uint8_t *)array)[i];
  case CSRN_U16:
    return ((const uint16_t *)array)[i];
  case CSRN_U32:
    return ((const uint32_t *)array)[i];
  case CSRN_I32:
    return ((const int32_t *)array)[i];
  default:
    return ((const int64_t *)array)[i];
  }
}

static int format_value(char *text, size_t size, const csrn_csr *csr, int64_t i) {
  if (csr->data_type == CSRN_F32)
    return format_real(text, size, (double)((const float *)csr->data)[i], true);
  if (csr->data_type == CSRN_F64)
    return format_real(text, size, ((const double *)csr->data)[i], false);
  return snprintf(text, size, "%" PRId64, offset_at(csr->data, csr->data_type, i));
}

static bool is_zero(const csrn_csr *csr, int64_t i) {
  if (csr->data_type == CSRN_F32)
    return ((const float *)csr->data)[i] == 0.0F;
  if (csr->data_type == CSRN_F64)
    return ((const double *)csr->data)[i] == 0.0;
  return offset_at(csr->data, csr->data_type, i) == 0;
}

/* The zeros of a dense matrix are left out; explicit zeros of a sparse one are kept. */
static int64_t count_entries(const csrn_io_matrix *matrix) {
  const csrn_csr *csr = &matrix->csr;
  int64_t begin = offset_at(csr->indptr, csr->indptr_type, 0);
  int64_t end = offset_at(csr->indptr, csr->indptr_type, csr->n_rows), n = 0;
  if (!matrix->dense)
    return end - begin;
  for (int64_t i = begin; i < end; i++)
    n += !is_zero(csr, i);
  return n;
}

static bool write_row(gzFile file, const csrn_io_matrix *matrix, int64_t row, bool row_first) {
  const csrn_csr *csr = &matrix->csr;
  const int64_t begin = offset_at(csr->indptr, csr->indptr_type, row);
  const int64_t end = offset_at(csr->indptr, csr->indptr_type, row + 1);
  char line[96];
  for (int64_t i = begin; i < end; i++) {
    int64_t column = matrix->dense ? i - begin : offset_at(csr->indices, csr->indices_type, i);
    if (matrix->dense && is_zero(csr, i))
      continue;
    int n = snprintf(line, sizeof line, "%" PRId64 " %" PRId64 " ", (row_first ? row : column) + 1,
                     (row_first ? column : row) + 1);
    n += format_value(line + n, sizeof line - (size_t)n, csr, i);
    line[n++] = '\n';
    if (gzwrite(file, line, (unsigned)n) != n)
      return false;
  }
  return true;
}

static bool write_all(gzFile file, const csrn_io_matrix *matrix, bool cells_in_rows,
                      const csrn_io_progress *progress) {
  const csrn_csr *csr = &matrix->csr;
  const bool row_first = (matrix->cells == CSRN_PER_ROW) == cells_in_rows;
  const bool real = csr->data_type == CSRN_F32 || csr->data_type == CSRN_F64;
  bool done =
      gzprintf(file, "%%%%MatrixMarket matrix coordinate %s general\n%" PRId64 " %" PRId64 " %" PRId64 "\n",
               real ? "real" : "integer", row_first ? csr->n_rows : csr->n_cols,
               row_first ? csr->n_cols : csr->n_rows, count_entries(matrix)) > 0;
  for (int64_t row = 0; done && row < csr->n_rows; row++) {
    done = write_row(file, matrix, row, row_first);
    if (row % 256 == 0 && !csrn_io_proceed(progress, "writing", row, csr->n_rows)) {
      errno = EINTR;
      done = false;
    }
  }
  return done;
}

static void choose_mode(const csrn_io_output *output, char mode[8]) {
  const size_t length = strlen(output->path);
  const bool gzip = length > 3 && strcasecmp(output->path + length - 3, ".gz") == 0;
  snprintf(mode, 8, gzip ? "wb%d" : "wbT", output->level ? output->level : 6);
}

csrn_io_status csrn_io_write_mtx(csrn_io_input *input, const csrn_io_matrix *matrix,
                                 const csrn_io_output *output, const char *path,
                                 const csrn_io_progress *progress, csrn_io_error *error) {
  char mode[8];
  choose_mode(output, mode);
  const bool cells_in_rows = csrn_io_mtx_cells_in_rows(input);
  gzFile file = gzopen(path, mode);
  bool done = file != NULL;
  if (file) {
    gzbuffer(file, 1 << 18);
    done = write_all(file, matrix, cells_in_rows, progress);
    int reason = errno;
    if (gzclose(file) != Z_OK)
      done = false;
    else
      errno = reason;
  }
  if (done)
    return CSRN_IO_OK;
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", output->path, strerror(errno));
}
