/*
 * Writing MatrixMarket, plain or gzip: the matrix alone, genes x cells as 10x has it unless
 * the input was a file with cells in rows. Decimals read back to the same bits. The lists
 * of names that may lie beside an input are not written, so that the output is one file
 * that appears whole or not at all. Threads format and compress blocks of entries, each a
 * gzip member, which are written in their order: the same file for any number of threads.
 */
#include "decimal.h"
#include "io_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
  const csrn_io_matrix *matrix;
  const csrn_io_output *output;
  const csrn_io_progress *progress;
  bool row_first; /* the rows in memory are the rows of the file */
  bool gzip;
  int64_t begin, end; /* of the entries */
  int64_t n_blocks;
  FILE *file;
  pthread_mutex_t lock; /* of the file and all below */
  pthread_cond_t turned;
  int64_t next, turn; /* blocks begun, and written */
  csrn_io_status status;
  csrn_io_error *error;
} mtx_writer;

/* Two coordinates and a value, with spaces and a line end. */
enum {
  LONGEST_LINE = 2 * 20 + CSRN_DECIMAL_LONGEST + 8,
  LONGEST_HEADER = 256,
  BLOCK = 1 << 15 /* entries: half a MB of text as a rule */
};

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

static int64_t offset(const mtx_writer *writer, int64_t row) {
  return csrn_io_integer_at(writer->matrix->csr.indptr, writer->matrix->csr.indptr_type, row);
}

/* The row of an entry. */
static int64_t find_row(const mtx_writer *writer, int64_t entry) {
  int64_t low = 0, high = writer->matrix->csr.n_rows;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (offset(writer, middle) <= entry)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static size_t format_header(const mtx_writer *writer, char *text) {
  const csrn_csr *csr = &writer->matrix->csr;
  const char *note = csr->data_type == CSRN_F32   ? CSRN_IO_MTX_FLOAT32 "\n"
                     : csr->data_type == CSRN_F64 ? CSRN_IO_MTX_FLOAT64 "\n"
                                                  : "";
  return (size_t)snprintf(text, LONGEST_HEADER,
                          "%%%%MatrixMarket matrix coordinate %s general\n%s%" PRId64 " %" PRId64 " %" PRId64
                          "\n",
                          *note ? "real" : "integer", note, writer->row_first ? csr->n_rows : csr->n_cols,
                          writer->row_first ? csr->n_cols : csr->n_rows, count_entries(writer->matrix));
}

static size_t format_block(const mtx_writer *writer, int64_t block, char *text) {
  const csrn_csr *csr = &writer->matrix->csr;
  const int64_t begin = writer->begin + block * BLOCK;
  const int64_t end = writer->end - begin < BLOCK ? writer->end : begin + BLOCK;
  size_t n = block == 0 ? format_header(writer, text) : 0;
  int64_t row = begin < end ? find_row(writer, begin) : 0;
  for (int64_t i = begin; i < end; i++) {
    while (offset(writer, row + 1) <= i)
      row++;
    if (writer->matrix->dense && is_zero(csr, i))
      continue;
    const int64_t column = writer->matrix->dense ? i - offset(writer, row)
                                                 : csrn_io_integer_at(csr->indices, csr->indices_type, i);
    n += (size_t)format_entry(text + n, writer, row, column, i);
  }
  return n;
}

/* ---- Threads -------------------------------------------------------------------- */

/* What a thread has to itself. */
typedef struct mtx_scratch {
  mtx_writer *writer;
  char *text, *packed;
  size_t room; /* of packed */
  struct libdeflate_compressor *compressor;
} mtx_scratch;

static bool prepare(mtx_scratch *scratch, mtx_writer *writer) {
  const size_t room = LONGEST_HEADER + (size_t)BLOCK * LONGEST_LINE;
  scratch->writer = writer;
  scratch->text = malloc(room);
  if (!writer->gzip)
    return scratch->text != NULL;
  scratch->compressor = libdeflate_alloc_compressor(writer->output->level ? writer->output->level : 6);
  if (scratch->compressor)
    scratch->room = libdeflate_gzip_compress_bound(scratch->compressor, room);
  scratch->packed = scratch->compressor ? malloc(scratch->room) : NULL;
  return scratch->text && scratch->packed;
}

static void release(mtx_scratch *scratch) {
  libdeflate_free_compressor(scratch->compressor);
  free(scratch->packed);
  free(scratch->text);
}

static csrn_io_status write_failed(const mtx_writer *writer) {
  return csrn_io_fail(writer->error, CSRN_IO_FAILED, "%s: cannot be written: %s", writer->output->path,
                      strerror(errno));
}

/* The next block, or -1. */
static int64_t begin_block(mtx_writer *writer) {
  pthread_mutex_lock(&writer->lock);
  const int64_t block = writer->status || writer->next == writer->n_blocks ? -1 : writer->next++;
  pthread_mutex_unlock(&writer->lock);
  return block;
}

/* Writes a block when those before it are written. */
static void put(mtx_writer *writer, int64_t block, const char *bytes, size_t n) {
  pthread_mutex_lock(&writer->lock);
  while (writer->turn < block && !writer->status)
    pthread_cond_wait(&writer->turned, &writer->lock);
  if (!writer->status && fwrite(bytes, 1, n, writer->file) != n)
    writer->status = write_failed(writer);
  writer->turn++;
  if (!writer->status && !csrn_io_proceed(writer->progress, "writing", writer->turn, writer->n_blocks))
    writer->status = csrn_io_fail(writer->error, CSRN_IO_FAILED, "interrupted");
  pthread_cond_broadcast(&writer->turned);
  pthread_mutex_unlock(&writer->lock);
}

static void *work(void *arg) {
  mtx_scratch *scratch = arg;
  mtx_writer *writer = scratch->writer;
  for (int64_t block; (block = begin_block(writer)) >= 0;) {
    const size_t n = format_block(writer, block, scratch->text);
    if (writer->gzip)
      put(writer, block, scratch->packed,
          libdeflate_gzip_compress(scratch->compressor, scratch->text, n, scratch->packed, scratch->room));
    else
      put(writer, block, scratch->text, n);
  }
  return NULL;
}

/* The calling thread is one of n; fewer do as well. */
static csrn_io_status write_all(mtx_writer *writer, int n) {
  mtx_scratch *scratch = calloc((size_t)n, sizeof *scratch);
  pthread_t *threads = calloc((size_t)n, sizeof *threads);
  int ready = 0, started = 0;
  while (scratch && ready < n && prepare(&scratch[ready], writer))
    ready++;
  const bool able = ready > 0 && threads; /* writer->status belongs to the threads from here on */
  if (!able)
    writer->status = csrn_io_fail(writer->error, CSRN_IO_FAILED, "%s: out of memory for a block of text",
                                  writer->output->path);
  for (; able && started + 1 < ready; started++)
    if (pthread_create(&threads[started], NULL, work, &scratch[started + 1]) != 0)
      break;
  if (able)
    work(&scratch[0]);
  for (int i = 0; i < started; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; scratch && i < n; i++)
    release(&scratch[i]);
  free(threads);
  free(scratch);
  return writer->status;
}

csrn_io_status csrn_io_write_mtx(csrn_io_input *input, const csrn_io_matrix *matrix,
                                 const csrn_io_output *output, const char *path,
                                 const csrn_io_progress *progress, csrn_io_error *error) {
  const size_t length = strlen(output->path);
  const bool cells_in_rows = csrn_io_mtx_cells_in_rows(input);
  mtx_writer writer = {.matrix = matrix,
                       .output = output,
                       .progress = progress,
                       .row_first = (matrix->cells == CSRN_PER_ROW) == cells_in_rows,
                       .gzip = length > 3 && strcasecmp(output->path + length - 3, ".gz") == 0,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .turned = PTHREAD_COND_INITIALIZER,
                       .error = error};
  writer.begin = offset(&writer, 0);
  writer.end = offset(&writer, matrix->csr.n_rows);
  writer.n_blocks = (writer.end - writer.begin) / BLOCK + 1; /* the first has the header */
  writer.file = fopen(path, "wbe");
  if (!writer.file)
    return write_failed(&writer);
  const int threads = output->threads > 1 ? output->threads : 1;
  const int wanted = writer.n_blocks < threads ? (int)writer.n_blocks : threads;
  const int64_t each = (int64_t)BLOCK * LONGEST_LINE * (1 + writer.gzip);
  csrn_io_status status = write_all(&writer, csrn_io_affordable_writers(input, matrix, each, wanted));
  if (fclose(writer.file) != 0 && !status)
    status = write_failed(&writer);
  return status;
}
