/*
 * Reading MatrixMarket coordinate files, with the names of cells and genes where they lie
 * beside the matrix (text_names.c). Entries (mtx_entries.c) may come in any order; they are grouped by cell
 * in one counting pass, and stay in the order of the file within a cell; those that name the same place
 * are added up (mtx_duplicates.c).
 */
#include "mtx_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BEGIN = 4096 }; /* bytes of a gzip file that have the first eight of its text */

/* The first bytes of a gzip stream's text: neither its end nor its checksum is looked at, so that a stream
 * that is cut off or damaged further on is known, too. */
static bool inflate_begin(const unsigned char *bytes, size_t n, unsigned char begin[8]) {
  enum { GZIP = 15 + 16 }; /* of zlib: the largest window, in gzip's format */
  z_stream stream = {.next_in = (unsigned char *)(uintptr_t)bytes, .avail_in = (unsigned)n};
  if (inflateInit2(&stream, GZIP) != Z_OK)
    return false;
  stream.next_out = begin;
  stream.avail_out = 8;
  while (inflate(&stream, Z_SYNC_FLUSH) == Z_STREAM_END && stream.avail_out > 0 && stream.avail_in > 0)
    inflateReset(&stream); /* the next member */
  inflateEnd(&stream);
  return stream.avail_out == 0;
}

static int recognizes_mtx(const char *path, const unsigned char magic[8]) {
  unsigned char begin[8] = {0}, bytes[BEGIN];
  if (memcmp(magic, "%%Matrix", 8) == 0)
    return 1;
  if (magic[0] != 0x1f || magic[1] != 0x8b)
    return 0;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t n = file < 0 ? -1 : read(file, bytes, sizeof bytes);
  const int reason = errno;
  if (file >= 0)
    close(file);
  errno = reason;
  return n < 0 ? -1 : inflate_begin(bytes, (size_t)n, begin) && memcmp(begin, "%%Matrix", 8) == 0;
}

/* ---- The header ------------------------------------------------------------- */

static csrn_io_status parse_banner(csrn_io_input *input, const char *line, csrn_io_error *error) {
  mtx_state *state = input->state;
  char object[32] = "", format[32] = "", field[32] = "", symmetry[32] = "";
  int n = sscanf(line, "%*s %31s %31s %31s %31s", object, format, field, symmetry);
  if (n != 4 || strcasecmp(object, "matrix") != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: line 1 is no MatrixMarket header: \"%.80s\"", input->path,
                        line);
  if (strcasecmp(format, "coordinate") != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: the format is \"%s\"; expected coordinate", input->path,
                        format);
  if (strcasecmp(symmetry, "general") != 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: the symmetry is \"%s\"; expected general", input->path,
                        symmetry);
  if (strcasecmp(field, "integer") == 0 || strcasecmp(field, "unsigned-integer") == 0)
    state->field = FIELD_INTEGER;
  else if (strcasecmp(field, "real") == 0 || strcasecmp(field, "double") == 0)
    state->field = FIELD_REAL;
  else if (strcasecmp(field, "pattern") == 0)
    state->field = FIELD_PATTERN;
  else
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: the field is \"%s\"; expected integer, real or pattern",
                        input->path, field);
  return CSRN_IO_OK;
}

static bool is_blank(const char *line) {
  return line[strspn(line, " \t")] == '\0';
}

/* The line of the sizes: 1, 0 at the end, -1 with an error. Notes on the way what csrn_io_write_mtx() says of
 * its values. */
static int find_sizes(mtx_state *state, char **line, csrn_io_error *error) {
  int found;
  while ((found = csrn_text_line(state->text, line, error)) == 1 && ((*line)[0] == '%' || is_blank(*line))) {
    if (strcmp(*line, CSRN_IO_MTX_FLOAT32) == 0)
      state->real_type = CSRN_F32;
    else if (strcmp(*line, CSRN_IO_MTX_FLOAT64) == 0)
      state->real_type = CSRN_F64;
  }
  return found;
}

/* A size at *line, behind which it moves; one that int64 does not hold becomes the largest. */
static bool take_size(const char **line, int64_t *size) {
  char *end;
  *size = strtoll(*line, &end, 10);
  const bool found = end != *line;
  *line = end;
  return found && *size >= 0;
}

static csrn_io_status parse_sizes(const csrn_io_input *input, const char *line, csrn_io_error *error) {
  mtx_state *state = input->state;
  const char *rest = line;
  if (!take_size(&rest, &state->n_rows) || !take_size(&rest, &state->n_cols) ||
      !take_size(&rest, &state->nnz) || !is_blank(rest))
    return csrn_io_fail(error, CSRN_IO_FAILED,
                        "%s: line %" PRId64
                        " is \"%.80s\"; expected the numbers of rows, columns and entries",
                        input->path, csrn_text_line_number(state->text), line);
  if (state->n_rows > INT32_MAX || state->n_cols > INT32_MAX)
    return csrn_io_fail(error, CSRN_IO_FAILED,
                        "%s: %" PRId64 " x %" PRId64 " is more than 2^31 - 1 rows or columns", input->path,
                        state->n_rows, state->n_cols);
  return CSRN_IO_OK;
}

/* An entry is "1 1 1" and a line end at least, and deflate makes at most 1032 bytes of one: memory is taken
 * only for what can be there. */
static csrn_io_status check_nnz(const csrn_io_input *input, csrn_io_error *error) {
  const mtx_state *state = input->state;
  const int64_t shortest = state->field == FIELD_PATTERN ? 4 : 6;
  const int64_t ratio = csrn_text_is_gzip(state->text) ? 1032 : 1;
  struct stat status;
  if (stat(input->path, &status) != 0 || !S_ISREG(status.st_mode) ||
      state->nnz <= ((int64_t)status.st_size * ratio + 1) / shortest)
    return CSRN_IO_OK;
  return csrn_io_fail(error, CSRN_IO_FAILED,
                      "%s: the header says %" PRId64 " entries, more than a file of %" PRId64
                      " bytes can hold",
                      input->path, state->nnz, (int64_t)status.st_size);
}

/* Opens the text and reads up to the entries. */
static csrn_io_status parse_header(csrn_io_input *input, csrn_io_error *error) {
  mtx_state *state = input->state;
  char *line;
  csrn_text_close(state->text);
  state->text = csrn_text_open(input->path, error);
  state->consumed = false;
  int found = state->text ? csrn_text_line(state->text, &line, error) : -1;
  csrn_io_status status = found == 1 ? parse_banner(input, line, error) : CSRN_IO_FAILED;
  if (found == 1 && !status)
    found = find_sizes(state, &line, error);
  if (found == 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: ends before its sizes", input->path);
  if (found < 0 || status)
    return CSRN_IO_FAILED;
  status = parse_sizes(input, line, error);
  return status ? status : check_nnz(input, error);
}

/* ---- Opening ---------------------------------------------------------------- */

/* The type of the values, as far as the header says: integers may turn out wider, reals not to be float32. */
static csrn_dtype expected_type(const mtx_state *state) {
  if (state->field == FIELD_REAL)
    return state->real_type ? state->real_type : CSRN_F32;
  return state->field == FIELD_INTEGER ? CSRN_I32 : CSRN_U8;
}

static csrn_io_status open_mtx(csrn_io_input *input, const csrn_io_select *select, csrn_io_error *error) {
  static const char *const nothing[] = {NULL};
  mtx_state *state = calloc(1, sizeof *state);
  input->state = state;
  if (!state)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", input->path);
  if (select->layer || select->genome || select->feature_types)
    return csrn_io_fail(error, CSRN_IO_FAILED,
                        "%s: a MatrixMarket file has no layers, genomes or feature types", input->path);
  csrn_io_status status = parse_header(input, error);
  if (status)
    return status;
  state->cells_in_rows = select->cells == CSRN_IO_CELLS_ROWS;
  const bool gzip = csrn_text_is_gzip(state->text);
  const bool unsure = state->field == FIELD_REAL && !state->real_type;
  input->description = (csrn_io_description){.format = CSRN_IO_MTX,
                                             .layout = CSRN_IO_COORDINATE,
                                             .format_name = gzip ? "MatrixMarket (gzip)" : "MatrixMarket",
                                             .matrix_name = "matrix",
                                             .n_cells = state->cells_in_rows ? state->n_rows : state->n_cols,
                                             .n_genes = state->cells_in_rows ? state->n_cols : state->n_rows,
                                             .nnz = state->nnz,
                                             .nnz_file = state->nnz,
                                             .data_type = expected_type(state),
                                             .widest_type = unsure ? CSRN_F64 : CSRN_NONE,
                                             .filters = gzip ? "gzip" : "none",
                                             .layers = nothing,
                                             .genomes = nothing,
                                             .feature_types = nothing};
  return csrn_mtx_find_names(input, error);
}

/* ---- Grouping by cell --------------------------------------------------------- */

csrn_dtype csrn_mtx_type(mtx_field field, bool fits_i32, bool fits_f32) {
  return field == FIELD_INTEGER ? fits_i32 ? CSRN_I32 : CSRN_I64
         : field == FIELD_REAL  ? fits_f32 ? CSRN_F32 : CSRN_F64
                                : CSRN_U8;
}

void csrn_mtx_store(mtx_value value, void *data, csrn_dtype type, int64_t i) {
  if (type == CSRN_F32)
    ((float *)data)[i] = (float)value.real;
  else if (type == CSRN_F64)
    ((double *)data)[i] = value.real;
  else if (type == CSRN_I32)
    ((int32_t *)data)[i] = (int32_t)value.integer;
  else
    ((int64_t *)data)[i] = value.integer;
}

/* Makes indptr and indices; the genes of the entries are then no longer needed, and freed. */
static bool group_genes(mtx_entries *entries, csrn_csr *csr) {
  int64_t *indptr = calloc((size_t)csr->n_rows + 2, sizeof *indptr);
  int32_t *indices = malloc((size_t)entries->n * sizeof *indices + 1);
  csr->indptr = indptr;
  csr->indices = indices;
  if (!indptr || !indices)
    return false;
  /* indptr[cell + 1] first counts the cell before, then is where the cell's next entry goes. */
  for (int64_t i = 0; i < entries->n; i++)
    indptr[entries->cells[i] + 2]++;
  for (int64_t cell = 0; cell < csr->n_rows; cell++)
    indptr[cell + 1] += indptr[cell];
  for (int64_t i = 0; i < entries->n; i++)
    indices[indptr[entries->cells[i] + 1]++] = entries->genes[i];
  free(entries->genes);
  entries->genes = NULL;
  return true;
}

/* Puts the values at the places of their genes. From the last entry on, so that the end of a cell in indptr
 * moves down to its begin. */
static bool group_values(const mtx_entries *entries, csrn_csr *csr) {
  int64_t *ends = (int64_t *)(uintptr_t)csr->indptr + 1;
  csr->data = malloc((size_t)entries->n * csrn_dtype_size(csr->data_type) + 1);
  if (!csr->data)
    return false;
  if (!entries->values) {
    memset(csr->data, 1, (size_t)entries->n);
    return true;
  }
  for (int64_t i = entries->n - 1; i >= 0; i--)
    csrn_mtx_store(entries->values[i], csr->data, csr->data_type, --ends[entries->cells[i]]);
  memmove(ends - 1, ends, (size_t)csr->n_rows * sizeof *ends);
  ends[csr->n_rows - 1] = entries->n;
  return true;
}

/* Groups the entries by cell, and adds up those of the same place. What is not needed any longer is freed on
 * the way: whole_memory.c counts on it. */
static csrn_io_status make_matrix(const csrn_io_input *input, mtx_entries *entries, csrn_csr *csr,
                                  csrn_io_error *error) {
  const mtx_state *state = input->state;
  csr->nnz = entries->n;
  csr->data_type = csrn_mtx_type(state->field, entries->fits_i32, entries->fits_f32);
  const bool grouped = group_genes(entries, csr) && group_values(entries, csr);
  csrn_mtx_free(entries);
  const int found = grouped ? csrn_mtx_has_duplicates(csr) : -1;
  if (found < 0)
    return csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory", input->path);
  return found ? csrn_mtx_add_duplicates(input, csr, error) : CSRN_IO_OK;
}

/* For reading once more. */
static csrn_io_status rewind_text(csrn_io_input *input, csrn_io_error *error) {
  mtx_state *state = input->state;
  const mtx_state before = *state;
  csrn_io_status status = parse_header(input, error);
  if (!status && (before.n_rows != state->n_rows || before.n_cols != state->n_cols ||
                  before.nnz != state->nnz || before.field != state->field))
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: has changed since it was opened", input->path);
  if (status) { /* as it was described; the next call tries again */
    csrn_text *text = state->text;
    *state = before;
    state->text = text;
  }
  return status;
}

static csrn_io_status read_mtx(csrn_io_input *input, csrn_context *ctx, csrn_io_matrix *matrix,
                               const csrn_io_progress *progress, csrn_io_error *error) {
  mtx_state *state = input->state;
  const csrn_io_description *d = &input->description;
  mtx_entries entries = {0};
  csrn_io_status status = CSRN_IO_OK;
  if (state->consumed)
    status = rewind_text(input, error);
  if (status)
    return status;
  state->consumed = true;
  matrix->cells = CSRN_PER_ROW;
  matrix->csr = (csrn_csr){.n_rows = d->n_cells,
                           .n_cols = d->n_genes,
                           .nnz = state->nnz,
                           .indptr_type = CSRN_I64,
                           .indices_type = CSRN_I32};
  if (!csrn_mtx_allocate(state, state->nnz, &entries))
    status = csrn_io_fail(error, CSRN_IO_FAILED, "%s: out of memory for %" PRId64 " entries", input->path,
                          state->nnz);
  else
    status = csrn_mtx_read_entries(input, csrn_context_threads(ctx), &entries, progress, error);
  if (!status)
    status = make_matrix(input, &entries, &matrix->csr, error);
  csrn_mtx_free(&entries);
  return status;
}

static void close_mtx(csrn_io_input *input) {
  mtx_state *state = input->state;
  if (state)
    csrn_text_close(state->text);
  free(state);
}

bool csrn_io_mtx_cells_in_rows(const csrn_io_input *input) {
  return input && input->reader == &csrn_io_mtx_reader && ((const mtx_state *)input->state)->cells_in_rows;
}

const csrn_io_reader csrn_io_mtx_reader = {recognizes_mtx, open_mtx, read_mtx, close_mtx};
