/*
 * Arrays of a command where its context works. A context in host memory uses them where
 * they are; for a device they are copied there, and the results back. The calls are
 * chained: after the first failure the others do nothing, and cli_place_end() tells.
 */
#ifndef CLI_PLACE_H
#define CLI_PLACE_H

#include "csrnorm/csrnorm.h"

#include <stdbool.h>

enum { CLI_MAX_PLACED = 8 };

typedef struct cli_place {
  csrn_context *ctx;
  csrn_status status; /* of the first call that failed */
  struct {
    void *host, *device;
    size_t bytes;
    bool is_result;
  } arrays[CLI_MAX_PLACED];
  int n_arrays;
} cli_place;

cli_place cli_place_begin(csrn_context *ctx);
/* The array as the context takes it: an input, and a result that cli_place_end() brings back. A result that
 * was placed as an input before is the same array: the context works in place. NULL stays NULL. */
void *cli_place_input(cli_place *place, const void *host, size_t bytes);
void *cli_place_result(cli_place *place, void *host, size_t bytes);
/* A matrix with its arrays placed as inputs; its indices only where they are asked for. */
csrn_csr cli_place_matrix(cli_place *place, const csrn_csr *A, bool with_indices);
/* Waits for the context, brings back the results if nothing has failed, and gives back what was placed.
 * `status` is that of the operation. Returns the first failure, whose sentence is the context's. */
csrn_status cli_place_end(cli_place *place, csrn_status status);

#endif
