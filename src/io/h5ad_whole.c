/*
 * What H5Ocopy() must not be given: it crashes (libhdf5 1.10.8) on texts of variable length among attributes
 * that lie outside of an object's header: more than eight, or one of 64 KiB, in files of the format of
 * HDF5 1.8.
 */
#include "hdf5_util.h"

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
