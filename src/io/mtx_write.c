/*
 * Writing MatrixMarket, plain or gzip: the matrix alone, genes x cells as 10x has it unless
 * the input was a file with cells in rows. Decimals read back to the same bits. The lists
 * of names that may lie beside an input are not written, so that the output is one file
 * that appears whole or not at all.
 */
#include "decimal.h"
#include "io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

static bool is_zero(const csrn_csr *csr, int64_t i) {
  if (csr->data_type == CSRN_F32)
    return ((const float *)csr->data)[i] == 0.0F;
  if (csr->data_type == CSRN_F64)
    return ((const double *)csr->data)[i] == 0.0;
  return csrn_io_integer_at(csr->data, csr->data_type, i) == 0;
}

/* The zeros of a dense matrix are left out; explicit zeros of a sparse one are kept. */
static int64_t count_entries(const csrn_io_matrix *matrix) {
  const csrn_csr *csr = &matrix->csr;
  int64_t begin = csrn_io_integer_at(csr->indptr, csr->indptr_type, 0);
  int64_t end = csrn_io_integer_at(csr->indptr, csr->indptr_type, csr->n_rows), n = 0;
  if (!matrix->dense)
    return end - begin;
  for (int64_t i = begin; i < end; i++)
    n += !is_zero(csr, i);
  return n;
}

typedef struct mtx_writer {
  gzFile file;
  const csrn_io_matrix *matrix;
  bool row_first; /* the rows in memory are the rows of the file */
  bool cancelled;
  int reason; /* errno of a failed write */
} mtx_writer;

/* Two coordinates and a value, with spaces and a line end. */
enum { LONGEST_LINE = 2 * 20 + CSRN_DECIMAL_LONGEST + 8 };

static int format_entry(char *line, const mtx_writer *writer, int64_t row, int64_t column, int64_t i) {
  const csrn_csr *csr = &writer->matrix->csr;
  int n = csrn_format_integer(line, (writer->row_first ? row : column) + 1);
  line[n++] = ' ';
  n += csrn_format_integer(line + n, (writer->row_first ? column : row) + 1);
  line[n++] = ' ';
  if (csr->data_type == CSRN_F32)
    n += csrn_format_float(line + n, ((const float *)csr->data)[i]);
  else if (csr->data_type == CSRN_F64)
    n += csrn_format_double(line + n, ((const double *)csr->data)[i]);
  else
    n += csrn_format_integer(line + n, csrn_io_integer_at(csr->data, csr->data_type, i));
  line[n++] = '\n';
  return n;
}

static bool put(mtx_writer *writer, const char *text, int n) {
  if (gzwrite(writer->file, text, (unsigned)n) == n)
    return true;
  writer->reason = errno;
  return false;
}

static bool write_row(mtx_writer *writer, int64_t row) {
  const csrn_csr *csr = &writer->matrix->csr;
  const int64_t begin = csrn_io_integer_at(csr->indptr, csr->indptr_type, row);
  const int64_t end = csrn_io_integer_at(csr->indptr, csr->indptr_type, row + 1);
  char line[LONGEST_LINE];
  bool done = true;
  for (int64_t i = begin; done && i < end; i++) {
    if (writer->matrix->dense && is_zero(csr, i))
      continue;
    int64_t column =
        writer->matrix->dense ? i - begin : csrn_io_integer_at(csr->indices, csr->indices_type, i);
    done = put(writer, line, format_entry(line, writer, row, column, i));
  }
  return done;
}

static bool write_header(mtx_writer *writer) {
  const csrn_csr *csr = &writer->matrix->csr;
  const char *note = csr->data_type == CSRN_F32   ? CSRN_IO_MTX_FLOAT32 "\n"
                     : csr->data_type == CSRN_F64 ? CSRN_IO_MTX_FLOAT64 "\n"
                                                  : "";
  char text[256];
  int n = snprintf(text, sizeof text,
                   "%%%%MatrixMarket matrix coordinate %s general\n%s%" PRId64 " %" PRId64 " %" PRId64 "\n",
                   *note ? "real" : "integer", note, writer->row_first ? csr->n_rows : csr->n_cols,
                   writer->row_first ? csr->n_cols : csr->n_rows, count_entries(writer->matrix));
  return put(writer, text, n);
}

static bool write_all(mtx_writer *writer, const csrn_io_progress *progress) {
  const int64_t n_rows = writer->matrix->csr.n_rows;
  bool done = write_header(writer);
  for (int64_t row = 0; done && row < n_rows; row++) {
    done = write_row(writer, row);
    writer->cancelled = done && row % 256 == 0 && !csrn_io_proceed(progress, "writing", row, n_rows);
    done = done && !writer->cancelled;
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
  mtx_writer writer = {.matrix = matrix, .row_first = (matrix->cells == CSRN_PER_ROW) == cells_in_rows};
  errno = ENOMEM; /* where zlib has no reason of the system's */
  writer.file = gzopen(path, mode);
  bool done = writer.file != NULL;
  if (done) {
    gzbuffer(writer.file, 1 << 18);
    done = write_all(&writer, progress);
    if (gzclose(writer.file) != Z_OK && done)
      done = false;
    else
      errno = writer.reason;
  }
  if (done)
    return CSRN_IO_OK;
  return writer.cancelled ? csrn_io_fail(error, CSRN_IO_FAILED, "interrupted")
                          : csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", output->path,
                                         strerror(errno));
}
