/*
 * .npz files made member by member, for tests of what save_npz() never writes.
 */
#ifndef CSRN_NPZ_SAMPLE_H
#define CSRN_NPZ_SAMPLE_H

#include <stddef.h>

/* One member; NULL as its header's text leaves it out. */
typedef struct npz_member {
  const char *name;
  int version;      /* of the .npy format; 0: 1 */
  const char *text; /* the dictionary, "{'descr': ...}" */
  const void *bytes;
  size_t n_bytes;
} npz_member;

/* A .npy of a header's text and bytes, at `npy` (4096 bytes of room); returns its length. */
size_t npy_sample(const npz_member *member, unsigned char *npy);
/* A zip of .npy members, deflated or stored. */
void npz_sample(const char *path, const npz_member *members, int n, int deflate);

#endif
