/* See pieces_device.h. */
#include "pieces_device.h"

#include <stdio.h>
#include <string.h>

const csrn_context_options *pieces_device;

int pieces_arguments(int argc, char **argv) {
  static csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  if (argc < 2 || strcmp(argv[1], "cuda") != 0)
    return 1;
  csrn_context *ctx;
  options.backend = CSRN_BACKEND_CUDA;
  pieces_device = &options;
  if (csrn_context_create(&options, &ctx) == CSRN_OK) {
    csrn_context_destroy(ctx);
    return 1;
  }
  printf("%s\n", csrn_error_detail(NULL));
  return 0;
}

int64_t pieces_memory(int64_t bytes) {
  return bytes && pieces_device ? bytes + (12 << 20) : bytes;
}
