/*
 * What H5Ocopy() must not be given. It makes copies in the root of what references lead to outside of the
 * object that is copied, leaves references inside of other values as they are, which then lead anywhere in
 * the new file, and crashes (libhdf5 1.10.8) on references to nothing, and on texts of variable length among
 * attributes that lie outside of an object's header: more than eight, or one of 64 KiB, in files of the
 * format of HDF5 1.8.
 */
#include "hdf5_util.h"

#include <stdlib.h>
#include <string.h>

/* ---- Attributes outside of the header ---- */

int csrn_hdf5_has_dense_attributes(hid_t object) {
  enum { ATTRIBUTE_INFO = 0x15 }; /* the message that says where they are */
  H5O_info_t info;
  if (H5Oget_info2(object, &info, H5O_INFO_HDR) < 0)
    return -1;
  if (!(info.hdr.mesg.present >> ATTRIBUTE_INFO & 1))
    return 0;
  if (H5Oget_info2(object, &info, H5O_INFO_META_SIZE) < 0)
    return -1;
  return info.meta_size.attr.index_size > 0 || info.meta_size.attr.heap_size > 0;
}

int csrn_hdf5_allow_dense_attributes(hid_t object, hid_t properties) {
  const int dense = csrn_hdf5_has_dense_attributes(object);
  return dense < 0 || (dense && H5Pset_attr_creation_order(properties, H5P_CRT_ORDER_TRACKED) < 0);
}

/* ---- What is in an object ---- */

struct whole {
  const csrn_hdf5_file *file;
  const char *name;
  haddr_t *objects; /* of all that is in it, sorted when references are looked at */
  size_t n, room;
  int has_references, looks_at_references;
  csrn_io_status status;
};

/* An attribute, or a dataset itself, of the object that is being visited. */
struct holder {
  struct whole *whole;
  hid_t object, id;
  const char *attribute; /* or NULL */
};

static int compare_addresses(const void *a, const void *b) {
  const haddr_t x = *(const haddr_t *)a, y = *(const haddr_t *)b;
  return (x > y) - (x < y);
}

static csrn_io_status add_object(struct whole *whole, haddr_t address) {
  if (whole->n == whole->room) {
    const size_t room = whole->room ? 2 * whole->room : 64;
    haddr_t *objects = realloc(whole->objects, room * sizeof *objects);
    if (!objects)
      return csrn_hdf5_no_memory(whole->file, "the list of objects", room * sizeof *objects);
    whole->objects = objects;
    whole->room = room;
  }
  whole->objects[whole->n++] = address;
  return CSRN_IO_OK;
}

/* "OBJECT WHAT", or "the attribute ATTRIBUTE of OBJECT WHAT" */
static csrn_io_status refuse(const struct holder *holder, const char *what) {
  char path[256] = "";
  const csrn_hdf5_file *file = holder->whole->file;
  const int named = H5Iget_name(holder->object, path, sizeof path) > 1;
  const char *object = named ? path + 1 : holder->whole->name; /* without the root's / */
  return holder->attribute
             ? csrn_hdf5_refuse(file, "the attribute %s of %s %s", holder->attribute, object, what)
             : csrn_hdf5_refuse(file, "%s %s", object, what);
}

/* ---- References ---- */

/* Whether one leads to something in the object, or, being zeros, to nothing. */
static int leads_inside(const struct holder *holder, H5R_type_t kind, const void *reference) {
  static const char zeros[sizeof(hdset_reg_ref_t)];
  const struct whole *whole = holder->whole;
  haddr_t address = HADDR_UNDEF;
  if (!memcmp(reference, zeros, kind == H5R_OBJECT ? sizeof(hobj_ref_t) : sizeof(hdset_reg_ref_t)))
    return 1;
  if (kind == H5R_OBJECT)
    memcpy(&address, reference, sizeof address);
  else {
    H5O_info_t info;
    hid_t target = H5Rdereference2(holder->id, H5P_DEFAULT, kind, reference);
    if (target >= 0 && H5Oget_info2(target, &info, H5O_INFO_BASIC) >= 0)
      address = info.addr;
    csrn_hdf5_close(target);
  }
  return bsearch(&address, whole->objects, whole->n, sizeof address, compare_addresses) != NULL;
}

static csrn_io_status check_references(const struct holder *holder, hid_t type, hid_t space) {
  enum { MOST = 1 << 24 };
  const int regions = H5Tequal(type, H5T_STD_REF_DSETREG) > 0;
  const H5R_type_t kind = regions ? H5R_DATASET_REGION : H5R_OBJECT;
  const size_t size = regions ? sizeof(hdset_reg_ref_t) : sizeof(hobj_ref_t);
  const hssize_t n = H5Sget_simple_extent_npoints(space);
  if (!holder->attribute && H5Dget_storage_size(holder->id) == 0) /* none has been set */
    return CSRN_IO_OK;
  if (n < 0 || n > MOST)
    return refuse(holder, "holds more references than are looked at, and so cannot be carried over");
  char *references = calloc((size_t)n + 1, size);
  csrn_io_status status = CSRN_IO_OK;
  if (!references)
    return csrn_hdf5_no_memory(holder->whole->file, holder->whole->name, (uint64_t)n * size);
  if (n > 0 && (holder->attribute ? H5Aread(holder->id, type, references)
                                  : H5Dread(holder->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, references)) < 0)
    status = csrn_hdf5_failed(holder->whole->file, "read the references of", holder->whole->name);
  for (hssize_t i = 0; i < n && !status; i++)
    if (!leads_inside(holder, kind, references + (size_t)i * size)) {
      char what[300];
      snprintf(what, sizeof what, "holds a reference to what is not in %.200s, which cannot be carried over",
               holder->whole->name);
      status = refuse(holder, what);
    }
  free(references);
  return status;
}

/* ---- The visit ---- */

static csrn_io_status check_type(const struct holder *holder, hid_t type) {
  const int named = H5Tcommitted(type), dense = named > 0 ? csrn_hdf5_has_dense_attributes(type) : 0;
  if (named < 0 || dense < 0)
    return csrn_hdf5_failed(holder->whole->file, "read the types of", holder->whole->name);
  if (dense)
    return refuse(holder, "has a named type with many or large attributes, which cannot be copied");
  if (H5Tget_class(type) == H5T_REFERENCE)
    holder->whole->has_references = 1;
  else if (H5Tdetect_class(type, H5T_REFERENCE) > 0)
    return refuse(holder, "holds references inside of other values, which cannot be carried over");
  return CSRN_IO_OK;
}

static csrn_io_status check_holder(const struct holder *holder) {
  hid_t type = holder->attribute ? H5Aget_type(holder->id) : H5Dget_type(holder->id);
  hid_t space = holder->attribute ? H5Aget_space(holder->id) : H5Dget_space(holder->id);
  csrn_io_status status = CSRN_IO_OK;
  if (type < 0 || space < 0)
    status = csrn_hdf5_failed(holder->whole->file, "read", holder->whole->name);
  else if (!holder->whole->looks_at_references)
    status = check_type(holder, type);
  else if (H5Tget_class(type) == H5T_REFERENCE)
    status = check_references(holder, type, space);
  csrn_hdf5_close(space);
  csrn_hdf5_close(type);
  return status;
}

static herr_t check_attribute(hid_t object, const char *name, const H5A_info_t *info, void *user) {
  struct whole *whole = user;
  (void)info;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  whole->status = attribute < 0 ? csrn_hdf5_failed(whole->file, "read an attribute in", whole->name)
                                : check_holder(&(struct holder){whole, object, attribute, name});
  csrn_hdf5_close(attribute);
  return whole->status ? -1 : 0;
}

static herr_t check_object(hid_t from, const char *name, const H5O_info_t *info, void *user) {
  struct whole *whole = user;
  hsize_t start = 0;
  hid_t object = H5Oopen(from, name, H5P_DEFAULT);
  herr_t fault = object < 0 ? -1 : 0;
  if (!whole->looks_at_references)
    whole->status = add_object(whole, info->addr);
  if (!fault && !whole->status && info->type == H5O_TYPE_DATASET)
    whole->status = check_holder(&(struct holder){whole, object, object, NULL});
  if (!fault && !whole->status)
    fault = H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &start, check_attribute, whole);
  csrn_hdf5_close(object);
  return fault < 0 || whole->status ? -1 : 0;
}

static csrn_io_status visit(struct whole *whole, hid_t from) {
  if (H5Ovisit_by_name2(from, whole->name, H5_INDEX_NAME, H5_ITER_NATIVE, check_object, whole, H5O_INFO_BASIC,
                        H5P_DEFAULT) < 0 &&
      !whole->status)
    return csrn_hdf5_failed(whole->file, "look through", whole->name);
  return whole->status;
}

csrn_io_status csrn_hdf5_check_whole(const csrn_hdf5_file *file, hid_t from, const char *name) {
  struct whole whole = {.file = file, .name = name};
  csrn_io_status status = visit(&whole, from);
  if (!status && whole.has_references) {
    qsort(whole.objects, whole.n, sizeof *whole.objects, compare_addresses);
    whole.looks_at_references = 1;
    status = visit(&whole, from);
  }
  free(whole.objects);
  return status;
}
