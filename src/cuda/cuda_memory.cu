/*
 * Device memory of a context: from the caller's allocator or the stream-ordered one of CUDA, by
 * purpose, taken before an operation enqueues anything; and where the arrays of a call lie.
 */
#include "cuda_device.h"

#include <cstdio>
#include <dlfcn.h>

/* ---- Taking and giving back ------------------------------------------------------ */

bool csrn_cuda_is_captured(cudaStream_t stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream, &capture) == cudaSuccess)
    return capture != cudaStreamCaptureStatusNone;
  cudaGetLastError();
  return true; /* the default stream, beside the capture of one that it waits for */
}

csrn_status csrn_cuda_refuse_capture(csrn_context *ctx, const char *what) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(csrn_cuda_state_of(ctx)->stream, &capture);
  if (error == cudaSuccess && capture == cudaStreamCaptureStatusNone)
    return CSRN_OK;
  /* The default stream cannot be asked while another one, that it waits for, is being captured. */
  if (error != cudaSuccess && error != cudaErrorStreamCaptureImplicit)
    return csrn_cuda_fail(ctx, error, "asking whether the stream is being captured");
  cudaGetLastError();
  return csrn_fail(ctx, CSRN_UNSUPPORTED, "%s, which is not possible while the stream is being captured",
                   what);
}

namespace {

enum { ALIGNMENT = 256 };

/* What an allocator is told: never NULL for device memory. */
void *stream_name(const csrn_cuda_state *state) {
  return state->stream ? static_cast<void *>(state->stream) : static_cast<void *>(cudaStreamLegacy);
}

} // namespace

csrn_status csrn_cuda_allocate(csrn_context *ctx, size_t bytes, void **memory) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const csrn_allocator *custom = &ctx->device_allocator;
  char what[80];
  *memory = nullptr;
  std::snprintf(what, sizeof what, "%zu more bytes of device memory are needed", bytes);
  csrn_status status = csrn_cuda_refuse_capture(ctx, what);
  if (status)
    return status;
  if (custom->allocate) {
    *memory = custom->allocate(custom->user, bytes, ALIGNMENT, stream_name(state));
    if (!*memory)
      csrn_fail(ctx, CSRN_OUT_OF_MEMORY, "the allocator returned NULL for %zu bytes of device memory", bytes);
    return *memory ? CSRN_OK : CSRN_OUT_OF_MEMORY;
  }
  const cudaError_t error =
      state->has_pools ? cudaMallocAsync(memory, bytes, state->stream) : cudaMalloc(memory, bytes);
  if (error == cudaSuccess)
    return CSRN_OK;
  *memory = nullptr;
  status = csrn_cuda_fail(ctx, error, "an allocation of device memory");
  return status != CSRN_OUT_OF_MEMORY
             ? status
             : csrn_fail(ctx, status, "%zu bytes of device memory could not be allocated: %s", bytes,
                         cudaGetErrorString(error));
}

/* Kernels under way may still use it. In a capture that order cannot be had, and asking for it would end the
 * capture: the memory stays taken (csrnorm.h says so), unless it is the caller's allocator's to decide. */
void csrn_cuda_release(csrn_context *ctx, void *memory, size_t bytes) {
  const csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const csrn_allocator *custom = &ctx->device_allocator;
  if (!memory)
    return;
  if (custom->release)
    custom->release(custom->user, memory, bytes, stream_name(state));
  else if (state->has_pools && csrn_cuda_is_captured(state->stream))
    return;
  else if ((state->has_pools ? cudaFreeAsync(memory, state->stream) : cudaFree(memory)) != cudaSuccess)
    cudaGetLastError(); /* of a device that is lost, or work that failed before: nobody could do better */
}

/* ---- Scratch memory by purpose --------------------------------------------------- */

void *csrn_cuda_slot_of(const csrn_context *ctx, csrn_cuda_slot slot) {
  return csrn_cuda_state_of(ctx)->slots[slot].memory;
}

namespace {

size_t bytes_of(csrn_cuda_slot slot, int64_t n_rows, int64_t n_cols, int64_t nnz) {
  const size_t longest = static_cast<size_t>(n_rows > n_cols ? n_rows : n_cols);
  switch (slot) {
  case CSRN_CUDA_LISTS:
    return csrn_cuda_list_bytes(n_rows, nnz);
  case CSRN_CUDA_PIECES:
    return csrn_cuda_piece_bytes();
  case CSRN_CUDA_COLUMNS:
    return csrn_cuda_column_bytes(n_cols);
  case CSRN_CUDA_MASK:
    return longest;
  case CSRN_CUDA_BITS:
    return (longest + 31) / 32 * sizeof(uint32_t);
  default:
    return longest * sizeof(double);
  }
}

csrn_status grow(csrn_context *ctx, csrn_cuda_slot slot, size_t bytes) {
  auto &room = csrn_cuda_state_of(ctx)->slots[slot];
  if (room.memory && room.bytes >= bytes)
    return CSRN_OK;
  bytes = bytes ? bytes : 1;
  void *memory;
  const csrn_status status = csrn_cuda_allocate(ctx, bytes, &memory);
  if (status)
    return status;
  csrn_cuda_release(ctx, room.memory, room.bytes);
  room.memory = memory;
  room.bytes = bytes;
  return CSRN_OK;
}

} // namespace

csrn_status csrn_cuda_need(csrn_context *ctx, unsigned slots, int64_t n_rows, int64_t n_cols, int64_t nnz) {
  csrn_status status = CSRN_OK;
  for (int i = 0; i < CSRN_CUDA_N_SLOTS && !status; i++) {
    const auto slot = static_cast<csrn_cuda_slot>(i);
    if (slots & csrn_cuda_bit(slot))
      status = grow(ctx, slot, bytes_of(slot, n_rows, n_cols, nnz));
  }
  return status;
}

csrn_status csrn_cuda_need_for(csrn_context *ctx, unsigned slots, const csrn_csr *A) {
  if (slots & csrn_cuda_bit(CSRN_CUDA_LISTS) && csrn_cuda_has_giants(A->nnz))
    slots |= csrn_cuda_bit(CSRN_CUDA_PIECES);
  return csrn_cuda_need(ctx, slots, A->n_rows, A->n_cols, A->nnz);
}

csrn_status csrn_cuda_reserve(csrn_context *ctx, int64_t n_rows, int64_t n_cols) {
  size_t free_bytes = 0, all_bytes = 0;
  const cudaError_t error = cudaMemGetInfo(&free_bytes, &all_bytes);
  if (error != cudaSuccess)
    return csrn_cuda_fail(ctx, error, "asking for the size of the memory");
  /* No matrix on the device has more values than that has bytes. */
  return csrn_cuda_need(ctx, ~0U, n_rows, n_cols, static_cast<int64_t>(all_bytes));
}

/* ---- Buffers ----------------------------------------------------------------------- */

/* Its memory may be used on any stream, so the stream that orders the allocation is waited for. */
csrn_status csrn_cuda_buffer_allocate(csrn_context *ctx, size_t bytes, void **buffer) {
  const csrn_status status = csrn_cuda_allocate(ctx, bytes, buffer);
  if (status)
    return status;
  const cudaError_t error = cudaStreamSynchronize(csrn_cuda_state_of(ctx)->stream);
  if (error == cudaSuccess)
    return CSRN_OK;
  csrn_cuda_release(ctx, *buffer, bytes);
  *buffer = nullptr;
  return csrn_cuda_fail(ctx, error, "the work on the device");
}

csrn_status csrn_cuda_buffer_copy(csrn_context *ctx, void *to, const void *from, size_t bytes) {
  const csrn_status status = csrn_cuda_refuse_capture(ctx, "a copy would have to be waited for");
  if (status)
    return status;
  const cudaStream_t stream = csrn_cuda_state_of(ctx)->stream;
  cudaError_t error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
  if (error == cudaSuccess)
    error = cudaStreamSynchronize(stream);
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "a copy");
}

csrn_status csrn_cuda_host_allocate(csrn_context *ctx, size_t bytes, void **buffer) {
  const cudaError_t error = cudaMallocHost(buffer, bytes);
  if (error == cudaSuccess)
    return CSRN_OK;
  *buffer = nullptr;
  const csrn_status status = csrn_cuda_fail(ctx, error, "an allocation of pinned memory");
  return status != CSRN_OUT_OF_MEMORY
             ? status
             : csrn_fail(ctx, status, "%zu bytes of pinned memory could not be allocated: %s", bytes,
                         cudaGetErrorString(error));
}

/* ---- Where arrays lie -------------------------------------------------------------- */

namespace {

csrn_status refuse(csrn_context *ctx, const char *name, const char *where, bool on_host) {
  return csrn_fail(ctx, CSRN_INVALID_ARGUMENT, "%s lies in %s; expected %s, where the arrays before it lie",
                   name, where, on_host ? "host memory" : "memory of the device");
}

} // namespace

/* Pinned memory is host memory; but the device can read and write it, so that beside arrays on the device a
 * single number (a report, a median, a target) may lie there. */
csrn_status csrn_cuda_check_place(csrn_context *ctx, const char *name, const void *array, bool single,
                                  csrn_place *place) {
  cudaPointerAttributes found;
  const cudaError_t error = cudaPointerGetAttributes(&found, array);
  if (error != cudaSuccess)
    return csrn_cuda_fail(ctx, error, "asking where an array lies");
  const int device = csrn_cuda_state_of(ctx)->device;
  const bool on_host = found.type != cudaMemoryTypeManaged && found.type != cudaMemoryTypeDevice;
  if (found.type == cudaMemoryTypeDevice && found.device != device)
    return csrn_fail(ctx, CSRN_INVALID_ARGUMENT, "%s lies on device %d; expected device %d, the context's",
                     name, found.device, device);
  if (*place == CSRN_PLACE_UNKNOWN)
    *place = on_host ? CSRN_PLACE_HOST : CSRN_PLACE_DEVICE;
  if (on_host == (*place == CSRN_PLACE_HOST) || (single && found.type == cudaMemoryTypeHost))
    return CSRN_OK;
  return refuse(ctx, name,
                !on_host                           ? "device or managed memory"
                : found.type == cudaMemoryTypeHost ? "pinned host memory"
                                                   : "pageable host memory",
                *place == CSRN_PLACE_HOST);
}

bool csrn_cuda_owns(const void *array) {
  const csrn_float_guard floats;
#if !defined(CSRN_SIMT_HOST)
  /* Without the driver's library in the process there is no device memory, and asking would load and start
   * it. */
  void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (!driver)
    return false;
  dlclose(driver);
#endif
  cudaPointerAttributes found;
  if (cudaPointerGetAttributes(&found, array) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged;
}
