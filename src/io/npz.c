/*
 * Sparse matrices as scipy.sparse.save_npz() writes them: a zip, by libzip, of the arrays
 * data, indices, indptr, shape and format.
 */
#include "npz.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int recognizes_npz(const char *path, const unsigned char magic[8]) {
  (void)path;
  return memcmp(magic, "PK\x03\x04", 4) == 0;
}

static csrn_io_status fail_member(const char *path, const char *name, const char *what,
                                  csrn_io_error *error) {
  csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s %s", path, name, what);
  return CSRN_IO_FAILED;
}

csrn_io_status csrn_npz_fail(const char *path, const char *name, zip_error_t *reason, const char *otherwise,
                             csrn_io_error *error) {
  const int number = zip_error_system_type(reason) == ZIP_ET_SYS ? zip_error_code_system(reason) : 0;
  if (number != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %s cannot be read: %s", path, name, strerror(number));
  return fail_member(path, name, otherwise, error);
}

/* ---- Reading ---------------------------------------------------------------- */

/* Deflate makes at most 258 bytes of two bits. */
enum { HIGHEST_RATIO = 1032 };

int64_t csrn_npz_bytes(zip_file_t *file, char *to, int64_t n) {
  int64_t done = 0;
  while (done < n) {
    zip_int64_t got = zip_fread(file, to + done, (zip_uint64_t)(n - done));
    if (got < 0)
      return -1;
    if (got == 0)
      break;
    done += got;
  }
  return done;
}

/* Parses a member's header, and checks that the member is as long as it says. */
static csrn_io_status read_header(const csrn_io_input *input, const char *name, csrn_npy *npy,
                                  csrn_io_error *error) {
  const csrn_npz *state = input->state;
  unsigned char bytes[CSRN_NPY_LONGEST];
  zip_stat_t status;
  zip_file_t *file = zip_fopen(state->zip, name, 0);
  static const char wrong[] = "is damaged or no one-dimensional array of numbers";
  if (!file || zip_stat(state->zip, name, 0, &status) != 0) {
    csrn_npz_fail(input->path, name, zip_get_error(state->zip),
                  "is missing or cannot be opened: is this from scipy.sparse.save_npz?", error);
    if (file)
      zip_fclose(file);
    return CSRN_IO_FAILED;
  }
  int64_t n = csrn_npz_bytes(file, (char *)bytes, sizeof bytes);
  if (n < 0)
    csrn_npz_fail(input->path, name, zip_file_get_error(file), wrong, error);
  zip_fclose(file);
  if (n < 0)
    return CSRN_IO_FAILED;
  if (!csrn_npy_parse(bytes, (size_t)n, npy))
    return fail_member(input->path, name, wrong, error);
  if ((uint64_t)npy->n > (uint64_t)INT64_MAX / 16 / npy->size ||
      status.size - npy->data_offset != (uint64_t)npy->n * npy->size)
    return fail_member(input->path, name, "is shorter or longer than its header says", error);
  if (status.size / HIGHEST_RATIO > status.comp_size)
    return fail_member(input->path, name, "is damaged: it cannot hold as much as its header says", error);
  return CSRN_IO_OK;
}

/* Reads a member's elements behind its header, in parts. The last read, of nothing, is where libzip compares
 * the checksum. */
static csrn_io_status read_elements(const csrn_io_input *input, const char *name, const csrn_npy *npy,
                                    char *values, const csrn_io_progress *progress, csrn_io_error *error) {
  const csrn_npz *state = input->state;
  const int64_t bytes = npy->n * (int64_t)npy->size, offset = (int64_t)npy->data_offset, part = 1 << 24;
  char header[CSRN_NPY_LONGEST];
  zip_file_t *file = zip_fopen(state->zip, name, 0);
  bool proceeds = true, done = file && csrn_npz_bytes(file, header, offset) == offset;
  for (int64_t i = 0; done && i < bytes; i += part) {
    const int64_t n = bytes - i < part ? bytes - i : part;
    done = csrn_npz_bytes(file, values + i, n) == n;
    proceeds = !done || csrn_io_proceed(progress, "reading", i + n, bytes);
    done = done && proceeds;
  }
  done = done && zip_fread(file, header, 1) == 0;
  if (!proceeds)
    csrn_io_fail(error, CSRN_IO_FAILED, "interrupted");
  else if (!done)
    csrn_npz_fail(input->path, name, file ? zip_file_get_error(file) : zip_get_error(state->zip),
                  "cannot be read: the file is damaged", error);
  if (file)
    zip_fclose(file);
  return done ? CSRN_IO_OK : CSRN_IO_FAILED;
}

csrn_io_status csrn_npz_values(const csrn_io_input *input, const char *name, const csrn_npy *npy,
                               void **values, const csrn_io_progress *progress, csrn_io_error *error) {
  const size_t memory = csrn_dtype_size(npy->type);
  *values = malloc((size_t)npy->n * (memory > npy->size ? memory : npy->size) + 1);
  if (!*values)
    return fail_member(input->path, name, "does not fit into memory", error);
  csrn_io_status status = read_elements(input, name, npy, *values, progress, error);
  if (!status) {
    if (npy->type != CSRN_NONE)
      csrn_npy_convert(npy, *values);
    return CSRN_IO_OK;
  }
  free(*values);
  *values = NULL;
  return status;
}

/* The text of format.npy, "csr" say, from either kind of string. */
static csrn_io_status read_layout(csrn_io_input *input, csrn_io_error *error) {
  csrn_npz *state = input->state;
  csrn_npy npy;
  void *values = NULL;
  char text[16] = "";
  csrn_io_status status = read_header(input, "format.npy", &npy, error);
  if (!status && npy.n != 1)
    status = fail_member(input->path, "format.npy", "is not one word", error);
  if (!status)
    status = csrn_npz_values(input, "format.npy", &npy, &values, NULL, error);
  if (status)
    return status;
  const size_t step = npy.kind == 'U' ? 4 : 1;
  for (size_t i = 0; i < npy.size / step && i < sizeof text - 1; i++)
    text[i] = ((const char *)values)[i * step + (npy.kind == 'U' && npy.swapped ? 3 : 0)];
  free(values);
  state->csc = strcmp(text, "csc") == 0;
  if (!state->csc && strcmp(text, "csr") != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: the sparse format is \"%s\"; expected csr or csc",
                        input->path, text);
  return CSRN_IO_OK;
}

static csrn_io_status read_shape(csrn_io_input *input, csrn_io_error *error) {
  csrn_npz *state = input->state;
  csrn_npy npy;
  void *values = NULL;
  csrn_io_status status = read_header(input, "shape.npy", &npy, error);
  if (!status && (npy.n != 2 || (npy.type != CSRN_I64 && npy.type != CSRN_I32)))
    status = fail_member(input->path, "shape.npy", "does not hold two integers", error);
  if (!status)
    status = csrn_npz_values(input, "shape.npy", &npy, &values, NULL, error);
  for (int i = 0; !status && i < 2; i++)
    state->shape[i] = npy.type == CSRN_I64 ? ((const int64_t *)values)[i] : ((const int32_t *)values)[i];
  free(values);
  if (!status && (state->shape[0] < 0 || state->shape[1] < 0))
    status = fail_member(input->path, "shape.npy", "is negative", error);
  return status;
}

static csrn_io_status read_headers(csrn_io_input *input, csrn_io_error *error) {
  csrn_npz *state = input->state;
  csrn_io_status status = read_layout(input, error);
  if (!status)
    status = read_shape(input, error);
  if (!status)
    status = read_header(input, "data.npy", &state->data, error);
  if (!status)
    status = read_header(input, "indices.npy", &state->indices, error);
  if (!status)
    status = read_header(input, "indptr.npy", &state->indptr, error);
  if (status)
    return status;
  if (state->data.type == CSRN_NONE)
    return fail_member(input->path, "data.npy", "does not hold numbers", error);
  if (!strchr("iu", state->indices.kind) || !strchr("iu", state->indptr.kind))
    return fail_member(input->path, "indices.npy or indptr.npy", "does not hold integers", error);
  if (state->indices.n != state->data.n)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: %" PRId64 " indices for %" PRId64 " values", input->path,
                        state->indices.n, state->data.n);
  if (state->indptr.n - 1 != state->shape[state->csc])
    return csrn_io_fail(error, CSRN_IO_FAILED,
                        "%s: indptr has %" PRId64 " elements; expected %" PRIu64 " for %" PRId64 " %s",
                        input->path, state->indptr.n, (uint64_t)state->shape[state->csc] + 1,
                        state->shape[state->csc], state->csc ? "columns" : "rows");
  return CSRN_IO_OK;
}

static csrn_io_status open_npz(csrn_io_input *input, const csrn_io_select *select, csrn_io_error *error) {
  static const char *const nothing[] = {NULL};
  csrn_npz *state = calloc(1, sizeof *state);
  int code;
  input->state = state;
  if (!state)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", input->path);
  if (select->layer || select->genome || select->feature_types)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: an .npz has no layers, genomes or feature types",
                        input->path);
  state->zip = zip_open(input->path, ZIP_RDONLY, &code);
  if (!state->zip) {
    zip_error_t reason;
    zip_error_init_with_code(&reason, code);
    csrn_io_fail(error, CSRN_IO_FAILED, "%s: is no readable zip file: %s", input->path,
                 zip_error_strerror(&reason));
    zip_error_fini(&reason);
    return CSRN_IO_FAILED;
  }
  csrn_io_status status = read_headers(input, error);
  zip_stat_t data;
  state->deflated =
      !status && zip_stat(state->zip, "data.npy", 0, &data) == 0 && data.comp_method != ZIP_CM_STORE;
  state->cells_in_columns = select->cells == CSRN_IO_CELLS_COLUMNS;
  state->input = input;
  csrn_npz_view(state);
  input->description =
      (csrn_io_description){.format = CSRN_IO_NPZ,
                            .layout = state->csc ? CSRN_IO_CSC : CSRN_IO_CSR,
                            .format_name = "scipy npz",
                            .matrix_name = "matrix",
                            .n_cells = state->shape[state->cells_in_columns],
                            .n_genes = state->shape[!state->cells_in_columns],
                            .nnz = state->data.n,
                            .nnz_file = state->data.n,
                            .data_type = state->data.type == CSRN_U64 ? CSRN_I64 : state->data.type,
                            .indices_type = state->indices.type,
                            .indptr_type = state->indptr.type,
                            .filters = state->deflated ? "deflate" : "none",
                            .layers = nothing,
                            .genomes = nothing,
                            .feature_types = nothing};
  return status;
}

/* uint64 data are read as int64, where all of them fit. */
static csrn_io_status as_signed(const csrn_io_input *input, csrn_csr *csr, csrn_io_error *error) {
  if (csr->data_type != CSRN_U64)
    return CSRN_IO_OK;
  for (int64_t i = 0; i < csr->nnz; i++)
    if (((const uint64_t *)csr->data)[i] > INT64_MAX)
      return fail_member(input->path, "data.npy", "holds values above 2^63 - 1", error);
  csr->data_type = CSRN_I64;
  return CSRN_IO_OK;
}

static csrn_io_status read_npz(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                               const csrn_io_progress *progress, csrn_io_error *error) {
  (void)ctx;
  const csrn_npz *state = input->state;
  csrn_csr *csr = &matrix->csr;
  void *indptr = NULL, *indices = NULL;
  matrix->cells = state->csc == state->cells_in_columns ? CSRN_PER_ROW : CSRN_PER_COLUMN;
  *csr = (csrn_csr){.n_rows = state->shape[state->csc],
                    .n_cols = state->shape[!state->csc],
                    .nnz = state->data.n,
                    .indptr_type = state->indptr.type,
                    .indices_type = state->indices.type,
                    .data_type = state->data.type};
  csrn_io_status status = csrn_npz_values(input, "data.npy", &state->data, &csr->data, progress, error);
  if (!status)
    status = csrn_npz_values(input, "indices.npy", &state->indices, &indices, progress, error);
  csr->indices = indices;
  if (!status)
    status = csrn_npz_values(input, "indptr.npy", &state->indptr, &indptr, progress, error);
  csr->indptr = indptr;
  return status ? status : as_signed(input, csr, error);
}

static void close_npz(csrn_io_input *input) {
  csrn_npz *state = input->state;
  if (state)
    csrn_npz_members_close(state);
  if (state && state->zip)
    zip_discard(state->zip);
  free(state);
}

const csrn_io_reader csrn_io_npz_reader = {recognizes_npz, open_npz, read_npz, close_npz};

/* ---- Writing ---------------------------------------------------------------- */

/* What libzip writes to: the file that is already there under the temporary name. By itself it would make a
 * file under a third name, which csrn_io_abandon() could not remove. */
typedef struct npz_target {
  int file;
  zip_error_t error;
} npz_target;

static zip_int64_t fail_target(npz_target *target, int code) {
  zip_error_set(&target->error, code, errno);
  return -1;
}

static zip_int64_t seek_target(npz_target *target, const zip_source_args_seek_t *to) {
  if (!to)
    return -1;
  return lseek(target->file, (off_t)to->offset, to->whence) < 0 ? fail_target(target, ZIP_ER_SEEK) : 0;
}

/* All of it: a disk that becomes full takes a part first, and says why only to the next call. */
static zip_int64_t write_target(npz_target *target, const char *bytes, zip_uint64_t length) {
  zip_uint64_t done = 0;
  while (done < length) {
    const ssize_t n = write(target->file, bytes + done, length - done);
    if (n < 0 && errno != EINTR)
      return fail_target(target, ZIP_ER_WRITE);
    done += n > 0 ? (zip_uint64_t)n : 0;
  }
  return (zip_int64_t)length;
}

static zip_int64_t serve_target(void *user, void *data, zip_uint64_t length, zip_source_cmd_t command) {
  npz_target *target = user;
  zip_int64_t n;
  switch (command) {
  case ZIP_SOURCE_SUPPORTS:
    return ZIP_SOURCE_SUPPORTS_WRITABLE;
  case ZIP_SOURCE_STAT: /* nothing to keep: an archive to be created */
    errno = ENOENT;
    return fail_target(target, ZIP_ER_READ);
  case ZIP_SOURCE_ERROR:
    return zip_error_to_data(&target->error, data, length);
  case ZIP_SOURCE_WRITE:
    return write_target(target, data, length);
  case ZIP_SOURCE_SEEK_WRITE:
    return seek_target(target, ZIP_SOURCE_GET_ARGS(zip_source_args_seek_t, data, length, &target->error));
  case ZIP_SOURCE_TELL_WRITE:
    n = lseek(target->file, 0, SEEK_CUR);
    return n < 0 ? fail_target(target, ZIP_ER_TELL) : n;
  case ZIP_SOURCE_BEGIN_WRITE:
  case ZIP_SOURCE_COMMIT_WRITE:
  case ZIP_SOURCE_ROLLBACK_WRITE:
  case ZIP_SOURCE_REMOVE:
  case ZIP_SOURCE_FREE:
    return 0;
  default:
    errno = EOPNOTSUPP;
    return fail_target(target, ZIP_ER_OPNOTSUPP);
  }
}

enum { N_MEMBERS = 5 };

/* A file being written; it has to outlive zip_close(), which reads the members. */
typedef struct npz_writer {
  zip_t *zip;
  npz_target target;
  char headers[N_MEMBERS][CSRN_NPY_HEADER];
  int n_members;
  int64_t shape[2], bytes;
  bool deflate;
  zip_uint32_t level;
  double fraction; /* done */
  bool cancelled;
  const csrn_io_progress *progress;
} npz_writer;

/* A member of one of the headers and the values behind it, which are not copied. */
static bool add_member(npz_writer *writer, const char *name, const void *values, size_t bytes) {
  zip_buffer_fragment_t parts[2] = {
      {.data = (zip_uint8_t *)writer->headers[writer->n_members], .length = CSRN_NPY_HEADER},
      {.data = (zip_uint8_t *)(uintptr_t)values, .length = bytes}};
  zip_source_t *source = zip_source_buffer_fragment(writer->zip, parts, bytes ? 2 : 1, 0);
  if (!source)
    return false;
  zip_int64_t index = zip_file_add(writer->zip, name, source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    return false;
  }
  writer->n_members++;
  writer->bytes += (int64_t)bytes;
  const zip_uint32_t level = writer->level ? writer->level : 6; /* zlib's own; libzip's is 9 */
  /* The same bytes for the same matrix: 1 January 1980, the first day a zip knows. */
  const zip_uint16_t first_day = 1 << 5 | 1;
  return zip_set_file_compression(writer->zip, (zip_uint64_t)index,
                                  writer->deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE,
                                  writer->deflate ? level : 0) == 0 &&
         zip_file_set_dostime(writer->zip, (zip_uint64_t)index, 0, first_day, 0) == 0;
}

static bool add_array(npz_writer *writer, const char *name, csrn_dtype type, int64_t n, const void *values) {
  csrn_npy_header(type, n, writer->headers[writer->n_members]);
  return add_member(writer, name, values, (size_t)n * csrn_dtype_size(type));
}

/* A dense matrix has indices by now. A CSR of genes x cells is written as the CSC of its transpose. */
static bool add_all(npz_writer *writer, const csrn_csr *csr, bool csc) {
  writer->shape[0] = csc ? csr->n_cols : csr->n_rows;
  writer->shape[1] = csc ? csr->n_rows : csr->n_cols;
  bool done =
      add_array(writer, "indices.npy", csr->indices ? csr->indices_type : CSRN_I32, csr->nnz, csr->indices) &&
      add_array(writer, "indptr.npy", csr->indptr_type, csr->n_rows + 1, csr->indptr);
  csrn_npy_word_header(3, writer->headers[writer->n_members]);
  return done && add_member(writer, "format.npy", csc ? "csc" : "csr", 3) &&
         add_array(writer, "shape.npy", CSRN_I64, 2, writer->shape) &&
         add_array(writer, "data.npy", csr->data_type, csr->nnz, csr->data);
}

static void on_progress(zip_t *zip, double fraction, void *user) {
  (void)zip;
  ((npz_writer *)user)->fraction = fraction;
}

static int on_cancel(zip_t *zip, void *user) {
  npz_writer *writer = user;
  (void)zip;
  writer->cancelled = !csrn_io_proceed(writer->progress, "writing",
                                       (int64_t)(writer->fraction * (double)writer->bytes), writer->bytes);
  return writer->cancelled;
}

/* Opens the archive on the file of the target; false with zip NULL. */
static bool open_archive(npz_writer *writer, const char *path) {
  writer->target.file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (writer->target.file < 0)
    return fail_target(&writer->target, ZIP_ER_OPEN) == 0;
  zip_source_t *source = zip_source_function_create(serve_target, &writer->target, &writer->target.error);
  writer->zip =
      source ? zip_open_from_source(source, ZIP_CREATE | ZIP_TRUNCATE, &writer->target.error) : NULL;
  if (source && !writer->zip)
    zip_source_free(source);
  return writer->zip != NULL;
}

static bool write_archive(npz_writer *writer, const csrn_csr *csr, bool csc) {
  if (!add_all(writer, csr, csc))
    return false;
  zip_register_progress_callback_with_state(writer->zip, 0.001, on_progress, NULL, writer);
  zip_register_cancel_callback_with_state(writer->zip, on_cancel, NULL, writer);
  if (zip_close(writer->zip) != 0)
    return false;
  writer->zip = NULL;
  return true;
}

/* Whether the values of an input are compressed; true for other formats, as save_npz() has it. */
static bool is_compressed(const csrn_io_input *input) {
  return !input || input->reader != &csrn_io_npz_reader || ((const csrn_npz *)input->state)->deflated;
}

/* Whether the file has its cells in columns, as the input had. */
static bool has_cells_in_columns(const csrn_io_input *input) {
  return input && input->reader == &csrn_io_npz_reader && ((const csrn_npz *)input->state)->cells_in_columns;
}

csrn_io_status csrn_io_write_npz(csrn_io_input *input, const csrn_io_matrix *matrix,
                                 const csrn_io_output *output, const char *path,
                                 const csrn_io_progress *progress, csrn_io_error *error) {
  csrn_io_matrix view = *matrix;
  csrn_io_status status = csrn_io_matrix_indices(&view, error);
  if (status)
    return status;
  npz_writer writer = {.target = {.file = -1},
                       .deflate = output->compression == CSRN_IO_COMPRESSION_GZIP ||
                                  (output->compression == CSRN_IO_COMPRESSION_KEEP && is_compressed(input)),
                       .level = (zip_uint32_t)output->level,
                       .progress = progress};
  zip_error_init(&writer.target.error);
  const bool csc = (matrix->cells == CSRN_PER_COLUMN) != has_cells_in_columns(input);
  bool done = open_archive(&writer, path) && write_archive(&writer, &view.csr, csc);
  if (!done)
    status = writer.cancelled ? csrn_io_fail(error, CSRN_IO_FAILED, "interrupted")
                              : csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", output->path,
                                             writer.zip ? zip_strerror(writer.zip)
                                                        : zip_error_strerror(&writer.target.error));
  if (writer.zip)
    zip_discard(writer.zip);
  if (writer.target.file >= 0 && close(writer.target.file) != 0 && done)
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", output->path, strerror(errno));
  zip_error_fini(&writer.target.error);
  if (view.csr.indices != matrix->csr.indices)
    free((void *)(uintptr_t)view.csr.indices);
  return status;
}
