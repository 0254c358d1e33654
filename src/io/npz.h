/*
 * What reading and writing an .npz as a whole (npz.c) and in pieces (npz_pieces.c) share: an open
 * file, and what the streaming engine takes it for.
 */
#ifndef CSRN_NPZ_H
#define CSRN_NPZ_H

#include "npy.h"
#include "stream.h"

#include <zip.h>

typedef struct csrn_npz csrn_npz;

/* A member being read: its elements come in order, and a pass begins anew. */
struct csrn_npz_member {
  zip_t *zip;
  const char *name;
  const csrn_npy *npy;
  int source; /* of csrn_stream_await() */
  zip_file_t *file;
  int64_t position; /* elements that have been read */
};

struct csrn_npz {
  const csrn_io_input *input;
  zip_t *zip;
  csrn_npy data, indices, indptr;
  int64_t shape[2];
  bool csc, cells_in_columns, deflated;
  csrn_hdf5_input view; /* without identifiers, chunks and filters */
  struct csrn_npz_member members[2];
};

/* ---- npz.c ---- */

/* Says that a member cannot be read where libzip failed for `reason`: the system's if it has one. */
csrn_io_status csrn_npz_fail(const char *path, const char *name, zip_error_t *reason, const char *otherwise,
                             csrn_io_error *error);

/* Reads up to n bytes; -1 for an error. */
int64_t csrn_npz_bytes(zip_file_t *file, char *to, int64_t n);
/* Reads a member's elements into malloc'ed memory, as npy->type where that is a number. */
csrn_io_status csrn_npz_values(const csrn_io_input *input, const char *name, const csrn_npy *npy,
                               void **values, const csrn_io_progress *progress, csrn_io_error *error);

/* ---- npz_pieces.c ---- */

/* Fills npz->view when all else is known. */
void csrn_npz_view(csrn_npz *npz);
void csrn_npz_members_close(csrn_npz *npz);

#endif
