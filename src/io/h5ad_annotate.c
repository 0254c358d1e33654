/*
 * What normalization adds to an AnnData file beside the values: the factors as a column
 * of obs, and uns/log1p.
 *
 * scanpy sets uns["log1p"] = {"base": None} for the natural logarithm. anndata 0.12
 * writes that None with an encoding that no earlier version opens; earlier versions write
 * an empty dictionary, which every version opens and scanpy takes for the same. So a
 * natural logarithm is an empty dictionary here.
 */
#include "hdf5_util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Since anndata 0.8 the root and every element name their encoding; older readers know
 * only some of the names, so a file without them gets none. */
static int names_encodings(hid_t file) {
  return H5Aexists(file, "encoding-type") > 0;
}

/* ---- A column of obs ---- */

/* Appends the key to the attribute that lists the columns, which is of float64 (as numpy
 * has it) while it is empty. */
static csrn_io_status list_column(const csrn_hdf5_file *file, hid_t obs, const char *key) {
  hid_t attribute = H5Aexists(obs, "column-order") > 0 ? H5Aopen(obs, "column-order", H5P_DEFAULT) : -1;
  hid_t space = attribute < 0 ? -1 : H5Aget_space(attribute);
  int empty = space >= 0 && H5Sget_simple_extent_npoints(space) == 0;
  int64_t n = 0;
  char **columns = attribute < 0 || empty ? NULL : csrn_hdf5_strings(attribute, &n);
  csrn_hdf5_close(space);
  csrn_hdf5_close(attribute);
  if (!columns && !empty)
    return csrn_hdf5_refuse(
        file,
        "obs has no list of its columns (the attribute column-order), to which %s could be "
        "added",
        key);
  int listed = 0, fault = 0;
  for (int64_t i = 0; i < n; i++)
    listed |= !strcmp(columns[i], key);
  if (!listed) {
    char **longer = malloc((size_t)(n + 1) * sizeof *longer);
    if (longer && n > 0)
      memcpy(longer, columns, (size_t)n * sizeof *longer);
    if (longer)
      longer[n] = (char *)(uintptr_t)key;
    fault = !longer || csrn_hdf5_write_texts(obs, "column-order", longer, n + 1);
    free(longer);
  }
  csrn_hdf5_strings_free(columns, n);
  return fault ? csrn_hdf5_failed(file, "list a column of", "obs") : CSRN_IO_OK;
}

static csrn_io_status write_column(const csrn_hdf5_file *file, hid_t obs, const csrn_io_output *output,
                                   int64_t n_cells) {
  const csrn_hdf5_values values = {
      output->key_added, NULL,   1, {(hsize_t)n_cells, 0}, {(hsize_t)n_cells, 0}, output->factors_type,
      output->factors,   n_cells};
  hid_t storage = H5Pcreate(H5P_DATASET_CREATE), column = -1;
  csrn_io_status status = CSRN_IO_OK;
  if (storage < 0 || H5Pset_obj_track_times(storage, 0) < 0)
    status = csrn_hdf5_failed(file, "create", output->key_added);
  if (!status)
    status = csrn_hdf5_write_values(file, obs, &values, storage, NULL, &column);
  if (!status && names_encodings(file->id) && csrn_hdf5_write_encoding(column, "array", "0.2.0"))
    status = csrn_hdf5_failed(file, "encode", output->key_added);
  csrn_hdf5_close(column);
  csrn_hdf5_close(storage);
  return status;
}

static csrn_io_status add_to_group(const csrn_hdf5_file *file, const csrn_io_output *output,
                                   int64_t n_cells) {
  const char *key = output->key_added;
  hid_t obs = H5Gopen2(file->id, "obs", H5P_DEFAULT);
  if (obs < 0)
    return csrn_hdf5_failed(file, "open", "obs");
  char *index = csrn_hdf5_text_attribute(obs, "_index");
  csrn_io_status status = CSRN_IO_OK;
  if (index && !strcmp(index, key))
    status = csrn_hdf5_refuse(file, "obs/%s holds the names of obs, and cannot be replaced by factors", key);
  else if (H5Lexists(obs, key, H5P_DEFAULT) > 0 && H5Ldelete(obs, key, H5P_DEFAULT) < 0)
    status = csrn_hdf5_failed(file, "replace", key);
  free(index);
  if (!status)
    status = write_column(file, obs, output, n_cells);
  if (!status)
    status = list_column(file, obs, key);
  csrn_hdf5_close(obs);
  return status;
}

/* ---- A field of obs as anndata 0.6 and older write it: one compound dataset ---- */

/* The records' type in memory without a field of this name, one field right behind the other, and with room
 * for another one at *end. */
static hid_t kept_type(hid_t type, const char *key, size_t key_size, size_t *end) {
  const int n = H5Tget_nmembers(type);
  const hid_t kept = H5Tcreate(H5T_COMPOUND, H5Tget_size(type) + key_size);
  int fault = kept < 0 || n < 0;
  *end = 0;
  for (unsigned i = 0; !fault && i < (unsigned)n; i++) {
    char *name = H5Tget_member_name(type, i);
    hid_t member = H5Tget_member_type(type, i);
    fault = !name || member < 0;
    if (!fault && strcmp(name, key)) {
      fault = H5Tinsert(kept, name, *end, member) < 0;
      *end += H5Tget_size(member);
    }
    csrn_hdf5_close(member);
    H5free_memory(name);
  }
  if (!fault && H5Tset_size(kept, *end + key_size) >= 0)
    return kept;
  csrn_hdf5_close(kept);
  return -1;
}

/* Replaces the dataset obs by one with the factors behind each record, in the place of a field of that name.
 */
static int rewrite_records(const csrn_hdf5_file *file, hid_t obs, hid_t old_type,
                           const csrn_io_output *output, hsize_t n, hid_t *made) {
  const size_t key_size = csrn_dtype_size(output->factors_type);
  size_t end = 0;
  hid_t kept = kept_type(old_type, output->key_added, key_size, &end), longer = kept < 0 ? -1 : H5Tcopy(kept);
  char *records = calloc(n + 1, end + key_size);
  hid_t space = H5Screate_simple(1, &n, NULL);
  hid_t storage = csrn_hdf5_storage(obs, 1, &n, CSRN_IO_COMPRESSION_KEEP, 0);
  hsize_t where;
  int fault = longer < 0 ||
              H5Tinsert(longer, output->key_added, end, csrn_hdf5_native(output->factors_type)) < 0 ||
              !records || space < 0 || storage < 0 || csrn_hdf5_has_bad_chunk(obs, 0, n, &where) ||
              (n > 0 && end > 0 && H5Dread(obs, kept, H5S_ALL, H5S_ALL, H5P_DEFAULT, records) < 0);
  for (hsize_t i = 0; !fault && i < n; i++)
    memcpy(records + i * (end + key_size) + end, (const char *)output->factors + i * key_size, key_size);
  if (!fault && H5Ldelete(file->id, "obs", H5P_DEFAULT) >= 0)
    *made = H5Dcreate2(file->id, "obs", longer, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  fault =
      fault || *made < 0 || (n > 0 && H5Dwrite(*made, longer, H5S_ALL, H5S_ALL, H5P_DEFAULT, records) < 0);
  if (records && kept >= 0 && n > 0 && end > 0)
    H5Dvlen_reclaim(kept, space, H5P_DEFAULT, records);
  csrn_hdf5_close(storage);
  csrn_hdf5_close(space);
  csrn_hdf5_close(longer);
  csrn_hdf5_close(kept);
  free(records);
  return fault;
}

static csrn_io_status add_to_records(const csrn_hdf5_file *file, const csrn_io_output *output,
                                     int64_t n_cells) {
  hid_t obs = H5Dopen2(file->id, "obs", H5P_DEFAULT), made = -1;
  hid_t type = obs < 0 ? -1 : H5Dget_type(obs);
  csrn_io_status status = CSRN_IO_OK;
  if (type < 0 || H5Tget_class(type) != H5T_COMPOUND || csrn_hdf5_frame_length(file->id, "obs") != n_cells)
    status = csrn_hdf5_refuse(file, "obs is neither a dataframe nor a table of %" PRId64 " records", n_cells);
  else if (!strcmp(output->key_added, "index"))
    status = csrn_hdf5_refuse(file, "obs/index holds the names of obs, and cannot be replaced by factors");
  else if (rewrite_records(file, obs, type, output, (hsize_t)n_cells, &made))
    status = csrn_hdf5_failed(file, "add a field to", "obs");
  if (!status)
    status = csrn_hdf5_copy_attributes(file, obs, made, "obs");
  csrn_hdf5_close(made);
  csrn_hdf5_close(type);
  csrn_hdf5_close(obs);
  return status;
}

static csrn_io_status add_factors(const csrn_hdf5_file *file, const csrn_io_output *output, int64_t n_cells) {
  switch (csrn_hdf5_kind_of(file->id, "obs")) {
  case CSRN_HDF5_GROUP:
    return add_to_group(file, output, n_cells);
  case CSRN_HDF5_DATASET:
    return add_to_records(file, output, n_cells);
  default:
    return csrn_hdf5_refuse(file, "there is no obs, to which %s could be added", output->key_added);
  }
}

/* ---- uns/log1p ---- */

static int write_scalar(hid_t group, const char *name, double value, int encoded) {
  hid_t space = H5Screate(H5S_SCALAR), storage = H5Pcreate(H5P_DATASET_CREATE), dataset = -1;
  if (H5Pset_obj_track_times(storage, 0) >= 0)
    dataset = H5Dcreate2(group, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, storage, H5P_DEFAULT);
  int fault = dataset < 0 ||
              H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value) < 0 ||
              (encoded && csrn_hdf5_write_encoding(dataset, "numeric-scalar", "0.2.0"));
  csrn_hdf5_close(dataset);
  csrn_hdf5_close(storage);
  csrn_hdf5_close(space);
  return fault;
}

static csrn_io_status record_log1p(const csrn_hdf5_file *file, double base) {
  int encoded = names_encodings(file->id);
  const char *encoding = encoded ? "dict" : NULL;
  csrn_hdf5_kind kind = csrn_hdf5_kind_of(file->id, "uns");
  if (kind != CSRN_HDF5_GROUP && kind != CSRN_HDF5_MISSING)
    return csrn_hdf5_refuse(file, "uns is not a group, so log1p cannot be recorded in it");
  hid_t uns = kind == CSRN_HDF5_GROUP ? H5Gopen2(file->id, "uns", H5P_DEFAULT)
                                      : csrn_hdf5_create_group(file->id, "uns", encoding, "0.1.0");
  int fault =
      uns < 0 || (H5Lexists(uns, "log1p", H5P_DEFAULT) > 0 && H5Ldelete(uns, "log1p", H5P_DEFAULT) < 0);
  hid_t log1p = fault ? -1 : csrn_hdf5_create_group(uns, "log1p", encoding, "0.1.0");
  fault = log1p < 0 || (base > 0 && write_scalar(log1p, "base", base, encoded));
  csrn_hdf5_close(log1p);
  csrn_hdf5_close(uns);
  return fault ? csrn_hdf5_failed(file, "write", "uns/log1p") : CSRN_IO_OK;
}

/* ---- Links ---- */

static csrn_io_status check_place(const csrn_hdf5_file *input, const char *group, const char *what) {
  if (csrn_hdf5_kind_of(input->id, group) != CSRN_HDF5_DANGLING)
    return CSRN_IO_OK;
  return csrn_hdf5_refuse(
      input, "%s is a link to another file, or to nothing, so that %s cannot be added to it", group, what);
}

csrn_io_status csrn_hdf5_check_places(const csrn_hdf5_file *input, const csrn_io_output *output) {
  csrn_io_status status = CSRN_IO_OK;
  if (output->key_added)
    status = check_place(input, "obs", output->key_added);
  if (!status && output->log1p)
    status = check_place(input, "uns", "log1p");
  return status;
}

/* ---- Both ---- */

csrn_io_status csrn_hdf5_annotate(const csrn_hdf5_file *file, const csrn_io_output *output, int64_t n_cells) {
  csrn_io_status status = CSRN_IO_OK;
  if (output->key_added)
    status = add_factors(file, output, n_cells);
  if (!status && output->log1p)
    status = record_log1p(file, output->log_base);
  return status;
}
