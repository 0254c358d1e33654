/*
 * A zip file written member after member, each in pieces whose compressed bytes come from
 * elsewhere: by many threads, say, which libzip has no way for.
 */
#ifndef CSRN_ZIP_WRITE_H
#define CSRN_ZIP_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CSRN_ZIP_MEMBERS = 5, CSRN_ZIP_NAME = 16 };

typedef struct csrn_zip_member {
  char name[CSRN_ZIP_NAME];
  bool deflated;
  uint64_t offset, packed, raw; /* bytes: before it, of it in the file, of what it holds */
  uint32_t crc;
} csrn_zip_member;

typedef struct csrn_zip {
  int file;        /* open for writing */
  uint64_t offset; /* bytes written */
  int n_members;
  csrn_zip_member members[CSRN_ZIP_MEMBERS];
} csrn_zip;

/* Each returns false with errno set where the system does not write. Between begin and end come the pieces of
 * one member: n bytes as they go into the file, which stand for `raw` bytes of that checksum. Deflated pieces
 * end at whole bytes, the last one with the end of the stream. */
bool csrn_zip_begin(csrn_zip *zip, const char *name, bool deflated);
bool csrn_zip_append(csrn_zip *zip, const void *bytes, size_t n, uint64_t raw, uint32_t crc);
bool csrn_zip_end(csrn_zip *zip);
/* The directory, behind the last member. */
bool csrn_zip_finish(csrn_zip *zip);

#endif
