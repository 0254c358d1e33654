/* Any bytes as a file, behind two that say what to do with it: MatrixMarket, plain and gzip, and .npz. (As
 * HDF5 they find faults of libhdf5.) */
#include "fuzz_io.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_path(0, "");
  if (size < 3 || memcmp(data + 2, "\x89HDF", size < 6 ? size - 2 : 4) == 0)
    return 0;
  FILE *file = fopen(path, "wb");
  if (!file)
    return 0;
  fwrite(data + 2, 1, size - 2, file);
  fclose(file);
  fuzz_use(path, (data[0] | (unsigned)data[1] << 8) & ~(unsigned)(FUZZ_H5AD_ALONE | FUZZ_10X_ALONE));
  unlink(path);
  return 0;
}
