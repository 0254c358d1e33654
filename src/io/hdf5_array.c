/*
 * Datasets of numbers: what they hold, through which filters, and reading them in slabs
 * of whole chunks into the element types of this library. libhdf5 converts byte order,
 * float16, small integers and enumerated bools on the way.
 */
#include "hdf5_util.h"

#include <stdlib.h>
#include <string.h>

hid_t csrn_hdf5_native(csrn_dtype type) {
  switch (type) {
  case CSRN_F32:
    return H5T_NATIVE_FLOAT;
  case CSRN_F64:
    return H5T_NATIVE_DOUBLE;
  case CSRN_U8:
    return H5T_NATIVE_UINT8;
  case CSRN_U16:
    return H5T_NATIVE_UINT16;
  case CSRN_U32:
    return H5T_NATIVE_UINT32;
  case CSRN_U64:
    return H5T_NATIVE_UINT64;
  case CSRN_I32:
    return H5T_NATIVE_INT32;
  case CSRN_I64:
    return H5T_NATIVE_INT64;
  case CSRN_NONE:
    break;
  }
  return -1;
}

/* ---- Types ---- */

static csrn_dtype integer_type(hid_t type) {
  int is_signed = H5Tget_sign(type) == H5T_SGN_2;
  switch (H5Tget_size(type)) {
  case 1:
    return is_signed ? CSRN_I32 : CSRN_U8;
  case 2:
    return is_signed ? CSRN_I32 : CSRN_U16;
  case 4:
    return is_signed ? CSRN_I32 : CSRN_U32;
  case 8:
    return is_signed ? CSRN_I64 : CSRN_U64;
  default:
    return CSRN_NONE;
  }
}

/* h5py's bool is an enumeration of int8 with the members FALSE = 0 and TRUE = 1. */
static int is_bool(hid_t type) {
  int seen = 0;
  if (H5Tget_nmembers(type) != 2)
    return 0;
  for (unsigned i = 0; i < 2; i++) {
    int64_t value = -1; /* holds a member of any integer type before the conversion */
    hid_t base = H5Tget_super(type);
    int fault = H5Tget_size(base) > sizeof value || H5Tget_member_value(type, i, &value) < 0 ||
                H5Tconvert(base, H5T_NATIVE_INT64, 1, &value, NULL, H5P_DEFAULT) < 0;
    csrn_hdf5_close(base);
    if (fault || value < 0 || value > 1)
      return 0;
    seen |= 1 << value;
  }
  return seen == 3;
}

static csrn_dtype number_type(hid_t type) {
  switch (H5Tget_class(type)) {
  case H5T_FLOAT:
    return H5Tget_size(type) <= 4 ? CSRN_F32 : H5Tget_size(type) <= 8 ? CSRN_F64 : CSRN_NONE;
  case H5T_INTEGER:
    return integer_type(type);
  case H5T_ENUM:
    return is_bool(type) ? CSRN_U8 : CSRN_NONE;
  default:
    return CSRN_NONE;
  }
}

/* "strings", "int128", ... for a type that is not taken. */
static const char *class_name(hid_t type) {
  switch (H5Tget_class(type)) {
  case H5T_STRING:
    return "strings";
  case H5T_COMPOUND:
    return "compound values";
  case H5T_ENUM:
    return "enumerated values";
  case H5T_REFERENCE:
    return "references";
  case H5T_VLEN:
    return "lists of varying length";
  case H5T_ARRAY:
    return "arrays";
  case H5T_FLOAT:
    return "floating-point values of more than 8 bytes";
  case H5T_INTEGER:
    return "integers of an unusual size";
  default:
    return "values that are not numbers";
  }
}

static csrn_io_status find_type(const csrn_hdf5_file *file, csrn_hdf5_use use, csrn_hdf5_array *array) {
  hid_t type = H5Dget_type(array->id);
  array->type = type < 0 ? CSRN_NONE : number_type(type);
  csrn_io_status status = CSRN_IO_OK;
  if (use == CSRN_HDF5_INDICES && (array->type == CSRN_F32 || array->type == CSRN_F64))
    status = csrn_hdf5_refuse(file, "%s holds floating-point values, expected integers", array->path);
  else if (array->type == CSRN_NONE)
    status = csrn_hdf5_refuse(file, "%s holds %s, expected %s", array->path,
                              type < 0 ? "an unknown type" : class_name(type),
                              use == CSRN_HDF5_INDICES ? "integers" : "numbers");
  else if (use == CSRN_HDF5_VALUES && array->type == CSRN_U64) {
    array->type = CSRN_I64;
    array->narrow = 1;
  }
  csrn_hdf5_close(type);
  return status;
}

/* ---- Filters ---- */

static const struct {
  H5Z_filter_t id;
  const char *name;
} filter_names[] = {
    {H5Z_FILTER_DEFLATE, "gzip"},
    {H5Z_FILTER_SHUFFLE, "shuffle"},
    {H5Z_FILTER_SZIP, "szip"},
    {H5Z_FILTER_FLETCHER32, "fletcher32"},
    {H5Z_FILTER_NBIT, "nbit"},
    {H5Z_FILTER_SCALEOFFSET, "scaleoffset"},
    {CSRN_HDF5_LZF, "lzf"},
    {307, "bzip2"},
    {32001, "blosc"},
    {32004, "lz4"},
    {32008, "bitshuffle"},
    {32015, "zstd"},
    {32026, "blosc2"},
};

/* The usual name of a filter, else the one stored with the dataset, else "filter". */
static const char *filter_name(H5Z_filter_t id, const char *stored) {
  for (size_t i = 0; i < sizeof filter_names / sizeof filter_names[0]; i++)
    if (filter_names[i].id == id)
      return filter_names[i].name;
  return stored[0] ? stored : "filter";
}

static void append_filter(csrn_hdf5_array *array, H5Z_filter_t id, const char *name, unsigned level) {
  size_t used = strlen(array->filters);
  int leveled = id == H5Z_FILTER_DEFLATE;
  snprintf(array->filters + used, sizeof array->filters - used, leveled ? "%s%s-%u" : "%s%s", used ? "+" : "",
           name, level);
}

static csrn_io_status find_filters(const csrn_hdf5_file *file, hid_t properties, csrn_hdf5_array *array) {
  int n = H5Pget_nfilters(properties);
  for (int i = 0; i < n; i++) {
    char stored[64] = "";
    unsigned flags, config, parameters[1] = {0};
    size_t n_parameters = 1;
    H5Z_filter_t id = H5Pget_filter2(properties, (unsigned)i, &flags, &n_parameters, parameters,
                                     sizeof stored - 1, stored, &config);
    if (id < 0)
      return csrn_hdf5_failed(file, "read the filters of", array->path);
    const char *name = filter_name(id, stored);
    if (H5Zfilter_avail(id) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      return csrn_hdf5_refuse(file,
                              "%s is compressed with %s (HDF5 filter %d), for which no plugin is installed; "
                              "HDF5_PLUGIN_PATH says where libhdf5 looks for plugins",
                              array->path, name, (int)id);
    }
    append_filter(array, id, name, parameters[0]);
  }
  if (n == 0)
    snprintf(array->filters, sizeof array->filters, "none");
  return CSRN_IO_OK;
}

static csrn_io_status find_storage(const csrn_hdf5_file *file, csrn_hdf5_array *array) {
  hid_t properties = H5Dget_create_plist(array->id);
  if (properties < 0)
    return csrn_hdf5_failed(file, "read the properties of", array->path);
  csrn_io_status status = CSRN_IO_OK;
  char other[256];
  if (csrn_hdf5_is_elsewhere(properties, other, sizeof other))
    status =
        csrn_hdf5_refuse(file, "%s is a virtual dataset of what is in another file, %s, which is not read",
                         array->path, other);
  else if (H5Pget_layout(properties) == H5D_CHUNKED &&
           H5Pget_chunk(properties, array->rank, array->chunk) < 0)
    status = csrn_hdf5_failed(file, "read the chunks of", array->path);
  if (!status)
    status = find_filters(file, properties, array);
  csrn_hdf5_close(properties);
  return status;
}

/* ---- Opening ---- */

static csrn_io_status find_extent(const csrn_hdf5_file *file, int rank, csrn_hdf5_array *array) {
  hid_t space = H5Dget_space(array->id);
  int found = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
  if (found == rank)
    H5Sget_simple_extent_dims(space, array->extent, NULL);
  csrn_hdf5_close(space);
  if (found < 0)
    return csrn_hdf5_failed(file, "read the shape of", array->path);
  if (found != rank)
    return csrn_hdf5_refuse(file, "%s has %d dimension%s, expected %d", array->path, found,
                            found == 1 ? "" : "s", rank);
  array->rank = rank;
  for (int i = 0; i < rank; i++)
    if (array->extent[i] > INT64_MAX / 16)
      return csrn_hdf5_refuse(file, "%s claims %llu elements along dimension %d, more than any file holds",
                              array->path, (unsigned long long)array->extent[i], i);
  return CSRN_IO_OK;
}

/* Without a cache of chunks: they are read whole, once; and H5Ocopy() of libhdf5 1.10.8 writes a chunk that
 * is in the cache, which is not compressed there, into a buffer for the compressed one. */
static hid_t open_dataset(hid_t file, const char *path) {
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS), id = -1;
  if (access >= 0 && H5Pset_chunk_cache(access, 0, 0, 0) >= 0)
    id = H5Dopen2(file, path, access);
  csrn_hdf5_close(access);
  return id;
}

csrn_io_status csrn_hdf5_array_open(const csrn_hdf5_file *file, const char *path, int rank, csrn_hdf5_use use,
                                    csrn_hdf5_array *array) {
  memset(array, 0, sizeof *array);
  array->id = -1;
  array->path = strdup(path);
  if (!array->path)
    return csrn_hdf5_no_memory(file, path, strlen(path));
  csrn_hdf5_kind kind = csrn_hdf5_kind_of(file->id, path);
  if (kind != CSRN_HDF5_DATASET)
    return csrn_hdf5_refuse_kind(file, path, kind);
  array->id = open_dataset(file->id, path);
  if (array->id < 0)
    return csrn_hdf5_failed(file, "open", path);
  csrn_io_status status = find_extent(file, rank, array);
  if (!status)
    status = find_type(file, use, array);
  return status ? status : find_storage(file, array);
}

void csrn_hdf5_array_close(csrn_hdf5_array *array) {
  if (!array->path)
    return;
  csrn_hdf5_close(array->id);
  free(array->path);
  memset(array, 0, sizeof *array);
}

/* ---- Reading ---- */

hsize_t csrn_hdf5_slab(const hsize_t *extent, const hsize_t *chunk, int rank, size_t element_bytes) {
  uint64_t slice = rank == 2 ? extent[1] * element_bytes : element_bytes; /* bytes */
  hsize_t n = slice > 0 ? CSRN_HDF5_SLAB_BYTES / slice : CSRN_HDF5_SLAB_BYTES;
  if (n == 0)
    n = 1;
  if (chunk[0] > 1) /* whole chunks, or they are decoded twice */
    n = n < chunk[0] ? chunk[0] : n / chunk[0] * chunk[0];
  return n;
}

/* Slices [start, start + n) into values. */
static int read_slab(const csrn_hdf5_array *array, hsize_t start, hsize_t n, csrn_dtype type, void *values) {
  const hsize_t offset[2] = {start, 0}, count[2] = {n, array->extent[1]};
  hid_t from = H5Dget_space(array->id), to = H5Screate_simple(array->rank, count, NULL);
  int fault = from < 0 || to < 0 ||
              H5Sselect_hyperslab(from, H5S_SELECT_SET, offset, NULL, count, NULL) < 0 ||
              H5Dread(array->id, csrn_hdf5_native(type), to, from, H5P_DEFAULT, values) < 0;
  csrn_hdf5_close(from);
  csrn_hdf5_close(to);
  return fault;
}

csrn_io_status csrn_hdf5_array_slab(const csrn_hdf5_file *file, const csrn_hdf5_array *array, int64_t start,
                                    int64_t n, void *values) {
  csrn_io_status status = csrn_hdf5_check_chunks(file, array->id, array->path, (hsize_t)start, (hsize_t)n);
  if (status)
    return status;
  return read_slab(array, (hsize_t)start, (hsize_t)n, array->type, values)
             ? csrn_hdf5_failed(file, "read", array->path)
             : CSRN_IO_OK;
}

/* uint64 values are read as they are and must fit int64, whose bits are then the same. */
static csrn_io_status check_narrow(const csrn_hdf5_file *file, const csrn_hdf5_array *array,
                                   const uint64_t *values, uint64_t n) {
  for (uint64_t i = 0; i < n; i++)
    if (values[i] > INT64_MAX)
      return csrn_hdf5_refuse(file, "%s holds %llu, expected values up to %lld", array->path,
                              (unsigned long long)values[i], (long long)INT64_MAX);
  return CSRN_IO_OK;
}

static csrn_io_status read_slabs(const csrn_hdf5_file *file, const csrn_hdf5_array *array, hsize_t n,
                                 const char *step, const csrn_io_progress *progress, char *values) {
  size_t element = csrn_dtype_size(array->type);
  hsize_t width = array->rank == 2 ? array->extent[1] : 1;
  hsize_t slab = csrn_hdf5_slab(array->extent, array->chunk, array->rank, element);
  for (hsize_t done = 0; done < n && width > 0; done += slab) {
    hsize_t now = n - done < slab ? n - done : slab;
    char *to = values + done * width * element;
    if (!csrn_io_proceed(progress, step, (int64_t)(done * width * element), (int64_t)(n * width * element)))
      return csrn_io_fail(file->error, CSRN_IO_FAILED, "interrupted");
    if (csrn_hdf5_check_chunks(file, array->id, array->path, done, now))
      return CSRN_IO_FAILED;
    if (read_slab(array, done, now, array->narrow ? CSRN_U64 : array->type, to))
      return csrn_hdf5_failed(file, "read", array->path);
    if (array->narrow && check_narrow(file, array, (const uint64_t *)(const void *)to, now * width))
      return CSRN_IO_FAILED;
  }
  csrn_io_proceed(progress, step, (int64_t)(n * width * element), (int64_t)(n * width * element));
  return CSRN_IO_OK;
}

csrn_io_status csrn_hdf5_array_read(const csrn_hdf5_file *file, const csrn_hdf5_array *array, int64_t n,
                                    const char *step, const csrn_io_progress *progress, void **values) {
  *values = NULL;
  uint64_t element = csrn_dtype_size(array->type), width = array->rank == 2 ? array->extent[1] : 1;
  if (n > 0 && width > INT64_MAX / element / (uint64_t)n)
    return csrn_hdf5_refuse(file, "%s claims %lld x %llu elements, more than memory can hold", array->path,
                            (long long)n, (unsigned long long)width);
  uint64_t bytes = (uint64_t)n * width * element;
  char *memory = malloc(bytes ? bytes : 1);
  if (!memory)
    return csrn_hdf5_no_memory(file, array->path, bytes);
  csrn_io_status status = read_slabs(file, array, (hsize_t)n, step, progress, memory);
  if (status) {
    free(memory);
    return status;
  }
  *values = memory;
  return CSRN_IO_OK;
}
