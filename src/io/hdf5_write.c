/*
 * Datasets and attributes of an output file: storage like that of the input's dataset,
 * values in slabs of whole chunks, and the attributes that anndata's encodings consist of.
 */
#include "hdf5_util.h"

#include <stdlib.h>
#include <string.h>

enum {
  DEFAULT_LEVEL = 4, /* of gzip: h5py's, and so anndata's */
  /* Elements of a chunk where the input has none: 256 KiB of float32, which fits a core's
   * cache, and few enough chunks for libhdf5's index of them. */
  DEFAULT_CHUNK = 1 << 16
};

/* ---- Storage ---- */

/* Filters that give back what was written, whatever the element type: shuffling,
 * checksums and general compressors. Not nbit, scaleoffset, and those of images and fields. */
static int keeps_values(H5Z_filter_t id) {
  static const H5Z_filter_t lossless[] = {H5Z_FILTER_DEFLATE,
                                          H5Z_FILTER_SHUFFLE,
                                          H5Z_FILTER_FLETCHER32,
                                          H5Z_FILTER_SZIP,
                                          CSRN_HDF5_LZF,
                                          32001 /* blosc */,
                                          32015 /* zstd */};
  unsigned config = 0;
  for (size_t i = 0; i < sizeof lossless / sizeof lossless[0]; i++)
    if (id == lossless[i])
      return H5Zfilter_avail(id) > 0 && H5Zget_filter_info(id, &config) >= 0 &&
             config & H5Z_FILTER_CONFIG_ENCODE_ENABLED;
  return 0;
}

int csrn_hdf5_keeps_filters(hid_t properties) {
  const int n = H5Pget_nfilters(properties);
  for (int i = 0; i < n; i++) {
    unsigned flags, config;
    size_t n_parameters = 0;
    if (!keeps_values(H5Pget_filter2(properties, (unsigned)i, &flags, &n_parameters, NULL, 0, NULL, &config)))
      return 0;
  }
  return n >= 0;
}

static int set_gzip(hid_t storage, int level, int shuffled) {
  if (shuffled && H5Pset_shuffle(storage) < 0)
    return 1;
  return H5Pset_deflate(storage, (unsigned)(level ? level : DEFAULT_LEVEL)) < 0;
}

/* The filters of `model`, or gzip in their place if one cannot be kept. */
static int keep_filters(hid_t storage, hid_t model) {
  int n = H5Pget_nfilters(model);
  for (int i = 0; i < n; i++) {
    unsigned flags, config, parameters[32];
    size_t n_parameters = sizeof parameters / sizeof parameters[0];
    H5Z_filter_t id = H5Pget_filter2(model, (unsigned)i, &flags, &n_parameters, parameters, 0, NULL, &config);
    if (id < 0)
      return 1;
    if (!keeps_values(id))
      return H5Premove_filter(storage, H5Z_FILTER_ALL) < 0 || set_gzip(storage, 0, 0);
    int fault = id == H5Z_FILTER_SZIP ? H5Pset_szip(storage, parameters[0], parameters[1]) < 0
                                      : H5Pset_filter(storage, id, flags, n_parameters, parameters) < 0;
    if (fault)
      return 1;
  }
  return n < 0;
}

static int has_filter(hid_t properties, H5Z_filter_t id) {
  int n = H5Pget_nfilters(properties);
  for (int i = 0; i < n; i++) {
    unsigned flags, config;
    size_t n_parameters = 0;
    if (H5Pget_filter2(properties, (unsigned)i, &flags, &n_parameters, NULL, 0, NULL, &config) == id)
      return 1;
  }
  return 0;
}

void csrn_hdf5_default_chunk(int rank, const hsize_t *extent, hsize_t *chunk) {
  hsize_t width = rank == 2 ? extent[1] : 1;
  chunk[1] = width < DEFAULT_CHUNK ? width : DEFAULT_CHUNK;
  chunk[0] = chunk[1] ? DEFAULT_CHUNK / chunk[1] : 1;
  if (chunk[0] > extent[0])
    chunk[0] = extent[0] ? extent[0] : 1;
}

/* Chunks as in the model; of the default size where it has none, or there is no model, but
 * chunks are needed. A dataset without elements in a fixed shape can have none. */
static int set_chunks(hid_t storage, hid_t model, int rank, const hsize_t *extent, int needed) {
  hsize_t chunk[2];
  if (model >= 0 && H5Pget_layout(model) == H5D_CHUNKED)
    return H5Pget_chunk(model, rank, chunk) < 0 || H5Pset_chunk(storage, rank, chunk) < 0;
  if (!needed)
    return 0;
  csrn_hdf5_default_chunk(rank, extent, chunk);
  return H5Pset_chunk(storage, rank, chunk) < 0;
}

hid_t csrn_hdf5_storage(hid_t model, int rank, const hsize_t *extent, csrn_io_compression compression,
                        int level) {
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
  hid_t like = model < 0 ? -1 : H5Dget_create_plist(model);
  int empty = rank == 2 && (extent[0] == 0 || extent[1] == 0);
  int chunked = !empty && (model < 0 || compression == CSRN_IO_COMPRESSION_GZIP);
  int fault = storage < 0 || (model >= 0 && like < 0) || H5Pset_obj_track_times(storage, 0) < 0 ||
              set_chunks(storage, like, rank, extent, chunked);
  if (!fault && H5Pget_layout(storage) == H5D_CHUNKED) {
    if (compression == CSRN_IO_COMPRESSION_GZIP)
      fault = set_gzip(storage, level, like >= 0 && has_filter(like, H5Z_FILTER_SHUFFLE));
    else if (compression == CSRN_IO_COMPRESSION_KEEP && like >= 0)
      fault = keep_filters(storage, like);
  }
  csrn_hdf5_close(like);
  if (!fault)
    return storage;
  csrn_hdf5_close(storage);
  return -1;
}

/* ---- Values ---- */

static int write_slab(hid_t dataset, const csrn_hdf5_values *values, hsize_t start, hsize_t n) {
  hsize_t width = values->rank == 2 ? values->extent[1] : 1;
  const hsize_t offset[2] = {start, 0}, count[2] = {n, width};
  const char *from = (const char *)values->values + start * width * csrn_dtype_size(values->type);
  hid_t to = H5Dget_space(dataset), memory = H5Screate_simple(values->rank, count, NULL);
  int fault = to < 0 || memory < 0 ||
              H5Sselect_hyperslab(to, H5S_SELECT_SET, offset, NULL, count, NULL) < 0 ||
              H5Dwrite(dataset, csrn_hdf5_native(values->type), memory, to, H5P_DEFAULT, from) < 0;
  csrn_hdf5_close(to);
  csrn_hdf5_close(memory);
  return fault;
}

/* Without a cache of chunks: they are written whole. */
static hid_t create_dataset(hid_t group, const csrn_hdf5_values *values, hid_t storage) {
  static const uint64_t zero = 0;
  hid_t type = csrn_hdf5_native(values->type);
  int chunked = H5Pget_layout(storage) == H5D_CHUNKED;
  hid_t space = H5Screate_simple(values->rank, values->extent, chunked ? values->max : NULL);
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS), dataset = -1;
  if (space >= 0 && access >= 0 && H5Pset_chunk_cache(access, 0, 0, 0) >= 0 &&
      ((uint64_t)values->n == values->extent[0] || H5Pset_fill_value(storage, type, &zero) >= 0))
    dataset = H5Dcreate2(group, values->name, type, space, H5P_DEFAULT, storage, access);
  csrn_hdf5_close(access);
  csrn_hdf5_close(space);
  return dataset;
}

csrn_io_status csrn_hdf5_write_values(const csrn_hdf5_file *file, hid_t group, const csrn_hdf5_values *values,
                                      hid_t storage, const csrn_io_progress *progress, hid_t *dataset) {
  hid_t id = create_dataset(group, values, storage);
  if (dataset)
    *dataset = id;
  if (id < 0)
    return csrn_hdf5_failed(file, "create", values->name);
  csrn_io_status status = CSRN_IO_OK;
  hsize_t chunk[2] = {0, 0}, n = (hsize_t)values->n;
  if (H5Pget_layout(storage) == H5D_CHUNKED)
    H5Pget_chunk(storage, values->rank, chunk);
  size_t element = csrn_dtype_size(values->type);
  hsize_t slice = (values->rank == 2 ? values->extent[1] : 1) * element; /* bytes */
  hsize_t slab = csrn_hdf5_slab(values->extent, chunk, values->rank, element);
  for (hsize_t done = 0; values->values && done < n && slice > 0 && !status; done += slab) {
    if (values->step &&
        !csrn_io_proceed(progress, values->step, (int64_t)(done * slice), (int64_t)(n * slice)))
      status = csrn_io_fail(file->error, CSRN_IO_FAILED, "interrupted");
    else if (write_slab(id, values, done, n - done < slab ? n - done : slab) || !csrn_hdf5_is_sound(file))
      status = csrn_hdf5_failed(file, "write", values->name);
  }
  if (!status && values->values && values->step)
    csrn_io_proceed(progress, values->step, (int64_t)(n * slice), (int64_t)(n * slice));
  if (!dataset)
    csrn_hdf5_close(id);
  return status;
}

/* ---- Attributes ---- */

static hid_t text_type(void) {
  hid_t type = H5Tcopy(H5T_C_S1);
  if (type >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0)
    return type;
  csrn_hdf5_close(type);
  return -1;
}

/* Creates the attribute anew and writes it; libhdf5 needs a buffer also for no elements. */
static int write_attribute(hid_t object, const char *name, hid_t type, hid_t space, const void *values) {
  static const char *const nothing[1] = {""};
  if (type < 0 || space < 0 || (H5Aexists(object, name) > 0 && H5Adelete(object, name) < 0))
    return 1;
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  int fault = attribute < 0 || H5Awrite(attribute, type, values ? values : (const void *)nothing) < 0;
  csrn_hdf5_close(attribute);
  return fault;
}

int csrn_hdf5_write_text(hid_t object, const char *name, const char *text) {
  hid_t type = text_type(), space = H5Screate(H5S_SCALAR);
  int fault = write_attribute(object, name, type, space, &text);
  csrn_hdf5_close(type);
  csrn_hdf5_close(space);
  return fault;
}

int csrn_hdf5_write_texts(hid_t object, const char *name, char *const *texts, int64_t n) {
  const hsize_t extent = (hsize_t)n;
  hid_t type = text_type(), space = H5Screate_simple(1, &extent, NULL);
  int fault = write_attribute(object, name, type, space, n > 0 ? texts : NULL);
  csrn_hdf5_close(type);
  csrn_hdf5_close(space);
  return fault;
}

int csrn_hdf5_write_integers(hid_t object, const char *name, int n, const int64_t *values) {
  const hsize_t extent = (hsize_t)n;
  hid_t space = H5Screate_simple(1, &extent, NULL);
  int fault = write_attribute(object, name, H5T_NATIVE_INT64, space, values);
  csrn_hdf5_close(space);
  return fault;
}

int csrn_hdf5_write_encoding(hid_t object, const char *type, const char *version) {
  return csrn_hdf5_write_text(object, "encoding-type", type) ||
         csrn_hdf5_write_text(object, "encoding-version", version);
}

static int copy_attribute(hid_t from, hid_t to, const char *name) {
  hid_t attribute = H5Aopen(from, name, H5P_DEFAULT);
  hid_t type = attribute < 0 ? -1 : H5Aget_type(attribute),
        space = attribute < 0 ? -1 : H5Aget_space(attribute);
  hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
  char *values = type < 0 || n < 0 ? NULL : calloc((size_t)n + 1, H5Tget_size(type));
  int fault = !values || (n > 0 && H5Aread(attribute, type, values) < 0) ||
              write_attribute(to, name, type, space, values);
  if (values && n > 0)
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, values);
  free(values);
  csrn_hdf5_close(type);
  csrn_hdf5_close(space);
  csrn_hdf5_close(attribute);
  return fault;
}

struct attribute_copy {
  const csrn_hdf5_file *file;
  const char *object;
  hid_t to;
  csrn_io_status status;
};

/* References hold addresses in the old file. anndata writes none on what passes through
 * here; those inside of copied groups are H5Ocopy()'s work. */
static int has_references(hid_t from, const char *name) {
  hid_t attribute = H5Aopen(from, name, H5P_DEFAULT);
  hid_t type = attribute < 0 ? -1 : H5Aget_type(attribute);
  int found = type >= 0 && H5Tdetect_class(type, H5T_REFERENCE) > 0;
  csrn_hdf5_close(type);
  csrn_hdf5_close(attribute);
  return found;
}

static herr_t copy_next(hid_t from, const char *name, const H5A_info_t *info, void *user) {
  (void)info;
  struct attribute_copy *copy = user;
  if (has_references(from, name))
    copy->status =
        csrn_hdf5_refuse(copy->file, "the attribute %s of %s holds references, which cannot be carried over",
                         name, copy->object);
  else if (copy_attribute(from, copy->to, name)) {
    char action[300];
    snprintf(action, sizeof action, "copy the attribute %.200s of", name);
    copy->status = csrn_hdf5_failed(copy->file, action, copy->object);
  }
  return copy->status ? -1 : 0;
}

csrn_io_status csrn_hdf5_copy_attributes(const csrn_hdf5_file *file, hid_t from, hid_t to,
                                         const char *object) {
  char path[256] = "";
  const int named = H5Iget_name(from, path, sizeof path) > 1;
  struct attribute_copy copy = {file, named ? path + 1 : object, to, CSRN_IO_OK};
  hsize_t start = 0;
  if (H5Aiterate2(from, H5_INDEX_NAME, H5_ITER_INC, &start, copy_next, &copy) < 0 && !copy.status)
    return csrn_hdf5_failed(file, "copy the attributes of", object);
  return copy.status;
}

/* ---- anndata's elements ---- */

hid_t csrn_hdf5_create_group(hid_t location, const char *name, const char *type, const char *version) {
  hid_t group = H5Gcreate2(location, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (group < 0 || !type || !csrn_hdf5_write_encoding(group, type, version))
    return group;
  csrn_hdf5_close(group);
  return -1;
}

hid_t csrn_hdf5_make_string_array(hid_t group, const char *name, int64_t n) {
  const hsize_t extent = (hsize_t)n;
  hid_t type = text_type(), space = H5Screate_simple(1, &extent, NULL);
  hid_t storage = csrn_hdf5_storage(-1, 1, &extent, CSRN_IO_COMPRESSION_NONE, 0);
  if (storage >= 0)
    H5Pset_layout(storage, H5D_CONTIGUOUS);
  hid_t dataset = type < 0 || space < 0 || storage < 0
                      ? -1
                      : H5Dcreate2(group, name, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  const int fault = dataset < 0 || csrn_hdf5_write_encoding(dataset, "string-array", "0.2.0");
  csrn_hdf5_close(storage);
  csrn_hdf5_close(space);
  csrn_hdf5_close(type);
  if (!fault)
    return dataset;
  csrn_hdf5_close(dataset);
  return -1;
}

int csrn_hdf5_write_strings(hid_t dataset, int64_t start, int64_t n, char *const *texts) {
  const hsize_t offset = (hsize_t)start, count = (hsize_t)n;
  hid_t type = text_type(), to = H5Dget_space(dataset), memory = H5Screate_simple(1, &count, NULL);
  const int fault = type < 0 || to < 0 || memory < 0 ||
                    (n > 0 && (H5Sselect_hyperslab(to, H5S_SELECT_SET, &offset, NULL, &count, NULL) < 0 ||
                               H5Dwrite(dataset, type, memory, to, H5P_DEFAULT, texts) < 0));
  csrn_hdf5_close(memory);
  csrn_hdf5_close(to);
  csrn_hdf5_close(type);
  return fault;
}
