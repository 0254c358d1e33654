/* See npz_sample.h. */
#include "npz_sample.h"

#include "io_fixture.h"

#include <string.h>
#include <zip.h>

size_t npy_sample(const npz_member *member, unsigned char *npy) {
  const int version = member->version ? member->version : 1;
  const size_t prefix = version == 1 ? 10 : 12, length = strlen(member->text) + 1;
  memset(npy, 0, 12);
  memcpy(npy, "\x93NUMPY", 6);
  npy[6] = (unsigned char)version;
  npy[8] = (unsigned char)(length & 255);
  npy[9] = (unsigned char)(length >> 8);
  memcpy(npy + prefix, member->text, length - 1);
  npy[prefix + length - 1] = '\n';
  if (member->n_bytes)
    memcpy(npy + prefix + length, member->bytes, member->n_bytes);
  return prefix + length + member->n_bytes;
}

void npz_sample(const char *path, const npz_member *members, int n, int deflate) {
  static unsigned char bytes[8][4096];
  int code;
  zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
  assert_non_null(zip);
  for (int i = 0; i < n; i++) {
    if (!members[i].text)
      continue;
    zip_source_t *source = zip_source_buffer(zip, bytes[i], npy_sample(&members[i], bytes[i]), 0);
    zip_int64_t index = zip_file_add(zip, members[i].name, source, 0);
    assert_true(index >= 0);
    zip_set_file_compression(zip, (zip_uint64_t)index, deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  }
  assert_int_equal(zip_close(zip), 0);
}
