/*
 * What libhdf5 1.10 must not be asked to read. It takes for granted that a chunk, once its filters are
 * undone, is as large as its dataset says, and reads beyond one that is not. So each is looked at before
 * libhdf5 reads it, as far as its filters are known here. And elements of a virtual dataset whose file is not
 * there, or not opened, are zeros to it.
 */
#include "hdf5_util.h"

#include <stdlib.h>
#include <string.h>

bool csrn_hdf5_find_codec(hid_t properties, int n_filters, csrn_codec *codec) {
  for (int i = 0; i < n_filters; i++) {
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
  return n_filters >= 0;
}

/* What is known of the chunks of a dataset, and room to look at one. */
typedef struct looking {
  hid_t dataset;
  int rank, n_filters;
  hsize_t extent[H5S_MAX_RANK], chunk[H5S_MAX_RANK];
  size_t raw;           /* bytes of a chunk */
  bool known, checksum; /* the filters are those of `codec`; and then a checksum of 4 bytes */
  bool partial;         /* chunks across the border may lie unfiltered */
  csrn_codec codec;
  csrn_coder *coder;
  void *coded, *decoded;
} looking;

static bool ends_with_checksum(hid_t properties, int n_filters) {
  unsigned flags, config;
  size_t n_parameters = 0;
  return n_filters > 0 && H5Pget_filter2(properties, (unsigned)n_filters - 1, &flags, &n_parameters, NULL, 0,
                                         NULL, &config) == H5Z_FILTER_FLETCHER32;
}

/* Bytes of the addresses in the file of a dataset; 0: unknown. */
static size_t address_bytes(hid_t dataset) {
  size_t address = 0, size = 0;
  hid_t file = H5Iget_file_id(dataset), properties = file < 0 ? -1 : H5Fget_create_plist(file);
  if (properties >= 0)
    H5Pget_sizes(properties, &address, &size);
  csrn_hdf5_close(properties);
  csrn_hdf5_close(file);
  return address;
}

/* Bytes that an element takes in the file; 0: unknown. What varies in length is a length, an address and a
 * number there. */
static size_t stored_bytes(hid_t dataset, hid_t type) {
  const H5T_class_t class = H5Tget_class(type);
  if (class == H5T_VLEN || (class == H5T_STRING && H5Tis_variable_str(type) > 0)) {
    const size_t address = address_bytes(dataset);
    return address > 0 ? 4 + address + 4 : 0;
  }
  return class == H5T_INTEGER || class == H5T_FLOAT || class == H5T_ENUM || class == H5T_STRING
             ? H5Tget_size(type)
             : 0;
}

bool csrn_hdf5_is_elsewhere(hid_t properties, char *name, size_t size) {
  size_t n = 0;
  name[0] = '\0';
  if (H5Pget_layout(properties) != H5D_VIRTUAL || H5Pget_virtual_count(properties, &n) < 0)
    return false;
  for (size_t i = 0; i < n; i++)
    if (H5Pget_virtual_filename(properties, i, name, size) < 0 || strcmp(name, "."))
      return true;
  return false;
}

static bool is_elsewhere(hid_t dataset) {
  char name[3]; /* enough to tell it from ".", this file */
  hid_t properties = H5Dget_create_plist(dataset);
  const bool found = properties >= 0 && csrn_hdf5_is_elsewhere(properties, name, sizeof name);
  csrn_hdf5_close(properties);
  return found;
}

/* False if the dataset has no chunks, or cannot be looked at. */
static bool begin(looking *look, hid_t dataset) {
  unsigned options = 0;
  hid_t properties = H5Dget_create_plist(dataset), space = H5Dget_space(dataset), type = H5Dget_type(dataset);
  *look = (looking){.dataset = dataset, .rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space)};
  bool chunked = properties >= 0 && type >= 0 && look->rank > 0 && H5Pget_layout(properties) == H5D_CHUNKED &&
                 H5Pget_chunk(properties, look->rank, look->chunk) == look->rank &&
                 H5Pget_chunk_opts(properties, &options) >= 0;
  if (chunked) {
    H5Sget_simple_extent_dims(space, look->extent, NULL);
    look->n_filters = H5Pget_nfilters(properties);
    look->checksum = ends_with_checksum(properties, look->n_filters);
    look->known = csrn_hdf5_find_codec(properties, look->n_filters - look->checksum, &look->codec);
    look->partial = options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS;
    look->raw = look->codec.element = stored_bytes(dataset, type);
    for (int i = 0; i < look->rank; i++)
      look->raw *= (size_t)look->chunk[i];
  }
  csrn_hdf5_close(type);
  csrn_hdf5_close(space);
  csrn_hdf5_close(properties);
  return chunked && look->codec.element > 0;
}

static void end(looking *look) {
  csrn_coder_destroy(look->coder);
  free(look->coded);
  free(look->decoded);
}

/* Whether the bytes of a chunk are as many as it has, behind those filters that were not skipped for it. */
static bool is_whole(looking *look, const hsize_t *offset, size_t n) {
  uint32_t mask = 0;
  const uint32_t all = look->n_filters < 32 ? ((uint32_t)1 << look->n_filters) - 1 : UINT32_MAX;
  void *coded = realloc(look->coded, n);
  if (coded)
    look->coded = coded;
  if (!look->coder)
    look->coder = csrn_coder_create();
  if (!look->decoded)
    look->decoded = malloc(look->raw);
  if (!coded || !look->coder || !look->decoded)
    return false;
  if (H5Dread_chunk(look->dataset, H5P_DEFAULT, offset, &mask, coded) < 0)
    return false;
  if ((mask & all) == all)
    return n == look->raw;
  const uint32_t last = (uint32_t)1 << (look->n_filters - 1);
  const size_t checksum = look->checksum && !(mask & last) ? 4 : 0;
  return !look->known || (n >= checksum && csrn_codec_decode(look->coder, &look->codec, mask, coded,
                                                             n - checksum, look->decoded, look->raw));
}

/* The same where there are no filters: that the file, too, says so many bytes. They are not read. */
static bool is_plainly_whole(looking *look, const hsize_t *offset) {
  uint32_t mask;
  csrn_hdf5_span span;
  if (!look->decoded)
    look->decoded = malloc(look->raw);
  return look->decoded &&
         csrn_hdf5_find_chunk(look->dataset, offset, look->raw, &mask, look->decoded, &span) >= 0;
}

static bool is_sound(looking *look, const hsize_t *offset) {
  hsize_t n = 0;
  if (H5Dget_chunk_storage_size(look->dataset, offset, &n) < 0 || n == 0) {
    H5Eclear2(H5E_DEFAULT); /* it was never written */
    return true;
  }
  if (look->n_filters == 0)
    return n == look->raw && is_plainly_whole(look, offset);
  return (n == look->raw && look->partial) || is_whole(look, offset, (size_t)n);
}

/* The next offset of a chunk in row-major order; false behind the last of the rows before `end_row`. */
static bool advance(const looking *look, hsize_t *offset, hsize_t end_row) {
  for (int i = look->rank - 1; i > 0; i--) {
    offset[i] += look->chunk[i];
    if (offset[i] < look->extent[i])
      return true;
    offset[i] = 0;
  }
  offset[0] += look->chunk[0];
  return offset[0] < end_row;
}

int csrn_hdf5_has_bad_chunk(hid_t dataset, hsize_t start, hsize_t n, hsize_t *where) {
  looking look;
  *where = 0;
  if (is_elsewhere(dataset))
    return 1;
  if (!begin(&look, dataset))
    return 0;
  const hsize_t end_row = start < look.extent[0] && n < look.extent[0] - start ? start + n : look.extent[0];
  hsize_t offset[H5S_MAX_RANK] = {start / look.chunk[0] * look.chunk[0]};
  bool more = start < end_row, bad = false;
  for (int i = 1; i < look.rank; i++)
    more = more && look.extent[i] > 0;
  while (more && !bad) {
    bad = !is_sound(&look, offset);
    *where = offset[0];
    more = !bad && advance(&look, offset, end_row);
  }
  end(&look);
  return bad;
}

csrn_io_status csrn_hdf5_check_chunks(const csrn_hdf5_file *file, hid_t dataset, const char *path,
                                      hsize_t start, hsize_t n) {
  hsize_t where = 0;
  if (!csrn_hdf5_has_bad_chunk(dataset, start, n, &where))
    return CSRN_IO_OK;
  return csrn_hdf5_refuse(file, "cannot read %s: the chunk that begins at %llu is damaged", path,
                          (unsigned long long)where);
}
