/*
 * Copies an .h5ad with other values in one matrix. What lies beside the way to that
 * matrix is copied by H5Ocopy(), which takes compressed chunks as they are; groups on the
 * way are made anew with their attributes, and the dataset of the values is written with
 * the chunks and filters it had. A soft link to what changes becomes a copy of what it was, and so a group
 * that has one in it is made anew, too; once, whatever hard links lead to it, which may be its own.
 *
 * H5Ocopy() must unpack texts of variable length, and overruns a buffer unless the filter
 * reports the sizes of its own as deflate does. Of plugins (zstd for one) that cannot be
 * expected, so texts behind them are read and written like values. And where it cannot copy
 * what a dataset holds, H5Ocopy() frees its type twice and crashes (libhdf5 1.10.8), so what can fail on
 * the way is tried before: texts are read, and lists of chunks. What else it must not be given is in
 * h5ad_whole.c; of objects with attributes outside of their headers the attributes are copied here.
 */
#include "hdf5_util.h"

#include <stdlib.h>
#include <string.h>

/* Groups made anew that do not lie on the way to the matrix: where each lies, and its copy. */
struct copied_groups {
  struct {
    haddr_t from, to;
  } * pairs;
  size_t n;
};

struct copy {
  csrn_hdf5_input *input;
  const csrn_io_matrix *matrix;
  const csrn_io_output *output;
  const csrn_hdf5_file *file;
  const csrn_io_progress *progress;
  hid_t link_properties; /* of H5Ocopy() */
  hid_t bare_properties; /* of H5Ocopy() without attributes */
  struct copied_groups *groups;
};

/* One group whose links are being copied. `rest` is the way from it to the matrix:
 * "layers/spliced"; "" in the matrix's own group; NULL where the matrix lies elsewhere. */
struct level {
  const struct copy *copy;
  hid_t to;
  const char *rest;
  csrn_io_status status;
};

static csrn_io_status copy_links(const struct copy *copy, hid_t from, hid_t to, const char *rest);

static csrn_io_status copy_group(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                 const char *rest);

/* ---- Texts behind plugins ---- */

/* Whether H5Ocopy() takes the elements as bytes. */
static int is_plain(hid_t dataset) {
  hid_t type = H5Dget_type(dataset);
  H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
  const int plain = class == H5T_INTEGER || class == H5T_FLOAT || class == H5T_ENUM ||
                    (class == H5T_STRING && H5Tis_variable_str(type) == 0);
  csrn_hdf5_close(type);
  return plain;
}

/* Whether H5Ocopy() would unpack this dataset through a filter of a plugin. */
static int needs_reading(hid_t dataset) {
  hid_t properties = H5Dget_create_plist(dataset);
  const int plain = is_plain(dataset);
  int found = 0;
  for (int i = 0; !plain && properties >= 0 && i < H5Pget_nfilters(properties); i++) {
    unsigned flags, config;
    size_t n = 0;
    H5Z_filter_t id = H5Pget_filter2(properties, (unsigned)i, &flags, &n, NULL, 0, NULL, &config);
    found |= id >= H5Z_FILTER_RESERVED && id != CSRN_HDF5_LZF;
  }
  csrn_hdf5_close(properties);
  return found;
}

/* Or would copy attributes that it must not. */
static herr_t find_unfit(hid_t from, const char *name, const H5O_info_t *info, void *user) {
  (void)user;
  hid_t object = H5Oopen(from, name, H5P_DEFAULT);
  int found = object < 0 ? 0 : csrn_hdf5_has_dense_attributes(object);
  if (found == 0 && object >= 0 && info->type == H5O_TYPE_DATASET)
    found = needs_reading(object);
  csrn_hdf5_close(object);
  return found;
}

/* Writes the elements of `from`, of any type but references, to a new dataset like it. */
static csrn_io_status copy_texts(const struct copy *copy, hid_t from, hid_t to, const char *name) {
  hid_t type = H5Dget_type(from), space = H5Dget_space(from), properties = H5Dget_create_plist(from);
  hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
  char *elements = type < 0 || n < 0 ? NULL : calloc((size_t)n + 1, H5Tget_size(type));
  hid_t made = -1;
  hsize_t where;
  csrn_io_status status = CSRN_IO_OK;
  if (type >= 0 && H5Tdetect_class(type, H5T_REFERENCE) > 0)
    status = csrn_hdf5_refuse(copy->file,
                              "%s holds references behind a plugin's filter, which cannot be copied", name);
  else if (!elements || properties < 0 || csrn_hdf5_allow_dense_attributes(from, properties) ||
           csrn_hdf5_has_bad_chunk(from, 0, HSIZE_UNDEF, &where) ||
           H5Dread(from, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements) < 0 ||
           (made = H5Dcreate2(to, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT)) < 0 ||
           H5Dwrite(made, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements) < 0)
    status = csrn_hdf5_failed(copy->file, "copy", name);
  if (!status)
    status = csrn_hdf5_copy_attributes(copy->file, from, made, name);
  if (elements)
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, elements);
  free(elements);
  csrn_hdf5_close(made);
  csrn_hdf5_close(properties);
  csrn_hdf5_close(space);
  csrn_hdf5_close(type);
  return status;
}

/* ---- Texts that cannot be read ---- */

/* Rows [start, start + n) of a dataset are read, and forgotten. */
static int try_rows(hid_t dataset, hid_t type, int rank, const hsize_t *extent, hsize_t start, hsize_t n) {
  hsize_t offset[H5S_MAX_RANK] = {0}, count[H5S_MAX_RANK];
  memcpy(count, extent, (size_t)rank * sizeof *count);
  offset[0] = start;
  count[0] = n;
  hid_t from = H5Dget_space(dataset);
  hid_t to = rank > 0 ? H5Screate_simple(rank, count, NULL) : H5Screate(H5S_SCALAR);
  const hssize_t elements = to < 0 ? 0 : H5Sget_simple_extent_npoints(to);
  char *read = elements > 0 ? calloc((size_t)elements, H5Tget_size(type)) : NULL;
  int fault = !read ||
              (rank > 0 && H5Sselect_hyperslab(from, H5S_SELECT_SET, offset, NULL, count, NULL) < 0) ||
              H5Dread(dataset, type, to, from, H5P_DEFAULT, read) < 0;
  if (read)
    H5Dvlen_reclaim(type, to, H5P_DEFAULT, read);
  free(read);
  csrn_hdf5_close(to);
  csrn_hdf5_close(from);
  return fault;
}

/* Reads all elements. What claims to be more than its bytes can hold (deflate makes at most 1032 of one) is
 * mostly not there. */
static int try_reading(hid_t dataset) {
  enum { AT_ONCE = 1 << 14, HIGHEST_RATIO = 1032 };
  hsize_t extent[H5S_MAX_RANK] = {1}, row = 1;
  hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
  const int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, extent, NULL);
  const double elements = space < 0 ? 0 : (double)H5Sget_simple_extent_npoints(space);
  const double most = (double)H5Dget_storage_size(dataset) * HIGHEST_RATIO;
  hsize_t where;
  int fault = type < 0 || rank < 0;
  for (int i = 1; i < rank; i++)
    row *= extent[i];
  const hsize_t n = row < AT_ONCE ? AT_ONCE / (row ? row : 1) : 1;
  const int there = !fault && elements > 0 && elements * (double)H5Tget_size(type) <= most;
  fault = fault || (there && csrn_hdf5_has_bad_chunk(dataset, 0, extent[0], &where));
  for (hsize_t i = 0; there && i < extent[0] && !fault; i += n)
    fault = try_rows(dataset, type, rank, extent, i, extent[0] - i < n ? extent[0] - i : n);
  csrn_hdf5_close(space);
  csrn_hdf5_close(type);
  return fault;
}

/* Of what is copied as bytes the list of chunks is gone through; bytes that cannot be read H5Ocopy() does not
 * learn of (hdf5_driver.c). */
static herr_t find_unreadable(hid_t from, const char *name, const H5O_info_t *info, void *user) {
  const struct copy *copy = user;
  if (info->type != H5O_TYPE_DATASET)
    return 0;
  hid_t dataset = H5Dopen2(from, name, H5P_DEFAULT);
  int fault = dataset < 0;
  if (!fault && is_plain(dataset))
    H5Dget_storage_size(dataset);
  else if (!fault)
    fault = try_reading(dataset);
  csrn_hdf5_close(dataset);
  return fault || !csrn_hdf5_is_sound(&copy->input->file) ? -1 : 0;
}

/* ---- The memory that it takes ---- */

struct largest {
  const csrn_hdf5_input *input;
  double bytes;
};

static int is_array(const csrn_hdf5_array *array, const H5O_info_t *info) {
  H5O_info_t its;
  return array->path && H5Oget_info2(array->id, &its, H5O_INFO_BASIC) >= 0 && its.addr == info->addr;
}

/* A chunk that is copied as it lies in the file is in memory so, and is no larger than all of them. What is
 * not is unpacked, converted and packed again by libhdf5, with room for what was there before. Where it is
 * not more than what has been found already, nobody asks how much of the file that is. A text of variable
 * length is a length and a place in the file, which H5Tget_size() does not say. */
static double copied_chunk(hid_t dataset, hid_t properties, double found) {
  hsize_t chunk[H5S_MAX_RANK];
  hid_t type = H5Dget_type(dataset);
  const int rank = H5Pget_chunk(properties, H5S_MAX_RANK, chunk);
  const int longer =
      type >= 0 && (H5Tdetect_class(type, H5T_VLEN) > 0 || H5Tdetect_class(type, H5T_STRING) > 0);
  double bytes = type < 0 ? 0 : (double)H5Tget_size(type) * (longer && !is_plain(dataset) ? 2 : 1);
  for (int i = 0; i < rank; i++)
    bytes *= (double)chunk[i];
  csrn_hdf5_close(type);
  const double unpacked = is_plain(dataset) ? 0 : 3 * bytes;
  if (unpacked + bytes <= found)
    return 0;
  const double stored = (double)H5Dget_storage_size(dataset);
  return stored == 0 ? 0 : unpacked + (stored < bytes ? stored : bytes);
}

static herr_t find_largest(hid_t from, const char *name, const H5O_info_t *info, void *user) {
  struct largest *largest = user;
  if (info->type != H5O_TYPE_DATASET || is_array(&largest->input->data, info) ||
      is_array(&largest->input->indices, info))
    return 0;
  hid_t dataset = H5Dopen2(from, name, H5P_DEFAULT);
  hid_t properties = dataset < 0 ? -1 : H5Dget_create_plist(dataset);
  const double bytes = properties >= 0 && H5Pget_layout(properties) == H5D_CHUNKED
                           ? copied_chunk(dataset, properties, largest->bytes)
                           : 0;
  csrn_hdf5_close(properties);
  csrn_hdf5_close(dataset);
  if (bytes > largest->bytes)
    largest->bytes = bytes;
  return 0;
}

/* What cannot be looked at is told by who copies it. */
int64_t csrn_hdf5_copied_bytes(const csrn_hdf5_input *input) {
  struct largest largest = {input, 0};
  csrn_hdf5_begin();
  H5Ovisit2(input->file.id, H5_INDEX_NAME, H5_ITER_NATIVE, find_largest, &largest, H5O_INFO_BASIC);
  H5Eclear2(H5E_DEFAULT);
  return largest.bytes < 0x1p60 ? (int64_t)largest.bytes : (int64_t)1 << 60;
}

/* ---- Links to what changes ---- */

static int is_same_object(const H5O_info_t *target, hid_t file, const char *path) {
  H5O_info_t object;
  return H5Oget_info_by_name2(file, path, &object, H5O_INFO_BASIC, H5P_DEFAULT) >= 0 &&
         object.fileno == target->fileno && object.addr == target->addr;
}

/* Whether a soft link leads to the values, or to a group on the way to them: -1 without memory. A layer that
 * is a link to X keeps what it shows. */
static int leads_to_values(const struct copy *copy, hid_t from, const char *name) {
  H5O_info_t target;
  if (H5Oget_info_by_name2(from, name, &target, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
    H5Eclear2(H5E_DEFAULT); /* it leads nowhere */
    return 0;
  }
  char *way = strdup(copy->input->data.path);
  int leads = way ? 0 : -1;
  for (size_t n = 0; leads == 0 && way[n];) {
    n += strcspn(way + n, "/");
    const char kept = way[n];
    way[n] = '\0';
    leads = is_same_object(&target, copy->input->file.id, way);
    way[n] = kept;
    n += kept != '\0';
  }
  free(way);
  return leads;
}

static herr_t find_link(hid_t from, const char *name, const H5L_info_t *info, void *user) {
  return info->type == H5L_TYPE_SOFT ? leads_to_values(user, from, name) : 0;
}

/* ---- Groups that were copied ---- */

/* Makes `name` a link to the copy of a group, if there is one: 1, 0, or -1. */
static int link_to_copy(const struct copy *copy, hid_t group, hid_t to, const char *name) {
  H5O_info_t info;
  if (H5Oget_info2(group, &info, H5O_INFO_BASIC) < 0)
    return -1;
  for (size_t i = 0; i < copy->groups->n; i++)
    if (copy->groups->pairs[i].from == info.addr) {
      hid_t made = H5Oopen_by_addr(copy->file->id, copy->groups->pairs[i].to);
      const int fault = made < 0 || H5Olink(made, to, name, H5P_DEFAULT, H5P_DEFAULT) < 0;
      csrn_hdf5_close(made);
      return fault ? -1 : 1;
    }
  return 0;
}

static csrn_io_status remember_copy(const struct copy *copy, hid_t group, hid_t made, const char *name) {
  struct copied_groups *groups = copy->groups;
  H5O_info_t from, to;
  if (H5Oget_info2(group, &from, H5O_INFO_BASIC) < 0 || H5Oget_info2(made, &to, H5O_INFO_BASIC) < 0)
    return csrn_hdf5_failed(copy->file, "copy", name);
  const size_t bytes = (groups->n + 1) * sizeof *groups->pairs;
  void *longer = realloc(groups->pairs, bytes);
  if (!longer)
    return csrn_hdf5_no_memory(copy->file, "the list of groups", bytes);
  groups->pairs = longer;
  groups->pairs[groups->n].from = from.addr;
  groups->pairs[groups->n++].to = to.addr;
  return CSRN_IO_OK;
}

/* ---- What stays ---- */

static int copy_soft_link(hid_t from, hid_t to, const char *name, const H5L_info_t *info) {
  char *value = malloc(info->u.val_size + 1);
  const char *file, *path;
  int fault = !value || H5Lget_val(from, name, value, info->u.val_size, H5P_DEFAULT) < 0;
  if (!fault && info->type == H5L_TYPE_SOFT)
    fault = H5Lcreate_soft(value, to, name, H5P_DEFAULT, H5P_DEFAULT) < 0;
  else if (!fault)
    fault = H5Lunpack_elink_val(value, info->u.val_size, NULL, &file, &path) < 0 ||
            H5Lcreate_external(file, path, to, name, H5P_DEFAULT, H5P_DEFAULT) < 0;
  free(value);
  return fault;
}

/* With nothing open that it has in a cache. */
static csrn_io_status copy_whole(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                 H5I_type_t kind, hid_t properties) {
  if (kind != H5I_DATATYPE && H5Ovisit_by_name2(from, name, H5_INDEX_NAME, H5_ITER_NATIVE, find_unreadable,
                                                (void *)(uintptr_t)copy, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
    return csrn_hdf5_failed(&copy->input->file, "read", name);
  csrn_io_status status = csrn_hdf5_check_whole(&copy->input->file, from, name);
  if (status)
    return status;
  if (H5Ocopy(from, name, to, name, properties, H5P_DEFAULT) < 0)
    return csrn_hdf5_failed(copy->file, "copy", name);
  return CSRN_IO_OK;
}

/* A dataset or type with attributes outside of its header: these one by one, which may be as large, since
 * the copy has such a header, too. */
static csrn_io_status copy_bare(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                H5I_type_t kind) {
  csrn_io_status status = copy_whole(copy, from, to, name, kind, copy->bare_properties);
  if (status)
    return status;
  hid_t object = H5Oopen(from, name, H5P_DEFAULT), made = H5Oopen(to, name, H5P_DEFAULT);
  status = object < 0 || made < 0 ? csrn_hdf5_failed(copy->file, "copy", name)
                                  : csrn_hdf5_copy_attributes(copy->file, object, made, name);
  csrn_hdf5_close(made);
  csrn_hdf5_close(object);
  return status;
}

/* Whether an object has in it what H5Ocopy() does not copy as it should be: 1, 0, or -1. */
static herr_t must_be_remade(const struct copy *copy, hid_t object, H5I_type_t kind) {
  herr_t found = kind == H5I_DATATYPE
                     ? csrn_hdf5_has_dense_attributes(object)
                     : H5Ovisit2(object, H5_INDEX_NAME, H5_ITER_NATIVE, find_unfit, NULL, H5O_INFO_BASIC);
  if (found == 0 && kind == H5I_GROUP)
    found = H5Lvisit(object, H5_INDEX_NAME, H5_ITER_NATIVE, find_link, (void *)(uintptr_t)copy);
  return found;
}

static csrn_io_status copy_object(const struct copy *copy, hid_t from, hid_t to, const char *name) {
  hid_t object = H5Oopen(from, name, H5P_DEFAULT);
  if (object < 0)
    return csrn_hdf5_failed(&copy->input->file, "open", name);
  const H5I_type_t kind = H5Iget_type(object);
  const int linked = kind == H5I_GROUP ? link_to_copy(copy, object, to, name) : 0;
  const herr_t found = linked ? 0 : must_be_remade(copy, object, kind);
  const int bare = found > 0 && (kind == H5I_DATATYPE || (kind == H5I_DATASET && !needs_reading(object)));
  csrn_io_status status = CSRN_IO_OK;
  if (linked < 0)
    status = csrn_hdf5_failed(copy->file, "link", name);
  else if (found < 0)
    status = csrn_hdf5_failed(&copy->input->file, "look through", name);
  else if (found > 0 && kind == H5I_GROUP)
    status = copy_group(copy, from, to, name, NULL);
  else if (found > 0 && !bare)
    status = copy_texts(copy, object, to, name);
  csrn_hdf5_close(object);
  if (bare)
    return copy_bare(copy, from, to, name, kind);
  return found == 0 && !linked ? copy_whole(copy, from, to, name, kind, copy->link_properties) : status;
}

static csrn_io_status copy_link(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                const H5L_info_t *info) {
  if (!csrn_io_proceed(copy->progress, "copying", 0, 0))
    return csrn_io_fail(copy->file->error, CSRN_IO_FAILED, "interrupted");
  if (!csrn_hdf5_is_sound(copy->file))
    return csrn_hdf5_failed(copy->file, "write", "the file");
  const int leads = info->type == H5L_TYPE_SOFT ? leads_to_values(copy, from, name) : 0;
  if (leads < 0)
    return csrn_hdf5_no_memory(copy->file, name, strlen(copy->input->data.path));
  if (leads || (info->type != H5L_TYPE_SOFT && info->type != H5L_TYPE_EXTERNAL))
    return copy_object(copy, from, to, name);
  return copy_soft_link(from, to, name, info) ? csrn_hdf5_failed(copy->file, "copy", name) : CSRN_IO_OK;
}

/* ---- What changes ---- */

/* Writes `values` as the dataset `name` with the storage and attributes of `model`. */
static csrn_io_status write_like(const struct copy *copy, const csrn_hdf5_array *model, hid_t to,
                                 const char *name, csrn_dtype type, const void *values, const char *step) {
  csrn_hdf5_values written = {
      name,   step, model->rank, {model->extent[0], model->extent[1]},
      {0, 0}, type, values,      model->rank == 2 ? copy->input->n_rows : copy->input->nnz};
  hid_t space = H5Dget_space(model->id), dataset = -1;
  hid_t storage = csrn_hdf5_storage(model->id, model->rank, model->extent, copy->output->compression,
                                    copy->output->level);
  csrn_io_status status = CSRN_IO_OK;
  if (space < 0 || storage < 0 || H5Sget_simple_extent_dims(space, NULL, written.max) < 0 ||
      csrn_hdf5_allow_dense_attributes(model->id, storage))
    status = csrn_hdf5_failed(copy->file, "prepare", name);
  if (!status)
    status = csrn_hdf5_write_values(copy->file, to, &written, storage, copy->progress, &dataset);
  if (!status)
    status = csrn_hdf5_copy_attributes(copy->file, model->id, dataset, model->path);
  csrn_hdf5_close(dataset);
  csrn_hdf5_close(storage);
  csrn_hdf5_close(space);
  return status;
}

static csrn_io_status write_values(const struct copy *copy, hid_t to, const char *name) {
  const csrn_csr *csr = &copy->matrix->csr;
  return write_like(copy, &copy->input->data, to, name, csr->data_type, csr->data, "writing values");
}

/* Makes an empty dataset of the type, storage and attributes of `model`, without the time of day. */
static csrn_io_status make_like(const struct copy *copy, const csrn_hdf5_array *model, hid_t to,
                                const char *name) {
  hid_t type = H5Dget_type(model->id), space = H5Dget_space(model->id);
  hid_t storage = H5Dget_create_plist(model->id), made = -1;
  csrn_io_status status = CSRN_IO_OK;
  if (type < 0 || space < 0 || storage < 0 || H5Pset_obj_track_times(storage, 0) < 0 ||
      csrn_hdf5_allow_dense_attributes(model->id, storage) ||
      (made = H5Dcreate2(to, name, type, space, H5P_DEFAULT, storage, H5P_DEFAULT)) < 0)
    status = csrn_hdf5_failed(copy->file, "create", name);
  if (!status)
    status = csrn_hdf5_copy_attributes(copy->file, model->id, made, model->path);
  csrn_hdf5_close(made);
  csrn_hdf5_close(storage);
  csrn_hdf5_close(space);
  csrn_hdf5_close(type);
  return status;
}

/* A link to somewhere else stays one. Indices are coded anew if they shall be compressed otherwise, unless
 * the file has more of them than the matrix. */
csrn_hdf5_indices csrn_hdf5_indices_in(const csrn_hdf5_input *input, const csrn_io_output *output) {
  H5L_info_t link;
  if (H5Lget_info(input->file.id, input->indices.path, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
    return CSRN_HDF5_INDICES_COPIED;
  if (output->compression != CSRN_IO_COMPRESSION_KEEP && input->indices.extent[0] == (uint64_t)input->nnz)
    return CSRN_HDF5_INDICES_RECODED;
  hid_t storage = H5Dget_create_plist(input->indices.id);
  const H5D_layout_t layout = storage < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(storage);
  /* What is not copied as it lies in the file is written again as integers, which a boolean type does not
   * take. */
  const hid_t type = H5Dget_type(input->indices.id);
  /* Some filters of plugins (bitshuffle) change their parameters whenever a dataset is made with them, and
   * then do not read the chunks that were written before. */
  const int plain =
      (layout == H5D_CHUNKED && csrn_hdf5_keeps_filters(storage)) ||
      (layout == H5D_CONTIGUOUS && H5Pget_external_count(storage) == 0 && H5Tget_class(type) == H5T_INTEGER);
  csrn_hdf5_close(type);
  csrn_hdf5_close(storage);
  return plain ? CSRN_HDF5_INDICES_RAW : CSRN_HDF5_INDICES_COPIED;
}

/* A member of the matrix's own group. */
static csrn_io_status copy_member(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                  const H5L_info_t *info) {
  const csrn_csr *csr = &copy->matrix->csr;
  const csrn_hdf5_array *indices = &copy->input->indices;
  if (!strcmp(name, "data"))
    return write_values(copy, to, name);
  if (!strcmp(name, "indices") && csr->indices_type) {
    const csrn_hdf5_indices how = csrn_hdf5_indices_in(copy->input, copy->output);
    if (how == CSRN_HDF5_INDICES_RECODED)
      return write_like(copy, indices, to, name, csr->indices_type, csr->indices, "writing indices");
    if (how == CSRN_HDF5_INDICES_RAW && !csr->data)
      return make_like(copy, indices, to, name);
  }
  return copy_link(copy, from, to, name, info);
}

/* Makes the group `name` as it is in `from` and copies its links. */
static csrn_io_status copy_group(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                 const char *rest) {
  hid_t group = H5Gopen2(from, name, H5P_DEFAULT);
  hid_t properties = group < 0 ? -1 : H5Gget_create_plist(group);
  hid_t made = properties < 0 || csrn_hdf5_allow_dense_attributes(group, properties)
                   ? -1
                   : H5Gcreate2(to, name, H5P_DEFAULT, properties, H5P_DEFAULT);
  csrn_io_status status = made < 0 ? csrn_hdf5_failed(copy->file, "copy", name)
                                   : csrn_hdf5_copy_attributes(copy->file, group, made, name);
  if (!status && !rest)
    status = remember_copy(copy, group, made, name);
  if (!status)
    status = copy_links(copy, group, made, rest);
  csrn_hdf5_close(made);
  csrn_hdf5_close(properties);
  csrn_hdf5_close(group);
  return status;
}

static herr_t copy_next(hid_t from, const char *name, const H5L_info_t *info, void *user) {
  struct level *level = user;
  size_t head = level->rest ? strcspn(level->rest, "/") : 0;
  if (!level->rest)
    level->status = copy_link(level->copy, from, level->to, name, info);
  else if (head == 0)
    level->status = copy_member(level->copy, from, level->to, name, info);
  else if (strlen(name) != head || strncmp(name, level->rest, head))
    level->status = copy_link(level->copy, from, level->to, name, info);
  else if (level->rest[head] == '/')
    level->status = copy_group(level->copy, from, level->to, name, level->rest + head + 1);
  else if (level->copy->input->dense)
    level->status = write_values(level->copy, level->to, name);
  else
    level->status = copy_group(level->copy, from, level->to, name, "");
  return level->status ? -1 : 0;
}

static csrn_io_status copy_links(const struct copy *copy, hid_t from, hid_t to, const char *rest) {
  struct level level = {copy, to, rest, CSRN_IO_OK};
  unsigned order = 0;
  hid_t properties = H5Gget_create_plist(from);
  if (properties < 0 || H5Pget_link_creation_order(properties, &order) < 0)
    level.status = csrn_hdf5_failed(copy->file, "copy", "a group");
  csrn_hdf5_close(properties);
  H5_index_t by = order & H5P_CRT_ORDER_TRACKED ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
  if (!level.status && H5Literate(from, by, H5_ITER_INC, NULL, copy_next, &level) < 0 && !level.status)
    level.status = csrn_hdf5_failed(copy->file, "copy", "a group");
  return level.status;
}

csrn_io_status csrn_hdf5_copy_h5ad(csrn_hdf5_input *input, const csrn_io_matrix *matrix,
                                   const csrn_io_output *output, const csrn_hdf5_file *file,
                                   const csrn_io_progress *progress) {
  struct copied_groups groups = {NULL, 0};
  struct copy copy = {
      input, matrix, output, file, progress, H5Pcreate(H5P_OBJECT_COPY), H5Pcreate(H5P_OBJECT_COPY), &groups};
  hid_t from = H5Gopen2(input->file.id, "/", H5P_DEFAULT), to = H5Gopen2(file->id, "/", H5P_DEFAULT);
  csrn_io_status status = CSRN_IO_OK;
  /* The categories of obs were references to other datasets before anndata 0.8. */
  if (from < 0 || to < 0 || H5Pset_copy_object(copy.link_properties, H5O_COPY_EXPAND_REFERENCE_FLAG) < 0 ||
      H5Pset_copy_object(copy.bare_properties, H5O_COPY_EXPAND_REFERENCE_FLAG | H5O_COPY_WITHOUT_ATTR_FLAG) <
          0)
    status = csrn_hdf5_failed(file, "copy", input->file.path);
  if (!status)
    status = csrn_hdf5_copy_attributes(file, from, to, "the file");
  if (!status)
    status = copy_links(&copy, from, to, input->matrix);
  free(groups.pairs);
  csrn_hdf5_close(copy.bare_properties);
  csrn_hdf5_close(copy.link_properties);
  csrn_hdf5_close(to);
  csrn_hdf5_close(from);
  return status;
}
