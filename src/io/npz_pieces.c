/*
 * .npz files in the streaming engine. A member is one deflated stream, so it is inflated by one worker at a
 * time, in the order of the units, and begun anew for every pass; everything else is done by all of them,
 * deflating too: each unit becomes a piece of the stream that refers to nothing before it. Indices are looked
 * at, and then copied as they lie in the file where they can be.
 */
#include "npz.h"
#include "zip_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { DATA, INDICES };     /* sources, of which a pass reads one or both */
enum { PIECE = 0 };         /* a buffer of a worker */
enum { PART = 1 << 16 };    /* bytes that are read, or copied, at once */
enum { DEFAULT_LEVEL = 6 }; /* zlib's own */

/* ---- What the engine takes an .npz for --------------------------------------------- */

csrn_hdf5_input *csrn_stream_state(const csrn_io_input *input) {
  return input->description.format == CSRN_IO_NPZ ? &((csrn_npz *)input->state)->view : input->state;
}

bool csrn_stream_cells_are_columns(const csrn_io_input *input) {
  const csrn_npz *npz = input->state;
  if (input->description.format == CSRN_IO_NPZ)
    return npz->csc != npz->cells_in_columns;
  return input->description.layout == CSRN_IO_CSC;
}

static csrn_hdf5_array array_of(const csrn_npy *npy, char *name) {
  const bool narrow = npy->type == CSRN_U64;
  return (csrn_hdf5_array){
      .id = -1, .path = name, .rank = 1, .extent = {(hsize_t)npy->n, 1}, .type = npy->type, .narrow = narrow};
}

void csrn_npz_view(csrn_npz *npz) {
  static char matrix[] = "matrix", data[] = "data.npy", indices[] = "indices.npy", indptr[] = "indptr.npy";
  npz->view = (csrn_hdf5_input){.file = {.id = -1, .path = npz->input->path},
                                .matrix = matrix,
                                .data = array_of(&npz->data, data),
                                .indices = array_of(&npz->indices, indices),
                                .indptr = array_of(&npz->indptr, indptr),
                                .n_rows = npz->shape[npz->csc],
                                .n_cols = npz->shape[!npz->csc],
                                .nnz = npz->data.n,
                                .npz = npz};
  if (npz->view.data.narrow)
    npz->view.data.type = CSRN_I64;
  npz->members[DATA] = (struct csrn_npz_member){npz->zip, data, &npz->data, DATA, NULL, 0};
  npz->members[INDICES] = (struct csrn_npz_member){npz->zip, indices, &npz->indices, INDICES, NULL, 0};
}

void csrn_npz_members_close(csrn_npz *npz) {
  for (int i = 0; i < 2; i++)
    if (npz->members[i].file)
      zip_fclose(npz->members[i].file);
}

int64_t csrn_npz_stored_bytes(const csrn_hdf5_input *input) {
  zip_stat_t found;
  return zip_stat(input->npz->zip, input->data.path, 0, &found) == 0 ? (int64_t)found.comp_size : 0;
}

/* ---- Reading ----------------------------------------------------------------------- */

csrn_io_status csrn_npz_rows(const csrn_hdf5_input *input, void **indptr) {
  const csrn_npz *npz = input->npz;
  return csrn_npz_values(npz->input, input->indptr.path, &npz->indptr, indptr, NULL, input->file.error);
}

void csrn_npz_arrays(const csrn_hdf5_input *input, csrn_stream_array *data, csrn_stream_array *indices) {
  const csrn_hdf5_array *from[2] = {&input->data, &input->indices};
  csrn_stream_array *to[2] = {data, indices};
  for (int i = 0; i < 2; i++)
    *to[i] = (csrn_stream_array){.id = -1,
                                 .file = input->file.path,
                                 .path = from[i]->path,
                                 .type = from[i]->type,
                                 .narrow = i == DATA && from[i]->narrow,
                                 .rank = 1,
                                 .extent = (int64_t)from[i]->extent[0],
                                 .width = 1,
                                 .tile = 1,
                                 .member = &input->npz->members[i]};
}

/* Reads up to element `first`. */
static bool seek(struct csrn_npz_member *member, int64_t first) {
  char part[PART];
  if (member->file && first < member->position) {
    zip_fclose(member->file);
    member->file = NULL;
  }
  int64_t ahead = (first - member->position) * (int64_t)member->npy->size;
  if (!member->file) {
    member->file = zip_fopen(member->zip, member->name, 0);
    ahead = first * (int64_t)member->npy->size + (int64_t)member->npy->data_offset;
  }
  bool done = member->file != NULL;
  for (; done && ahead > 0; ahead -= PART) {
    const int64_t n = ahead < PART ? ahead : PART;
    done = csrn_npz_bytes(member->file, part, n) == n;
  }
  member->position = first;
  return done;
}

/* The last read, of nothing, is where libzip compares the checksum. */
static bool fetch(struct csrn_npz_member *member, int64_t first, int64_t n, char *elements) {
  const int64_t bytes = n * (int64_t)member->npy->size;
  const bool done = seek(member, first) && csrn_npz_bytes(member->file, elements, bytes) == bytes;
  char nothing;
  member->position = first + n;
  return done && (member->position < member->npy->n || zip_fread(member->file, &nothing, 1) == 0);
}

csrn_io_status csrn_npz_elements(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t begin,
                                 int64_t n, void *elements) {
  struct csrn_npz_member *member = array->member;
  if (!csrn_stream_await(worker, member->source))
    return CSRN_IO_FAILED;
  csrn_stream_lock(worker);
  const bool done = fetch(member, begin, n, elements);
  if (!done)
    csrn_npz_fail(array->file, array->path,
                  member->file ? zip_file_get_error(member->file) : zip_get_error(member->zip),
                  "cannot be read: the file is damaged", &worker->error);
  csrn_stream_unlock(worker);
  csrn_stream_passed(worker, member->source);
  if (!done)
    return CSRN_IO_FAILED;
  csrn_npy npy = *member->npy;
  npy.n = n;
  csrn_npy_convert(&npy, elements);
  return csrn_stream_decode(worker, array, begin, n, elements);
}

/* ---- Writing: members -------------------------------------------------------------- */

typedef struct writing {
  csrn_stream_job *job;
  csrn_stream_compute compute;
  const void *user;
  csrn_zip zip;
  bool deflated;
  int level;
  bool copies_indices; /* as they lie in the file */
  double *seconds;
} writing;

static csrn_io_status failed(const writing *w, csrn_io_error *error) {
  return csrn_io_fail(error, CSRN_IO_FAILED, "%s: cannot be written: %s", w->job->output->path,
                      strerror(errno));
}

static size_t piece_bound(size_t n) {
  return n + n / 256 + 64; /* 5 bytes for each 16 KiB that do not become smaller, and for the end */
}

/* A piece of a deflate stream, up to a whole byte, or with its end; 0: out of memory. */
static size_t deflate_piece(int level, const void *bytes, size_t n, bool last, void *to) {
  const size_t room = piece_bound(n);
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  if (deflateInit2(&stream, level, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return 0;
  stream.next_in = (Bytef *)(uintptr_t)bytes;
  stream.avail_in = (uInt)n;
  stream.next_out = to;
  stream.avail_out = (uInt)room;
  const int code = deflate(&stream, last ? Z_FINISH : Z_SYNC_FLUSH);
  const size_t size = room - stream.avail_out;
  deflateEnd(&stream);
  return code == (last ? Z_STREAM_END : Z_OK) ? size : 0;
}

static csrn_io_status write_piece(writing *w, const void *bytes, size_t n, bool last) {
  const uint32_t crc = (uint32_t)crc32_z(0, bytes, n);
  if (!w->deflated)
    return csrn_zip_append(&w->zip, bytes, n, n, crc) ? CSRN_IO_OK : failed(w, w->job->error);
  void *piece = malloc(piece_bound(n));
  const size_t size = piece ? deflate_piece(w->level, bytes, n, last, piece) : 0;
  csrn_io_status status = CSRN_IO_OK;
  if (size == 0)
    status = csrn_stream_no_memory(w->job, "deflating");
  else if (!csrn_zip_append(&w->zip, piece, size, n, crc))
    status = failed(w, w->job->error);
  free(piece);
  return status;
}

/* What is no array of units, at once; in several pieces where it is large, since zlib counts in 32 bits. */
static csrn_io_status write_bytes(writing *w, const void *bytes, size_t n, bool last) {
  const size_t most = (size_t)1 << 24;
  const char *from = bytes;
  for (; n > most; from += most, n -= most) {
    const csrn_io_status status = write_piece(w, from, most, false);
    if (status)
      return status;
  }
  return write_piece(w, from, n, last);
}

/* The piece of a unit, in the order of the units. */
static csrn_io_status write_unit(csrn_stream_worker *worker, writing *w, int64_t unit, const void *bytes,
                                 size_t n) {
  const bool last = unit == w->job->matrix.cut.n_units - 1;
  const uint32_t crc = (uint32_t)crc32_z(0, bytes, n);
  const void *piece = bytes;
  size_t size = n;
  if (w->deflated) {
    void *deflated = csrn_stream_buffer(worker, PIECE, piece_bound(n));
    piece = deflated;
    size = deflated ? deflate_piece(w->level, bytes, n, last, deflated) : 0;
    if (size == 0)
      return csrn_io_fail(&worker->error, CSRN_IO_FAILED, "out of memory for deflating %zu bytes", n);
  }
  if (!csrn_stream_take_turn(worker, unit))
    return CSRN_IO_FAILED;
  const bool done = csrn_zip_append(&w->zip, piece, size, n, crc);
  const csrn_io_status status = done ? CSRN_IO_OK : failed(w, &worker->error);
  csrn_stream_end_turn(worker);
  return status;
}

/* The beginning of an array that units are to fill. */
static csrn_io_status begin_array(writing *w, const char *name, csrn_dtype type, int64_t n) {
  char header[CSRN_NPY_HEADER];
  csrn_npy_header(type, n, header);
  if (!csrn_zip_begin(&w->zip, name, w->deflated))
    return failed(w, w->job->error);
  return write_bytes(w, header, sizeof header, false);
}

/* Its end: behind no unit, that of the stream is still to come. */
static csrn_io_status end_array(writing *w) {
  csrn_io_status status = CSRN_IO_OK;
  if (w->job->matrix.cut.n_units == 0)
    status = write_bytes(w, "", 0, true);
  return status ? status : csrn_zip_end(&w->zip) ? CSRN_IO_OK : failed(w, w->job->error);
}

/* A member as a whole. */
static csrn_io_status write_member(writing *w, const char *name, const char header[CSRN_NPY_HEADER],
                                   const void *bytes, size_t n) {
  if (!csrn_zip_begin(&w->zip, name, w->deflated))
    return failed(w, w->job->error);
  csrn_io_status status = write_bytes(w, header, CSRN_NPY_HEADER, false);
  if (!status)
    status = write_bytes(w, bytes, n, true);
  return status ? status : csrn_zip_end(&w->zip) ? CSRN_IO_OK : failed(w, w->job->error);
}

/* ---- Writing: indices -------------------------------------------------------------- */

/* Whether the indices of the input are, byte by byte, what would be written. */
static bool can_copy_indices(const writing *w) {
  const csrn_npz *npz = w->job->state->npz;
  const zip_uint64_t wanted = ZIP_STAT_COMP_METHOD | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_CRC;
  zip_stat_t found;
  zip_stat_init(&found);
  return w->job->output->compression != CSRN_IO_COMPRESSION_GZIP &&
         zip_stat(npz->zip, w->job->state->indices.path, 0, &found) == 0 &&
         (found.valid & wanted) == wanted &&
         found.comp_method == (w->deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE) && !npz->indices.swapped &&
         npz->indices.size == csrn_dtype_size(npz->indices.type) && npz->indices.n == w->job->matrix.rows.nnz;
}

static csrn_io_status copy_indices(writing *w) {
  const csrn_npz *npz = w->job->state->npz;
  const char *name = w->job->state->indices.path;
  csrn_zip_member *member = &w->zip.members[w->zip.n_members];
  char part[PART];
  zip_stat_t found;
  zip_file_t *file = zip_fopen(npz->zip, name, ZIP_FL_COMPRESSED);
  bool is_read = file && zip_stat(npz->zip, name, 0, &found) == 0, done = true;
  if (is_read)
    done = csrn_zip_begin(&w->zip, name, w->deflated);
  for (uint64_t left = is_read ? found.comp_size : 0; is_read && done && left > 0;) {
    const int64_t n = left < PART ? (int64_t)left : PART;
    is_read = csrn_npz_bytes(file, part, n) == n;
    done = !is_read || csrn_zip_append(&w->zip, part, (size_t)n, 0, 0);
    left -= (uint64_t)n;
  }
  if (file)
    zip_fclose(file);
  if (!is_read)
    return csrn_io_fail(w->job->error, CSRN_IO_FAILED, "%s: %s cannot be read", npz->input->path, name);
  member->raw = found.size;
  member->crc = found.crc;
  return done && csrn_zip_end(&w->zip) ? CSRN_IO_OK : failed(w, w->job->error);
}

/* Looks at the indices of a unit, and writes them unless they are copied. */
static csrn_io_status index_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  writing *w = arg;
  const csrn_dtype type = w->job->matrix.indices.type;
  int32_t *columns = NULL;
  int64_t n;
  csrn_stream_unit(&w->job->matrix, unit, &n);
  if (csrn_stream_columns(worker, &w->job->matrix, unit, &columns))
    return CSRN_IO_FAILED;
  if (w->copies_indices)
    return CSRN_IO_OK;
  const size_t bytes = (size_t)n * csrn_dtype_size(type);
  void *indices = csrn_stream_buffer(worker, CSRN_STREAM_RESULT, bytes);
  if (!indices)
    return CSRN_IO_FAILED;
  csrn_stream_narrow_columns(columns, n, type, indices);
  return write_unit(worker, w, unit, indices, bytes);
}

static csrn_io_status run(writing *w, csrn_stream_work work, const char *step, csrn_dtype type) {
  csrn_stream_job *job = w->job;
  return csrn_stream_run(&job->pool, job->matrix.cut.n_units, work, w, step,
                         job->matrix.rows.nnz * (int64_t)csrn_dtype_size(type), job->progress, job->error);
}

static csrn_io_status write_indices(writing *w) {
  const csrn_stream_array *indices = &w->job->matrix.indices;
  w->copies_indices = can_copy_indices(w);
  csrn_io_status status = CSRN_IO_OK;
  if (!w->copies_indices)
    status = begin_array(w, indices->path, indices->type, w->job->matrix.rows.nnz);
  if (!status && !(w->copies_indices && w->job->looks_at_columns))
    status = run(w, index_unit, "indices", indices->type);
  if (status)
    return status;
  return w->copies_indices ? copy_indices(w) : end_array(w);
}

/* ---- Writing: the file ------------------------------------------------------------- */

static csrn_io_status data_unit(csrn_stream_worker *worker, void *arg, int64_t unit) {
  writing *w = arg;
  int64_t n;
  csrn_stream_unit(&w->job->matrix, unit, &n);
  const size_t bytes = (size_t)n * csrn_dtype_size(w->job->plan->out_type);
  void *result = csrn_stream_buffer(worker, CSRN_STREAM_RESULT, bytes);
  const csrn_io_status status = result ? w->compute(worker, w->user, unit, n, result) : CSRN_IO_FAILED;
  return status ? status : write_unit(worker, w, unit, result, bytes);
}

static csrn_io_status write_rows(writing *w) {
  const csrn_stream_rows *rows = &w->job->matrix.rows;
  const csrn_dtype type = w->job->state->indptr.type;
  const size_t bytes = ((size_t)rows->n_rows + 1) * csrn_dtype_size(type);
  char header[CSRN_NPY_HEADER];
  void *indptr = malloc(bytes);
  if (!indptr)
    return csrn_stream_no_memory(w->job, "the rows");
  csrn_stream_narrow_rows(rows->indptr, rows->n_rows + 1, type, indptr);
  csrn_npy_header(type, rows->n_rows + 1, header);
  const csrn_io_status status = write_member(w, w->job->state->indptr.path, header, indptr, bytes);
  free(indptr);
  return status;
}

static csrn_io_status write_kind(writing *w) {
  const csrn_npz *npz = w->job->state->npz;
  char header[CSRN_NPY_HEADER];
  csrn_npy_word_header(3, header);
  csrn_io_status status = write_member(w, "format.npy", header, npz->csc ? "csc" : "csr", 3);
  csrn_npy_header(CSRN_I64, 2, header);
  return status ? status : write_member(w, "shape.npy", header, npz->shape, sizeof npz->shape);
}

/* In the order of scipy.sparse.save_npz(). */
static csrn_io_status write_members(writing *w) {
  const csrn_dtype type = w->job->plan->out_type;
  csrn_io_status status = write_indices(w);
  if (!status)
    status = write_rows(w);
  if (!status)
    status = write_kind(w);
  const double begin = csrn_stream_now();
  if (!status)
    status = begin_array(w, w->job->state->data.path, type, w->job->matrix.rows.nnz);
  if (!status)
    status = run(w, data_unit, "writing", type);
  if (!status)
    status = end_array(w);
  w->seconds[1] = csrn_stream_now() - begin;
  return status ? status : csrn_zip_finish(&w->zip) ? CSRN_IO_OK : failed(w, w->job->error);
}

static csrn_io_status make(void *arg, const char *path, csrn_io_error *error) {
  writing *w = arg;
  const double begin = csrn_stream_now();
  w->zip = (csrn_zip){.file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)};
  if (w->zip.file < 0)
    return failed(w, error);
  csrn_io_status status = write_members(w);
  if (close(w->zip.file) != 0 && !status)
    status = failed(w, error);
  w->seconds[0] = csrn_stream_now() - begin - w->seconds[1];
  return status;
}

csrn_io_status csrn_npz_write_pieces(csrn_stream_job *job, csrn_stream_compute compute, const void *user,
                                     double seconds[2]) {
  const csrn_io_output *output = job->output;
  writing w = {.job = job,
               .compute = compute,
               .user = user,
               .deflated = output->compression == CSRN_IO_COMPRESSION_GZIP ||
                           (output->compression == CSRN_IO_COMPRESSION_KEEP && job->state->npz->deflated),
               .level = output->level ? output->level : DEFAULT_LEVEL,
               .seconds = seconds};
  seconds[0] = seconds[1] = 0;
  return csrn_io_replace(output, make, &w, job->error);
}
