/* See place.h. */
#include "place.h"

#include <string.h>

cli_place cli_place_begin(csrn_context *ctx) {
  return (cli_place){.ctx = ctx};
}

static bool is_host(const cli_place *place) {
  return csrn_context_backend(place->ctx) == CSRN_BACKEND_CPU;
}

/* Where `host` lies on the device: there already, or new. -1: not at all. */
static int place_array(cli_place *place, const void *host, size_t bytes) {
  for (int i = 0; i < place->n_arrays; i++)
    if (place->arrays[i].host == host)
      return i;
  void *device = NULL;
  if (!place->status)
    place->status = csrn_buffer_allocate(place->ctx, bytes, &device);
  if (place->status)
    return -1;
  const int i = place->n_arrays++;
  memcpy(&place->arrays[i].host, &host, sizeof host); /* const for an input, which is never written */
  place->arrays[i].device = device;
  place->arrays[i].bytes = bytes;
  place->arrays[i].is_result = false;
  return i;
}

void *cli_place_result(cli_place *place, void *host, size_t bytes) {
  if (is_host(place) || !host || bytes == 0)
    return host;
  const int i = place_array(place, host, bytes);
  if (i < 0)
    return NULL;
  place->arrays[i].is_result = true;
  return place->arrays[i].device;
}

void *cli_place_input(cli_place *place, const void *host, size_t bytes) {
  void *array;
  memcpy(&array, &host, sizeof array);
  if (is_host(place) || !host || bytes == 0)
    return array;
  const int i = place_array(place, host, bytes);
  if (i < 0)
    return NULL;
  place->status = csrn_buffer_copy(place->ctx, place->arrays[i].device, host, bytes);
  return place->arrays[i].device;
}

csrn_csr cli_place_matrix(cli_place *place, const csrn_csr *A, bool with_indices) {
  csrn_csr placed = *A;
  placed.indptr =
      cli_place_input(place, A->indptr, (size_t)(A->n_rows + 1) * csrn_dtype_size(A->indptr_type));
  placed.data = cli_place_input(place, A->data, (size_t)A->nnz * csrn_dtype_size(A->data_type));
  placed.indices = NULL;
  if (with_indices || is_host(place))
    placed.indices = cli_place_input(place, A->indices, (size_t)A->nnz * csrn_dtype_size(A->indices_type));
  return placed;
}

csrn_status cli_place_end(cli_place *place, csrn_status status) {
  if (!place->status)
    place->status = status;
  if (!place->status)
    place->status = csrn_context_synchronize(place->ctx);
  for (int i = 0; i < place->n_arrays; i++)
    if (place->arrays[i].is_result && !place->status)
      place->status = csrn_buffer_copy(place->ctx, place->arrays[i].host, place->arrays[i].device,
                                       place->arrays[i].bytes);
  while (place->n_arrays > 0) {
    place->n_arrays--;
    csrn_buffer_release(place->ctx, place->arrays[place->n_arrays].device,
                        place->arrays[place->n_arrays].bytes);
  }
  return place->status;
}
