/*
 * See zip_write.h; the format is described in PKWARE's APPNOTE.TXT (4.3, 4.5.3). Members begin with
 * their sizes in 64 bits, since these are known only when all of it has been written; the directory
 * has them in 32 bits where they fit, as every reader understands.
 */
#include "zip_write.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
  LOCAL_HEADER = 0x04034b50,
  CENTRAL_HEADER = 0x02014b50,
  END = 0x06054b50,
  END_64 = 0x06064b50,
  LOCATOR_64 = 0x07064b50,
  EXTRA_64 = 1,     /* id of the extra field with sizes of 64 bits */
  VERSION = 45,     /* that knows it */
  FIRST_DAY = 0x21, /* 1 January 1980: the same bytes for the same matrix */
  DEFLATED = 8,
  END_64_BYTES = 56, /* of the record, of which the first 12 do not count in its size */
  ROOM = 160
};

static const uint64_t highest = UINT32_MAX; /* stands for "in the extra field" */

/* A header being put together: little-endian, without gaps. */
typedef struct header {
  unsigned char bytes[ROOM];
  size_t n;
} header;

static void put(header *h, int size, uint64_t value) {
  for (int i = 0; i < size; i++)
    h->bytes[h->n++] = (unsigned char)(value >> 8 * i);
}

static void put_name(header *h, const char *name) {
  memcpy(h->bytes + h->n, name, strlen(name));
  h->n += strlen(name);
}

/* All of it: a disk that becomes full takes a part first, and says why only to the next call. */
static bool write_at(const csrn_zip *zip, uint64_t offset, const void *bytes, size_t n) {
  for (size_t done = 0; done < n;) {
    const ssize_t written = pwrite(zip->file, (const char *)bytes + done, n - done, (off_t)(offset + done));
    if (written < 0 && errno != EINTR)
      return false;
    done += written > 0 ? (size_t)written : 0;
  }
  return true;
}

static bool append(csrn_zip *zip, const void *bytes, size_t n) {
  const bool done = write_at(zip, zip->offset, bytes, n);
  zip->offset += n;
  return done;
}

/* Version, flags, method, time, day, checksum: what both headers of a member have. */
static void put_kind(header *h, const csrn_zip_member *m) {
  put(h, 2, VERSION);
  put(h, 2, 0);
  put(h, 2, m->deflated ? DEFLATED : 0);
  put(h, 2, 0);
  put(h, 2, FIRST_DAY);
  put(h, 4, m->crc);
}

static void make_local(const csrn_zip_member *m, header *h) {
  h->n = 0;
  put(h, 4, LOCAL_HEADER);
  put_kind(h, m);
  put(h, 4, highest);
  put(h, 4, highest);
  put(h, 2, strlen(m->name));
  put(h, 2, 20);
  put_name(h, m->name);
  put(h, 2, EXTRA_64);
  put(h, 2, 16);
  put(h, 8, m->raw);
  put(h, 8, m->packed);
}

bool csrn_zip_begin(csrn_zip *zip, const char *name, bool deflated) {
  csrn_zip_member *m = &zip->members[zip->n_members];
  header h;
  memset(m, 0, sizeof *m);
  strncpy(m->name, name, sizeof m->name - 1);
  m->deflated = deflated;
  m->offset = zip->offset;
  m->crc = (uint32_t)crc32(0, NULL, 0);
  make_local(m, &h);
  return append(zip, h.bytes, h.n);
}

bool csrn_zip_append(csrn_zip *zip, const void *bytes, size_t n, uint64_t raw, uint32_t crc) {
  csrn_zip_member *m = &zip->members[zip->n_members];
  m->crc = (uint32_t)crc32_combine(m->crc, crc, (z_off_t)raw);
  m->raw += raw;
  m->packed += n;
  return append(zip, bytes, n);
}

bool csrn_zip_end(csrn_zip *zip) {
  const csrn_zip_member *m = &zip->members[zip->n_members++];
  header h;
  make_local(m, &h);
  return write_at(zip, m->offset, h.bytes, h.n);
}

static void make_central(const csrn_zip_member *m, header *h) {
  const bool large = m->raw >= highest || m->packed >= highest || m->offset >= highest;
  h->n = 0;
  put(h, 4, CENTRAL_HEADER);
  put(h, 2, VERSION);
  put_kind(h, m);
  put(h, 4, large ? highest : m->packed);
  put(h, 4, large ? highest : m->raw);
  put(h, 2, strlen(m->name));
  put(h, 2, large ? 28 : 0);
  put(h, 8, 0); /* no comment, first disk, no attributes of text */
  put(h, 2, 0);
  put(h, 4, large ? highest : m->offset);
  put_name(h, m->name);
  if (!large)
    return;
  put(h, 2, EXTRA_64);
  put(h, 2, 24);
  put(h, 8, m->raw);
  put(h, 8, m->packed);
  put(h, 8, m->offset);
}

/* The end of a directory of `bytes` bytes at `begin`. */
static void make_end(const csrn_zip *zip, uint64_t begin, uint64_t bytes, header *h) {
  const uint64_t n = (uint64_t)zip->n_members;
  h->n = 0;
  if (begin >= highest) {
    put(h, 4, END_64);
    put(h, 8, END_64_BYTES - 12);
    put(h, 2, VERSION);
    put(h, 2, VERSION);
    put(h, 8, 0); /* this disk, and that of the directory */
    put(h, 8, n);
    put(h, 8, n);
    put(h, 8, bytes);
    put(h, 8, begin);
    put(h, 4, LOCATOR_64);
    put(h, 4, 0);
    put(h, 8, begin + bytes);
    put(h, 4, 1); /* disk */
  }
  put(h, 4, END);
  put(h, 4, 0);
  put(h, 2, n);
  put(h, 2, n);
  put(h, 4, bytes);
  put(h, 4, begin >= highest ? highest : begin);
  put(h, 2, 0); /* no comment */
}

bool csrn_zip_finish(csrn_zip *zip) {
  const uint64_t begin = zip->offset;
  bool done = true;
  header h;
  for (int i = 0; i < zip->n_members && done; i++) {
    make_central(&zip->members[i], &h);
    done = append(zip, h.bytes, h.n);
  }
  make_end(zip, begin, zip->offset - begin, &h);
  return done && append(zip, h.bytes, h.n);
}
