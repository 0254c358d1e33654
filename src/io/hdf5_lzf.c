/*
 * The lzf filter that h5py compresses with (registered id 32000) as a filter of libhdf5,
 * on liblzf. libhdf5 then decodes it wherever it meets it: in values, in strings that
 * H5Ocopy() must unpack, beside shuffle, and in chunks whose filter mask skips it.
 */
#include "hdf5_util.h"

#include <errno.h>
#include <lzf.h>

enum {
  FILTER_REVISION = 4, /* h5py's layout of the parameters: revision, version of lzf, bytes of a chunk */
  N_PARAMETERS = 3
};

/* Stores the size of a chunk in the filter's parameters, for the decoder to allocate. */
static herr_t set_local(hid_t properties, hid_t type, hid_t space) {
  (void)space;
  hsize_t chunk[H5S_MAX_RANK];
  int rank = H5Pget_chunk(properties, H5S_MAX_RANK, chunk);
  uint64_t bytes = H5Tget_size(type);
  if (rank < 1 || bytes == 0)
    return -1;
  for (int i = 0; i < rank; i++) {
    if (chunk[i] > UINT32_MAX / bytes)
      return -1;
    bytes *= chunk[i];
  }
  const unsigned parameters[N_PARAMETERS] = {FILTER_REVISION, LZF_VERSION, (unsigned)bytes};
  return H5Pmodify_filter(properties, CSRN_HDF5_LZF, H5Z_FLAG_OPTIONAL, N_PARAMETERS, parameters);
}

/* The decoded chunk, of at least `bytes` bytes (libhdf5 trusts a filter to fill a whole
 * chunk); NULL if the input is corrupt. */
static void *decode(const void *input, size_t input_bytes, size_t bytes, size_t *decoded) {
  if (input_bytes > UINT32_MAX)
    return NULL;
  for (size_t room = bytes > 0 ? bytes : 4096; room <= UINT32_MAX; room *= 2) {
    void *output = H5allocate_memory(room, 0);
    if (!output)
      return NULL;
    errno = 0;
    *decoded = lzf_decompress(input, (unsigned)input_bytes, output, (unsigned)room);
    if (*decoded > 0 && *decoded >= bytes)
      return output;
    int too_small = *decoded == 0 && errno == E2BIG;
    H5free_memory(output);
    if (!too_small)
      return NULL;
  }
  return NULL;
}

/* NULL if the chunk does not become smaller: libhdf5 then stores it as it is. */
static void *encode(const void *input, size_t input_bytes, size_t *encoded) {
  if (input_bytes < 2 || input_bytes > UINT32_MAX)
    return NULL;
  void *output = H5allocate_memory(input_bytes, 0);
  if (!output)
    return NULL;
  *encoded = lzf_compress(input, (unsigned)input_bytes, output, (unsigned)(input_bytes - 1));
  if (*encoded == 0) {
    H5free_memory(output);
    return NULL;
  }
  return output;
}

static size_t filter(unsigned flags, size_t n_parameters, const unsigned parameters[], size_t n_bytes,
                     size_t *buffer_bytes, void **buffer) {
  size_t produced = 0;
  size_t chunk = n_parameters >= N_PARAMETERS ? parameters[2] : 0;
  void *output = flags & H5Z_FLAG_REVERSE ? decode(*buffer, n_bytes, chunk, &produced)
                                          : encode(*buffer, n_bytes, &produced);
  if (!output)
    return 0;
  H5free_memory(*buffer);
  *buffer = output;
  *buffer_bytes = produced;
  return produced;
}

int csrn_hdf5_register_lzf(void) {
  static const H5Z_class2_t lzf = {
      .version = H5Z_CLASS_T_VERS,
      .id = CSRN_HDF5_LZF,
      .encoder_present = 1,
      .decoder_present = 1,
      .name = "lzf",
      .can_apply = NULL,
      .set_local = set_local,
      .filter = filter,
  };
  return H5Zregister(&lzf) < 0;
}
