/*
 * Datasets in pieces. Where this library knows the filters and the elements lie as in memory,
 * the chunks go raw between the file and a worker, which codes them itself; everything
 * else (conversions, checksums, plugins, chunks that were never written, datasets without
 * chunks) goes through libhdf5, one piece at a time.
 */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

/* Buffers of a worker; the others are the passes' own. */
enum { CODED = CSRN_STREAM_CODED, TABLE = CSRN_STREAM_TABLE, TILE = 7 };

typedef csrn_stream_place place;

static csrn_hdf5_file file_of(csrn_stream_worker *worker, const csrn_stream_array *array) {
  return (csrn_hdf5_file){-1, array->file, &worker->error, array->fault};
}

/* ---- What a dataset is --------------------------------------------------------- */

csrn_io_status csrn_stream_array_init(csrn_stream_array *array, const csrn_hdf5_file *file, hid_t id,
                                      const char *path, csrn_dtype type, bool narrow) {
  hsize_t extent[2] = {0, 1}, chunk[2] = {0, 1};
  memset(array, 0, sizeof *array);
  hid_t properties = H5Dget_create_plist(id), space = H5Dget_space(id), stored = H5Dget_type(id);
  const int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
  bool fault = properties < 0 || stored < 0 || rank < 1 || rank > 2 ||
               H5Sget_simple_extent_dims(space, extent, NULL) != rank;
  unsigned options = 0;
  if (!fault && H5Pget_layout(properties) == H5D_CHUNKED)
    fault = H5Pget_chunk(properties, rank, chunk) != rank || H5Pget_chunk_opts(properties, &options) < 0;
  if (!fault) {
    const int64_t width = (int64_t)extent[1];
    *array = (csrn_stream_array){.id = id,
                                 .file = file->path,
                                 .path = path,
                                 .fault = file->fault,
                                 .type = type,
                                 .narrow = narrow,
                                 .rank = rank,
                                 .extent = (int64_t)extent[0] * width,
                                 .width = width,
                                 .tile = (int64_t)chunk[1],
                                 .chunk = (int64_t)chunk[0] * width};
    array->codec.element = csrn_dtype_size(type);
    /* Chunks across the border may lie unfiltered, with nothing in their masks to say so. */
    array->coded = chunk[0] > 0 && !narrow && !(options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) &&
                   H5Tequal(stored, csrn_hdf5_native(type)) > 0 &&
                   csrn_hdf5_find_codec(properties, H5Pget_nfilters(properties), &array->codec);
  }
  csrn_hdf5_close(stored);
  csrn_hdf5_close(space);
  csrn_hdf5_close(properties);
  return fault ? csrn_hdf5_failed(file, "look at", path) : CSRN_IO_OK;
}

int64_t csrn_stream_padded(const csrn_stream_array *array, int64_t n) {
  return array->coded ? (n + array->chunk - 1) / array->chunk * array->chunk : n;
}

/* ---- Chunks -------------------------------------------------------------------- */

/* Chunk `i` of a piece: its place in the dataset, in the piece, and how much of it the dataset has. */
typedef struct part {
  hsize_t offset[2]; /* row and column; the elements before, for rank 1 */
  int64_t begin;     /* of its first row, in the piece */
  int64_t rows, columns;
} part;

static int64_t tiles_of(const csrn_stream_array *array) {
  return (array->width + array->tile - 1) / array->tile;
}

static int64_t chunks_of(const csrn_stream_array *array, int64_t n) {
  return (n + array->chunk - 1) / array->chunk * tiles_of(array);
}

static part part_of(const csrn_stream_array *array, int64_t first, int64_t i) {
  const int64_t tiles = tiles_of(array), column = i % tiles * array->tile, begin = i / tiles * array->chunk;
  const int64_t rows = array->chunk / array->width, left = (array->extent - first - begin) / array->width;
  const int64_t columns = array->width - column;
  return (part){{(hsize_t)((first + begin) / array->width), (hsize_t)column},
                begin,
                left < rows ? left : rows,
                columns < array->tile ? columns : array->tile};
}

static size_t chunk_bytes(const csrn_stream_array *array) {
  return (size_t)(array->chunk / array->width * array->tile) * csrn_dtype_size(array->type);
}

/* Rows of a chunk between where they lie together and where they lie in the piece. */
static void move_tile(const csrn_stream_array *array, const part *p, bool in, char *tile, char *values) {
  const size_t size = csrn_dtype_size(array->type);
  for (int64_t r = 0; r < p->rows; r++) {
    char *apart = values + (size_t)(p->begin + r * array->width + (int64_t)p->offset[1]) * size;
    char *together = tile + (size_t)(r * array->tile) * size;
    memcpy(in ? apart : together, in ? together : apart, (size_t)p->columns * size);
  }
}

/* ---- Through libhdf5 ----------------------------------------------------------- */

/* A rectangle of the dataset from or to its place among values, whose first row is the rectangle's. */
static bool transfer(const csrn_stream_array *array, const part *p, void *to, const void *from) {
  const hsize_t count[2] = {(hsize_t)p->rows, (hsize_t)p->columns};
  const hsize_t room[2] = {(hsize_t)p->rows, (hsize_t)array->width}, corner[2] = {0, p->offset[1]};
  const hid_t type = csrn_hdf5_native(array->narrow ? CSRN_U64 : array->type);
  hid_t file = H5Dget_space(array->id), memory = H5Screate_simple(array->rank, room, NULL);
  bool done = file >= 0 && memory >= 0 &&
              H5Sselect_hyperslab(file, H5S_SELECT_SET, p->offset, NULL, count, NULL) >= 0 &&
              H5Sselect_hyperslab(memory, H5S_SELECT_SET, corner, NULL, count, NULL) >= 0;
  hsize_t where;
  if (done && to && csrn_hdf5_has_bad_chunk(array->id, p->offset[0], (hsize_t)p->rows, &where))
    done = false;
  else if (done && to)
    done = H5Dread(array->id, type, memory, file, H5P_DEFAULT, to) >= 0;
  else if (done)
    done = H5Dwrite(array->id, type, memory, file, H5P_DEFAULT, from) >= 0;
  csrn_hdf5_close(memory);
  csrn_hdf5_close(file);
  return done;
}

/* Whole rows. */
static bool transfer_rows(const csrn_stream_array *array, int64_t first, int64_t n, void *to,
                          const void *from) {
  const part p = {{(hsize_t)(first / array->width), 0}, 0, n / array->width, array->width};
  return n == 0 || transfer(array, &p, to, from);
}

static csrn_io_status read_failed(csrn_stream_worker *worker, const csrn_stream_array *array) {
  const csrn_hdf5_file file = file_of(worker, array);
  return csrn_hdf5_failed(&file, "read", array->path);
}

/* uint64 values are read as they are and must fit int64, whose bits are then the same. */
static csrn_io_status check_narrow(csrn_stream_worker *worker, const csrn_stream_array *array,
                                   const uint64_t *values, int64_t n) {
  const csrn_hdf5_file file = file_of(worker, array);
  for (int64_t i = 0; i < n; i++)
    if (values[i] > INT64_MAX)
      return csrn_hdf5_refuse(&file, "%s holds %llu, expected values up to %lld", array->path,
                              (unsigned long long)values[i], (long long)INT64_MAX);
  return CSRN_IO_OK;
}

/* ---- Reading ------------------------------------------------------------------- */

static void *grow(csrn_stream_worker *worker, int which, size_t bytes) {
  if (worker->buffers[which].room >= bytes)
    return worker->buffers[which].bytes;
  const size_t room = bytes + bytes / 4;
  void *grown = realloc(worker->buffers[which].bytes, room);
  if (!grown) {
    csrn_io_fail(&worker->error, CSRN_IO_FAILED, "out of memory for a piece of %zu bytes", room);
    return NULL;
  }
  worker->buffers[which].bytes = grown;
  worker->buffers[which].room = room;
  return grown;
}

/* Whether a chunk lies in the file as chunks should: *size bytes of it. */
static bool is_stored(const csrn_stream_array *array, const part *p, hsize_t *size) {
  *size = 0;
  return H5Dget_chunk_storage_size(array->id, p->offset, size) >= 0 && *size > 0 &&
         *size <= 2 * csrn_codec_bound(chunk_bytes(array));
}

/* One chunk into the buffer of coded bytes, or, if it does not lie there as it should, through libhdf5 into
 * its place among the values. */
static csrn_io_status fetch_chunk(csrn_stream_worker *worker, const csrn_stream_array *array, const part *p,
                                  char *values, size_t used, place *chunk) {
  const size_t element = csrn_dtype_size(array->type);
  hsize_t size;
  *chunk = (place){.offset = used};
  if (!is_stored(array, p, &size))
    return transfer(array, p, values + (size_t)p->begin * element, NULL) ? CSRN_IO_OK
                                                                         : read_failed(worker, array);
  uint8_t *coded = grow(worker, CODED, used + size);
  if (!coded)
    return CSRN_IO_FAILED;
  if (csrn_hdf5_find_chunk(array->id, p->offset, size, &chunk->mask, coded + used, &chunk->span) < 0)
    return read_failed(worker, array);
  chunk->size = size;
  return CSRN_IO_OK;
}

/* What csrn_stream_survey() has found of a piece. */
static csrn_io_status look_up(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                              int64_t n_chunks, place *table) {
  const place *found = array->places + first / array->chunk * tiles_of(array);
  size_t used = 0;
  for (int64_t i = 0; i < n_chunks; i++) {
    table[i] = found[i];
    table[i].offset = used;
    used += found[i].size;
  }
  return grow(worker, CODED, used) ? CSRN_IO_OK : CSRN_IO_FAILED;
}

csrn_io_status csrn_stream_fetch(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, void *values) {
  if (!array->coded)
    return transfer_rows(array, first, n, values, NULL) ? CSRN_IO_OK : read_failed(worker, array);
  const int64_t n_chunks = chunks_of(array, n);
  place *table = csrn_stream_buffer(worker, TABLE, (size_t)n_chunks * sizeof *table);
  csrn_io_status status = table ? CSRN_IO_OK : CSRN_IO_FAILED;
  size_t used = 0;
  if (table && array->places)
    return look_up(worker, array, first, n_chunks, table);
  for (int64_t i = 0; i < n_chunks && !status; i++) {
    const part p = part_of(array, first, i);
    status = fetch_chunk(worker, array, &p, values, used, &table[i]);
    used += table[i].size;
  }
  return status;
}

/* The coded bytes of a piece between the file and their buffer, as far as libhdf5 has left that to do; what
 * lies side by side in both at once. */
static void move_bytes(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t n, bool in) {
  const int64_t n_chunks = chunks_of(array, n);
  const place *table = worker->buffers[TABLE].bytes;
  uint8_t *coded = worker->buffers[CODED].bytes;
  for (int64_t i = 0, next; i < n_chunks; i = next) {
    const place *first = &table[i];
    size_t size = first->size;
    for (next = i + 1;
         next < n_chunks && table[next].span.file == first->span.file &&
         table[next].span.address == first->span.address + size && table[next].offset == first->offset + size;
         next++)
      size += table[next].size;
    if (first->span.file && in)
      csrn_hdf5_read_span(&first->span, size, coded + first->offset);
    else if (first->span.file)
      csrn_hdf5_write_span(&first->span, size, coded + first->offset);
  }
}

void csrn_stream_receive(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t n) {
  if (array->coded || array->raw)
    move_bytes(worker, array, n, true);
}

static csrn_io_status decode_chunk(csrn_stream_worker *worker, const csrn_stream_array *array, const part *p,
                                   const place *chunk, char *values) {
  const size_t raw = chunk_bytes(array);
  const bool whole = array->tile == array->width;
  const uint8_t *coded = worker->buffers[CODED].bytes;
  char *to = whole ? values + (size_t)p->begin * csrn_dtype_size(array->type)
                   : csrn_stream_buffer(worker, TILE, raw);
  if (!to)
    return CSRN_IO_FAILED;
  if (!csrn_codec_decode(worker->coder, &array->codec, chunk->mask, coded + chunk->offset, chunk->size, to,
                         raw)) {
    const csrn_hdf5_file file = file_of(worker, array);
    return csrn_hdf5_refuse(&file, "cannot read %s: the chunk that begins at %llu is damaged", array->path,
                            (unsigned long long)p->offset[0]);
  }
  if (!whole)
    move_tile(array, p, true, to, values);
  return CSRN_IO_OK;
}

csrn_io_status csrn_stream_decode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values) {
  if (!array->coded)
    return array->narrow ? check_narrow(worker, array, values, n) : CSRN_IO_OK;
  const int64_t n_chunks = chunks_of(array, n);
  const place *table = worker->buffers[TABLE].bytes;
  csrn_io_status status = CSRN_IO_OK;
  csrn_stream_receive(worker, array, n);
  for (int64_t i = 0; i < n_chunks && !status; i++) {
    const part p = part_of(array, first, i);
    if (table[i].size > 0)
      status = decode_chunk(worker, array, &p, &table[i], values);
  }
  return status;
}

csrn_io_status csrn_stream_fetch_raw(csrn_stream_worker *worker, const csrn_stream_array *array,
                                     int64_t first, int64_t n) {
  const int64_t n_chunks = chunks_of(array, n);
  place *table = csrn_stream_buffer(worker, TABLE, (size_t)n_chunks * sizeof *table);
  size_t used = 0;
  for (int64_t i = 0; table && i < n_chunks; i++) {
    const part p = part_of(array, first, i);
    hsize_t size = 0;
    if (H5Dget_chunk_storage_size(array->id, p.offset, &size) < 0) {
      H5Eclear2(H5E_DEFAULT); /* it was never written, and is not in the copy */
      size = 0;
    }
    table[i] = (place){.offset = used, .size = size};
    uint8_t *bytes = size > 0 ? grow(worker, CODED, used + size) : NULL;
    if (size > 0 && !bytes)
      return CSRN_IO_FAILED;
    if (size > 0 &&
        csrn_hdf5_find_chunk(array->id, p.offset, size, &table[i].mask, bytes + used, &table[i].span) < 0)
      return read_failed(worker, array);
    used += size;
  }
  return table ? CSRN_IO_OK : CSRN_IO_FAILED;
}

/* Whether a chunk is stored, and where. */
static bool find_place(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t i, place *found) {
  const part p = part_of(array, 0, i);
  hsize_t size;
  if (!is_stored(array, &p, &size))
    return false;
  void *coded = grow(worker, CODED, size);
  *found = (place){.size = size};
  return coded && csrn_hdf5_find_chunk(array->id, p.offset, size, &found->mask, coded, &found->span) >= 0 &&
         found->span.file;
}

void csrn_stream_survey(csrn_stream_worker *worker, csrn_stream_array *array) {
  const int64_t n = array->coded && !array->member ? chunks_of(array, array->extent) : 0;
  place *places = n > 0 && n <= CSRN_STREAM_SURVEYED ? malloc((size_t)n * sizeof *places) : NULL;
  bool found = places != NULL;
  for (int64_t i = 0; found && i < n; i++)
    found = find_place(worker, array, i, &places[i]);
  if (found) {
    array->places = places;
    return;
  }
  free(places);
  H5Eclear2(H5E_DEFAULT); /* what is wrong is told when it is read */
  worker->error.text[0] = '\0';
}

/* ---- Writing ------------------------------------------------------------------- */

/* The raw bytes of a chunk: among the values, or put together. What it has beyond the dataset is 0. */
static char *gather(csrn_stream_worker *worker, const csrn_stream_array *array, const part *p, char *values) {
  if (array->tile == array->width)
    return values + (size_t)p->begin * csrn_dtype_size(array->type);
  char *tile = csrn_stream_buffer(worker, TILE, chunk_bytes(array));
  if (!tile)
    return NULL;
  memset(tile, 0, chunk_bytes(array));
  move_tile(array, p, false, tile, values);
  return tile;
}

csrn_io_status csrn_stream_encode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values) {
  if (!array->coded)
    return CSRN_IO_OK;
  const size_t element = csrn_dtype_size(array->type), raw = chunk_bytes(array), room = csrn_codec_bound(raw);
  const int64_t padded = csrn_stream_padded(array, n), n_chunks = chunks_of(array, n);
  memset((char *)values + (size_t)n * element, 0, (size_t)(padded - n) * element);
  place *table = csrn_stream_buffer(worker, TABLE, (size_t)n_chunks * sizeof *table);
  uint8_t *coded = table ? csrn_stream_buffer(worker, CODED, (size_t)n_chunks * room) : NULL;
  size_t used = 0;
  for (int64_t i = 0; coded && i < n_chunks; i++) {
    const part p = part_of(array, first, i);
    const char *bytes = gather(worker, array, &p, values);
    if (!bytes)
      return CSRN_IO_FAILED;
    table[i].offset = used;
    table[i].size = csrn_codec_encode(worker->coder, &array->codec, bytes, raw, coded + used, &table[i].mask);
    if (table[i].size == 0)
      return csrn_io_fail(&worker->error, CSRN_IO_FAILED, "out of memory for coding %s", array->path);
    used += table[i].size;
  }
  return coded ? CSRN_IO_OK : CSRN_IO_FAILED;
}

csrn_io_status csrn_stream_store(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, const void *values) {
  const csrn_hdf5_file file = file_of(worker, array);
  place *table = worker->buffers[TABLE].bytes;
  const uint8_t *coded = worker->buffers[CODED].bytes;
  const int64_t n_chunks = array->coded || array->raw ? chunks_of(array, n) : 0;
  bool done = n_chunks > 0 || transfer_rows(array, first, n, NULL, values);
  for (int64_t i = 0; done && i < n_chunks; i++) {
    const part p = part_of(array, first, i);
    table[i].span = (csrn_hdf5_span){NULL, 0};
    done = table[i].size == 0 || csrn_hdf5_place_chunk(array->id, p.offset, table[i].size, table[i].mask,
                                                       coded + table[i].offset, &table[i].span) >= 0;
  }
  return done && csrn_hdf5_is_sound(&file) ? CSRN_IO_OK : csrn_hdf5_failed(&file, "write", array->path);
}

csrn_io_status csrn_stream_send(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t n) {
  const csrn_hdf5_file file = file_of(worker, array);
  if (array->coded || array->raw)
    move_bytes(worker, array, n, false);
  return csrn_hdf5_settle(&file, CSRN_IO_OK);
}
