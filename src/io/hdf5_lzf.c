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

/* A decoded or encoded chunk; bytes is NULL after a fault. */
struct coded {
  void *bytes;
  size_t n;
};

/* Whether `n` decoded bytes can be a chunk of `chunk` bytes (0: not known), before which
 * another filter may have put a checksum. libhdf5 trusts a filter in this. */
static int can_be_chunk(size_t n, size_t chunk) {
  return chunk == 0 || (n >= chunk && n - chunk <= sizeof(uint32_t));
}

static struct coded decode(const void *input, size_t n, size_t chunk) {
  const struct coded fault = {NULL, 0};
  for (size_t room = chunk > 0 ? chunk : 4096; n <= UINT32_MAX && room <= UINT32_MAX; room *= 2) {
    struct coded output = {H5allocate_memory(room, 0), 0};
    if (!output.bytes)
      return fault;
    errno = 0;
    output.n = lzf_decompress(input, (unsigned)n, output.bytes, (unsigned)room);
    if (output.n > 0 && can_be_chunk(output.n, chunk))
      return output;
    int too_small = output.n == 0 && errno == E2BIG;
    H5free_memory(output.bytes);
    if (!too_small)
      return fault;
  }
  return fault;
}

/* Fails if the chunk does not become smaller: libhdf5 then stores it as it is. */
static struct coded encode(const void *input, size_t n) {
  struct coded output = {NULL, 0};
  if (n < 2 || n > UINT32_MAX)
    return output;
  output.bytes = H5allocate_memory(n, 0);
  if (output.bytes)
    output.n = lzf_compress(input, (unsigned)n, output.bytes, (unsigned)(n - 1));
  if (output.bytes && output.n == 0) {
    H5free_memory(output.bytes);
    output.bytes = NULL;
  }
  return output;
}

/* *room is to be the size of the unfiltered chunk on both ways, as with libhdf5's own
 * deflate: H5Ocopy() of strings has a second buffer of that size beside this one. */
static size_t filter(unsigned flags, size_t n_parameters, const unsigned parameters[], size_t n, size_t *room,
                     void **buffer) {
  int decoding = (flags & H5Z_FLAG_REVERSE) != 0;
  size_t chunk = n_parameters >= N_PARAMETERS ? parameters[2] : 0;
  struct coded output = decoding ? decode(*buffer, n, chunk) : encode(*buffer, n);
  if (!output.bytes)
    return 0;
  H5free_memory(*buffer);
  *buffer = output.bytes;
  *room = decoding ? output.n : n;
  return output.n;
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
