/* Any bytes as a file: MatrixMarket, plain and gzip, and .npz. (As HDF5 they find faults of libhdf5.) */
#include "fuzz_io.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = fuzz_path(0, "");
  if (size < 2 || memcmp(data + 1, "\x89HDF", size < 5 ? size - 1 : 4) == 0)
    return 0;
  FILE *file = fopen(path, "wb");
  if (!file)
    return 0;
  fwrite(data + 1, 1, size - 1, file);
  fclose(file);
  fuzz_use(path, data[0]);
  unlink(path);
  return 0;
}
