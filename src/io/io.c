/*
 * The file library's front: finds the format of an input by its content, hands the work
 * to that format's reader, and holds the small things that all formats share.
 */
#include "io_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <isa-l.h>
#include <libdeflate.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>
#include <zlib.h>

/* An .h5ad and a 10x .h5 are both HDF5 and look inside; the order does not matter. */
static const csrn_io_reader *const readers[] = {&csrn_io_h5ad_reader, &csrn_io_10x_reader,
                                                &csrn_io_npz_reader, &csrn_io_mtx_reader};

/* How many bytes the character at `c` has, by table 3-7 of the Unicode Standard; 0: it is none. */
static int length_of_character(const unsigned char *c) {
  static const struct {
    unsigned char first, last, second_first, second_last, length;
  } forms[] = {{0x01, 0x7f, 0, 0xff, 1},    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
               {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
               {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    if (c[0] < forms[i].first || c[0] > forms[i].last)
      continue;
    if (c[1] < forms[i].second_first || c[1] > forms[i].second_last)
      return 0;
    for (int k = 2; k < forms[i].length; k++)
      if (c[k] < 0x80 || c[k] > 0xbf)
        return 0;
    return forms[i].length;
  }
  return 0;
}

size_t csrn_io_utf8_length(const char *text) {
  size_t length = 0;
  for (int n; (n = length_of_character((const unsigned char *)text + length)) > 0;)
    length += (size_t)n;
  return length;
}

int csrn_io_is_utf8(const char *text) {
  return text[csrn_io_utf8_length(text)] == '\0';
}

void csrn_io_make_printable(char *text) {
  for (unsigned char *c = (unsigned char *)text; *c;) {
    const int n = length_of_character(c);
    const int control = n == 1 ? *c < 0x20 || *c == 0x7f : n == 2 && c[0] == 0xc2 && c[1] < 0xa0;
    const int bytes = n > 0 ? n : 1;
    if (n == 0 || control)
      memset(c, '?', (size_t)bytes);
    c += bytes;
  }
}

csrn_io_status csrn_io_fail(csrn_io_error *error, csrn_io_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->text, sizeof error->text, format, arguments);
  va_end(arguments);
  csrn_io_make_printable(error->text); /* sentences quote what stands in files */
  return status;
}

int csrn_io_proceed(const csrn_io_progress *progress, const char *step, int64_t done, int64_t total) {
  return !progress || !progress->report || progress->report(progress->user, step, done, total) == 0;
}

void csrn_io_table_free(csrn_io_table *table) {
  for (int c = 0; c < table->n_columns; c++) {
    for (int64_t i = 0; table->columns[c] && i < table->n_rows; i++)
      free(table->columns[c][i]);
    free(table->columns[c]);
  }
  free(table->path);
  memset(table, 0, sizeof *table);
}

csrn_io_status csrn_io_check_file(const char *path, csrn_io_error *error) {
  struct stat status;
  const int found = stat(path, &status) == 0;
  if (!found || S_ISDIR(status.st_mode))
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s", path, strerror(found ? EISDIR : errno));
  if (S_ISREG(status.st_mode))
    return CSRN_IO_OK;
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: is a %s; expected a file, which can be read twice", path,
                      S_ISFIFO(status.st_mode) ? "pipe" : "device or socket");
}

static csrn_io_status read_magic(const char *path, unsigned char magic[8], csrn_io_error *error) {
  memset(magic, 0, 8);
  csrn_io_status code = csrn_io_check_file(path, error);
  if (code)
    return code;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s", path, strerror(errno));
  ssize_t n = read(file, magic, 8);
  int reason = errno;
  close(file);
  if (n < 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s", path, strerror(reason));
  if (n == 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: the file is empty", path);
  return CSRN_IO_OK;
}

csrn_io_status csrn_io_open(const char *path, const csrn_io_select *select, csrn_io_input **input,
                            csrn_io_error *error) {
  static const csrn_io_select defaults;
  unsigned char magic[8];
  *input = NULL;
  csrn_io_status status = read_magic(path, magic, error);
  if (status)
    return status;
  csrn_io_input *in = calloc(1, sizeof *in);
  if (in)
    in->path = strdup(path);
  if (in && select)
    in->memory = select->memory;
  if (!in || !in->path) {
    free(in);
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", path);
  }
  int found = 0;
  for (size_t i = 0; i < sizeof readers / sizeof readers[0] && !found; i++)
    if ((found = readers[i]->recognizes(path, magic)) > 0)
      in->reader = readers[i];
  if (found < 0)
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be read: %s", path, strerror(errno));
  else if (!in->reader)
    status = csrn_io_fail(error, CSRN_IO_FAILED,
                          "%s: not a count matrix that csrnorm reads: expected an .h5ad or 10x .h5 (HDF5), "
                          "MatrixMarket or .npz file",
                          path);
  else
    status = in->reader->open(in, select ? select : &defaults, error);
  if (status)
    csrn_io_close(in);
  else
    *input = in;
  return status;
}

void csrn_io_close(csrn_io_input *input) {
  if (!input)
    return;
  if (input->reader)
    input->reader->close(input);
  csrn_io_table_free(&input->cells);
  csrn_io_table_free(&input->genes);
  free(input->path);
  free(input);
}

const csrn_io_description *csrn_io_describe(const csrn_io_input *input) {
  return &input->description;
}

/* ---- Matrices ------------------------------------------------------------- */

int64_t csrn_io_integer_at(const void *array, csrn_dtype type, int64_t i) {
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

/* Values before the first row or behind the last would get no result, though a writer wrote all. The first
 * are an error, as in scipy, which lets arrays be longer than their last row: those are not taken over. */
static csrn_io_status trim_matrix(const csrn_io_input *input, csrn_csr *csr, csrn_io_error *error) {
  const int64_t first = csrn_io_integer_at(csr->indptr, csr->indptr_type, 0);
  if (first != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: indptr of %s starts with %" PRId64 "; expected 0",
                        input->path, input->description.matrix_name, first);
  csr->nnz = csrn_io_integer_at(csr->indptr, csr->indptr_type, csr->n_rows);
  return CSRN_IO_OK;
}

const char *csrn_io_matrix_fault(const csrn_context *ctx, char text[CSRN_IO_FAULT]) {
  const char *detail = csrn_error_detail(ctx);
  size_t n = 0;
  while (*detail && n + 1 < CSRN_IO_FAULT) {
    if (strncmp(detail, "A->", 3) == 0)
      detail += 3;
    text[n++] = *detail++;
  }
  text[n] = '\0';
  return text;
}

/* A matrix of a file is checked whole before anything is computed with it. */
static csrn_io_status check_matrix(const csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                                   csrn_io_error *error) {
  csrn_csr view = matrix->csr;
  const int64_t empty = 0;
  char fault[CSRN_IO_FAULT];
  if (matrix->dense)
    return CSRN_IO_OK; /* its structure was made here */
  if (!view.indices)
    view.indices = &empty; /* no entries: nothing to look at */
  if (csrn_csr_check(ctx, &view) == CSRN_OK)
    return trim_matrix(input, &matrix->csr, error);
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s is not a valid sparse matrix: %s", input->path,
                      input->description.matrix_name, csrn_io_matrix_fault(ctx, fault));
}

csrn_io_status csrn_io_read(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                            const csrn_io_progress *progress, csrn_io_error *error) {
  memset(matrix, 0, sizeof *matrix);
  csrn_io_status status = input->reader->read(input, ctx, matrix, progress, error);
  if (!status)
    status = check_matrix(input, ctx, matrix, error);
  if (status)
    csrn_io_matrix_free(matrix);
  return status;
}

void csrn_io_matrix_free(csrn_io_matrix *matrix) {
  free((void *)(uintptr_t)matrix->csr.indptr);
  free((void *)(uintptr_t)matrix->csr.indices);
  free(matrix->csr.data);
  memset(matrix, 0, sizeof *matrix);
}

csrn_io_status csrn_io_matrix_indices(csrn_io_matrix *matrix, csrn_io_error *error) {
  csrn_csr *csr = &matrix->csr;
  if (!matrix->dense || csr->indices)
    return CSRN_IO_OK;
  if (csr->n_cols > INT32_MAX)
    return csrn_io_fail(error, CSRN_IO_FAILED, "a dense matrix of %" PRId64 " columns is too wide",
                        csr->n_cols);
  int32_t *indices = malloc(((size_t)csr->nnz + 1) * sizeof *indices);
  if (!indices)
    return csrn_io_fail(error, CSRN_IO_FAILED, "out of memory for %" PRId64 " column indices", csr->nnz);
  for (int64_t i = 0; i < csr->nnz; i += csr->n_cols)
    for (int64_t c = 0; c < csr->n_cols; c++)
      indices[i + c] = (int32_t)c;
  csr->indices = indices;
  csr->indices_type = CSRN_I32;
  return CSRN_IO_OK;
}

const char *csrn_io_libraries(void) {
  static char text[160];
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  snprintf(text, sizeof text, "HDF5 %u.%u.%u, libzip %s, zlib %s, libdeflate %s, ISA-L %d.%d.%d, liblzf",
           major, minor, release, zip_libzip_version(), zlibVersion(), LIBDEFLATE_VERSION_STRING,
           ISAL_MAJOR_VERSION, ISAL_MINOR_VERSION, ISAL_PATCH_VERSION);
  return text;
}
