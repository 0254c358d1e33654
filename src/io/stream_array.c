/*
 * Datasets in pieces. Where this library knows the filters and the elements lie as in memory,
 * the chunks go raw between the file and a worker, which codes them itself; everything
 * else (conversions, checksums, plugins, chunks that were never written, datasets without
 * chunks) goes through libhdf5, one piece at a time.
 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Buffers of a worker; the others are the passes' own. */
enum { CODED = 0, TABLE = 1 };

/* Where a chunk of a piece lies in the buffer of coded bytes; size 0: its values were read already. */
typedef struct place {
  size_t offset, size;
  uint32_t mask;
} place;

static csrn_hdf5_file file_of(csrn_stream_worker *worker, const csrn_stream_array *array) {
  return (csrn_hdf5_file){-1, array->file, &worker->error};
}

/* ---- What a dataset is --------------------------------------------------------- */

/* Whether the filters are an optional shuffle and at most one compressor that codec.c has. */
static bool find_codec(hid_t properties, csrn_codec *codec) {
  const int n = H5Pget_nfilters(properties);
  for (int i = 0; i < n; i++) {
    unsigned flags, config, parameters[1] = {0};
    size_t n_parameters = 1;
    const H5Z_filter_t id =
        H5Pget_filter2(properties, (unsigned)i, &flags, &n_parameters, parameters, 0, NULL, &config);
    if (id == H5Z_FILTER_SHUFFLE && i == 0)
      codec->shuffle = true;
    else if (id == H5Z_FILTER_DEFLATE && i == codec->shuffle)
      codec->kind = CSRN_CODEC_DEFLATE;
    else if (id == CSRN_HDF5_LZF && i == codec->shuffle)
      codec->kind = CSRN_CODEC_LZF;
    else
      return false;
  }
  return n >= 0;
}

csrn_io_status csrn_stream_array_init(csrn_stream_array *array, const csrn_hdf5_file *file, hid_t id,
                                      const char *path, csrn_dtype type, bool narrow) {
  hsize_t extent = 0, chunk = 0;
  memset(array, 0, sizeof *array);
  hid_t properties = H5Dget_create_plist(id), space = H5Dget_space(id), stored = H5Dget_type(id);
  bool fault = properties < 0 || stored < 0 || H5Sget_simple_extent_dims(space, &extent, NULL) != 1;
  if (!fault && H5Pget_layout(properties) == H5D_CHUNKED)
    fault = H5Pget_chunk(properties, 1, &chunk) != 1;
  if (!fault) {
    array->id = id;
    array->file = file->path;
    array->path = path;
    array->type = type;
    array->narrow = narrow;
    array->extent = (int64_t)extent;
    array->chunk = (int64_t)chunk;
    array->codec.element = csrn_dtype_size(type);
    array->coded = chunk > 0 && !narrow && H5Tequal(stored, csrn_hdf5_native(type)) > 0 &&
                   find_codec(properties, &array->codec);
  }
  csrn_hdf5_close(stored);
  csrn_hdf5_close(space);
  csrn_hdf5_close(properties);
  return fault ? csrn_hdf5_failed(file, "look at", path) : CSRN_IO_OK;
}

int64_t csrn_stream_padded(const csrn_stream_array *array, int64_t n) {
  return array->coded ? (n + array->chunk - 1) / array->chunk * array->chunk : n;
}

/* ---- Through libhdf5 ----------------------------------------------------------- */

static bool transfer(const csrn_stream_array *array, int64_t first, int64_t n, void *to, const void *from) {
  const hsize_t offset = (hsize_t)first, count = (hsize_t)n;
  const hid_t type = csrn_hdf5_native(array->narrow ? CSRN_U64 : array->type);
  hid_t file = H5Dget_space(array->id), memory = H5Screate_simple(1, &count, NULL);
  bool done =
      file >= 0 && memory >= 0 && H5Sselect_hyperslab(file, H5S_SELECT_SET, &offset, NULL, &count, NULL) >= 0;
  if (done && to)
    done = H5Dread(array->id, type, memory, file, H5P_DEFAULT, to) >= 0;
  else if (done)
    done = H5Dwrite(array->id, type, memory, file, H5P_DEFAULT, from) >= 0;
  csrn_hdf5_close(memory);
  csrn_hdf5_close(file);
  return done;
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

/* One chunk into the buffer of coded bytes, or, if it does not lie there as it should, through libhdf5 into
 * its place among the values. */
static csrn_io_status fetch_chunk(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values, size_t used, place *chunk) {
  const hsize_t offset = (hsize_t)first;
  const size_t raw = (size_t)array->chunk * csrn_dtype_size(array->type);
  hsize_t size = 0;
  *chunk = (place){used, 0, 0};
  if (H5Dget_chunk_storage_size(array->id, &offset, &size) < 0 || size == 0 ||
      size > 2 * csrn_codec_bound(raw))
    return transfer(array, first, n, values, NULL) ? CSRN_IO_OK : read_failed(worker, array);
  uint8_t *coded = grow(worker, CODED, used + size);
  if (!coded)
    return CSRN_IO_FAILED;
  if (H5Dread_chunk(array->id, H5P_DEFAULT, &offset, &chunk->mask, coded + used) < 0)
    return read_failed(worker, array);
  chunk->size = size;
  return CSRN_IO_OK;
}

csrn_io_status csrn_stream_fetch(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, void *values) {
  if (!array->coded)
    return n == 0 || transfer(array, first, n, values, NULL) ? CSRN_IO_OK : read_failed(worker, array);
  const int64_t n_chunks = csrn_stream_padded(array, n) / array->chunk;
  place *table = csrn_stream_buffer(worker, TABLE, (size_t)n_chunks * sizeof *table);
  csrn_io_status status = table ? CSRN_IO_OK : CSRN_IO_FAILED;
  size_t used = 0;
  for (int64_t i = 0; i < n_chunks && !status; i++) {
    const int64_t begin = i * array->chunk, left = array->extent - first - begin;
    char *to = (char *)values + (size_t)begin * csrn_dtype_size(array->type);
    status = fetch_chunk(worker, array, first + begin, left < array->chunk ? left : array->chunk, to, used,
                         &table[i]);
    used += table[i].size;
  }
  return status;
}

csrn_io_status csrn_stream_decode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                  int64_t n, void *values) {
  if (!array->coded)
    return array->narrow ? check_narrow(worker, array, values, n) : CSRN_IO_OK;
  const size_t raw = (size_t)array->chunk * csrn_dtype_size(array->type);
  const int64_t n_chunks = csrn_stream_padded(array, n) / array->chunk;
  const place *table = worker->buffers[TABLE].bytes;
  const uint8_t *coded = worker->buffers[CODED].bytes;
  for (int64_t i = 0; i < n_chunks; i++)
    if (table[i].size > 0 &&
        !csrn_codec_decode(worker->coder, &array->codec, table[i].mask, coded + table[i].offset,
                           table[i].size, (uint8_t *)values + (size_t)i * raw, raw)) {
      const csrn_hdf5_file file = file_of(worker, array);
      return csrn_hdf5_refuse(&file, "cannot read %s: the chunk that begins at %" PRId64 " is damaged",
                              array->path, first + i * array->chunk);
    }
  return CSRN_IO_OK;
}

csrn_io_status csrn_stream_fetch_raw(csrn_stream_worker *worker, const csrn_stream_array *array,
                                     int64_t first, int64_t n) {
  const int64_t n_chunks = (n + array->chunk - 1) / array->chunk;
  place *table = csrn_stream_buffer(worker, TABLE, (size_t)n_chunks * sizeof *table);
  size_t used = 0;
  for (int64_t i = 0; table && i < n_chunks; i++) {
    const hsize_t offset = (hsize_t)first + (hsize_t)i * (hsize_t)array->chunk;
    hsize_t size = 0;
    if (H5Dget_chunk_storage_size(array->id, &offset, &size) < 0) {
      H5Eclear2(H5E_DEFAULT); /* it was never written, and is not in the copy */
      size = 0;
    }
    table[i] = (place){used, size, 0};
    uint8_t *bytes = size > 0 ? grow(worker, CODED, used + size) : NULL;
    if (size > 0 && !bytes)
      return CSRN_IO_FAILED;
    if (size > 0 && H5Dread_chunk(array->id, H5P_DEFAULT, &offset, &table[i].mask, bytes + used) < 0)
      return read_failed(worker, array);
    used += size;
  }
  return table ? CSRN_IO_OK : CSRN_IO_FAILED;
}

/* ---- Writing ------------------------------------------------------------------- */

csrn_io_status csrn_stream_encode(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t n,
                                  void *values) {
  if (!array->coded)
    return CSRN_IO_OK;
  const size_t element = csrn_dtype_size(array->type), raw = (size_t)array->chunk * element;
  const int64_t padded = csrn_stream_padded(array, n), n_chunks = padded / array->chunk;
  const size_t room = csrn_codec_bound(raw);
  memset((char *)values + (size_t)n * element, 0, (size_t)(padded - n) * element);
  place *table = csrn_stream_buffer(worker, TABLE, (size_t)n_chunks * sizeof *table);
  uint8_t *coded = table ? csrn_stream_buffer(worker, CODED, (size_t)n_chunks * room) : NULL;
  size_t used = 0;
  for (int64_t i = 0; coded && i < n_chunks; i++) {
    table[i].offset = used;
    table[i].size = csrn_codec_encode(worker->coder, &array->codec, (uint8_t *)values + (size_t)i * raw, raw,
                                      coded + used, &table[i].mask);
    if (table[i].size == 0)
      return csrn_io_fail(&worker->error, CSRN_IO_FAILED, "out of memory for coding %s", array->path);
    used += table[i].size;
  }
  return coded ? CSRN_IO_OK : CSRN_IO_FAILED;
}

csrn_io_status csrn_stream_store(csrn_stream_worker *worker, const csrn_stream_array *array, int64_t first,
                                 int64_t n, const void *values) {
  const csrn_hdf5_file file = file_of(worker, array);
  const place *table = worker->buffers[TABLE].bytes;
  const uint8_t *coded = worker->buffers[CODED].bytes;
  bool done = true;
  const bool by_chunk = array->coded || array->raw;
  if (!by_chunk)
    done = n == 0 || transfer(array, first, n, NULL, values);
  for (int64_t i = 0; by_chunk && done && i * array->chunk < n; i++) {
    const hsize_t offset = (hsize_t)first + (hsize_t)i * (hsize_t)array->chunk;
    done = table[i].size == 0 || H5Dwrite_chunk(array->id, H5P_DEFAULT, table[i].mask, &offset, table[i].size,
                                                coded + table[i].offset) >= 0;
  }
  return done ? CSRN_IO_OK : csrn_hdf5_failed(&file, "write", array->path);
}
