/*
 * Copies an .h5ad with other values in one matrix. What lies beside the way to that
 * matrix is copied by H5Ocopy(), which takes compressed chunks as they are; groups on the
 * way are made anew with their attributes, and the dataset of the values is written with
 * the chunks and filters it had.
 */
#include "hdf5_util.h"

#include <stdlib.h>
#include <string.h>

struct copy {
  csrn_hdf5_input *input;
  const csrn_io_matrix *matrix;
  const csrn_io_output *output;
  const csrn_hdf5_file *file;
  const csrn_io_progress *progress;
  hid_t link_properties; /* of H5Ocopy() */
};

/* One group whose links are being copied. */
struct level {
  const struct copy *copy;
  hid_t to;
  const char
      *rest; /* of the way from this group to the matrix: "layers/spliced"; "": in the matrix's own group */
  csrn_io_status status;
};

static csrn_io_status copy_links(const struct copy *copy, hid_t from, hid_t to, const char *rest);

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

static csrn_io_status copy_link(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                const H5L_info_t *info) {
  int fault;
  if (!csrn_io_proceed(copy->progress, "copying", 0, 0))
    return csrn_io_fail(copy->file->error, CSRN_IO_FAILED, "interrupted");
  if (info->type == H5L_TYPE_SOFT || info->type == H5L_TYPE_EXTERNAL)
    fault = copy_soft_link(from, to, name, info);
  else
    fault = H5Ocopy(from, name, to, name, copy->link_properties, H5P_DEFAULT) < 0;
  return fault ? csrn_hdf5_failed(copy->file, "copy", name) : CSRN_IO_OK;
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
  if (space < 0 || storage < 0 || H5Sget_simple_extent_dims(space, NULL, written.max) < 0)
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

/* A member of the matrix's own group. The indices are in memory and are written anew if
 * they shall be compressed otherwise, unless the file has more of them than were read. */
static csrn_io_status copy_member(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                  const H5L_info_t *info) {
  const csrn_csr *csr = &copy->matrix->csr;
  const csrn_hdf5_array *indices = &copy->input->indices;
  if (!strcmp(name, "data"))
    return write_values(copy, to, name);
  if (!strcmp(name, "indices") && copy->output->compression != CSRN_IO_COMPRESSION_KEEP && csr->indices &&
      indices->extent[0] == (uint64_t)copy->input->nnz)
    return write_like(copy, indices, to, name, csr->indices_type, csr->indices, "writing indices");
  return copy_link(copy, from, to, name, info);
}

/* Makes the group `name` as it is in `from` and copies its links. */
static csrn_io_status copy_group(const struct copy *copy, hid_t from, hid_t to, const char *name,
                                 const char *rest) {
  hid_t group = H5Gopen2(from, name, H5P_DEFAULT);
  hid_t properties = group < 0 ? -1 : H5Gget_create_plist(group);
  hid_t made = properties < 0 ? -1 : H5Gcreate2(to, name, H5P_DEFAULT, properties, H5P_DEFAULT);
  csrn_io_status status = made < 0 ? csrn_hdf5_failed(copy->file, "copy", name)
                                   : csrn_hdf5_copy_attributes(copy->file, group, made, name);
  if (!status)
    status = copy_links(copy, group, made, rest);
  csrn_hdf5_close(made);
  csrn_hdf5_close(properties);
  csrn_hdf5_close(group);
  return status;
}

static herr_t copy_next(hid_t from, const char *name, const H5L_info_t *info, void *user) {
  struct level *level = user;
  size_t head = strcspn(level->rest, "/");
  if (head == 0)
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
  struct copy copy = {input, matrix, output, file, progress, H5Pcreate(H5P_OBJECT_COPY)};
  hid_t from = H5Gopen2(input->file.id, "/", H5P_DEFAULT), to = H5Gopen2(file->id, "/", H5P_DEFAULT);
  csrn_io_status status = CSRN_IO_OK;
  /* The categories of obs were references to other datasets before anndata 0.8. */
  if (from < 0 || to < 0 || H5Pset_copy_object(copy.link_properties, H5O_COPY_EXPAND_REFERENCE_FLAG) < 0)
    status = csrn_hdf5_failed(file, "copy", input->file.path);
  if (!status)
    status = csrn_hdf5_copy_attributes(file, from, to, "the file");
  if (!status)
    status = copy_links(&copy, from, to, input->matrix);
  csrn_hdf5_close(copy.link_properties);
  csrn_hdf5_close(to);
  csrn_hdf5_close(from);
  return status;
}
