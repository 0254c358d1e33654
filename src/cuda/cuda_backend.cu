/*
 * The CUDA backend's table of operations, the life of its contexts, their streams, and what
 * becomes of errors. Memory and the operations themselves have files of their own.
 */
#include "cuda_device.h"
#include "cuda_host.h"
#include "cuda_row.h"
#include "cuda_select.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

/* ---- Errors ---------------------------------------------------------------------- */

csrn_status csrn_cuda_fail(csrn_context *ctx, cudaError_t error, const char *what) {
  cudaGetLastError(); /* an error that does not last must not be found again by somebody else */
  const csrn_status status = error == cudaErrorMemoryAllocation ? CSRN_OUT_OF_MEMORY : CSRN_DEVICE_ERROR;
  return csrn_fail(ctx, status, "%s failed: %s (%s)", what, cudaGetErrorString(error),
                   cudaGetErrorName(error));
}

namespace {

/* ---- Devices --------------------------------------------------------------------- */

/* The number of devices; 0 with a sentence in this thread's detail (ctx NULL) or the context's. */
int count_devices(csrn_context *ctx) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0)
    return count;
  cudaGetLastError();
  csrn_fail(ctx, CSRN_NO_DEVICE, "no CUDA device: %s",
            error == cudaSuccess ? "the driver sees none" : cudaGetErrorString(error));
  return 0;
}

csrn_status cuda_device_count(int32_t *count) {
  const csrn_float_guard floats;
  *count = count_devices(nullptr);
  return *count > 0 ? CSRN_OK : CSRN_NO_DEVICE;
}

csrn_status cuda_device_info(int32_t device, csrn_device_properties *properties) {
  const csrn_float_guard floats;
  const int count = count_devices(nullptr);
  if (count == 0)
    return CSRN_NO_DEVICE;
  if (device < 0 || device >= count)
    return csrn_fail(nullptr, CSRN_INVALID_ARGUMENT, "device is %d; expected 0 to %d", device, count - 1);
  cudaDeviceProp found;
  const cudaError_t error = cudaGetDeviceProperties(&found, device);
  if (error != cudaSuccess)
    return csrn_cuda_fail(nullptr, error, "asking for the properties of a device");
  std::snprintf(properties->name, sizeof properties->name, "%.120s", found.name);
  std::snprintf(properties->isa, sizeof properties->isa, "sm_%d%d", found.major, found.minor);
  properties->memory_bytes = static_cast<int64_t>(found.totalGlobalMem);
  properties->n_units = found.multiProcessorCount;
  return CSRN_OK;
}

/* ---- Contexts -------------------------------------------------------------------- */

__global__ void probe_kernel() {}

__global__ void begin_kernel(csrn_walk w, const double *target, bool as_float, bool continues);

/* Whether this build has code for the device, and whether that code can wait for the kernel before it, and
 * shall: CSRNORM_CUDA_OVERLAP=0 tells whether a fault lies in that. */
csrn_status check_code(csrn_context *ctx, int device) {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void *>(probe_kernel));
  if (error == cudaSuccess) {
    const char *overlap = getenv("CSRNORM_CUDA_OVERLAP");
    csrn_cuda_state_of(ctx)->overlaps =
        attributes.ptxVersion >= 90 && !(overlap && strcmp(overlap, "0") == 0);
    return CSRN_OK;
  }
  if (error != cudaErrorNoKernelImageForDevice && error != cudaErrorInvalidDeviceFunction &&
      error != cudaErrorUnsupportedPtxVersion)
    return csrn_cuda_fail(ctx, error, "loading the kernels");
  cudaGetLastError();
  return csrn_fail(ctx, CSRN_NO_DEVICE, "this build has no kernels that run on device %d: %s", device,
                   cudaGetErrorString(error));
}

/* Clears what csrn_context_synchronize() reports. */
cudaError_t forget_errors(csrn_cuda_state *state) {
  csrn_cuda_control *control = state->control;
  cudaError_t error = cudaMemsetAsync(&control->sticky_flags, 0, sizeof control->sticky_flags, state->stream);
  if (error == cudaSuccess)
    error = cudaMemsetAsync(&control->bad_index, 0xff, sizeof control->bad_index, state->stream);
  return error;
}

void destroy_state(csrn_context *ctx) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  csrn_cuda_host_destroy(ctx);
  for (auto &slot : state->slots)
    csrn_cuda_release(ctx, slot.memory, slot.bytes);
  csrn_cuda_release(ctx, state->control, sizeof *state->control);
  if (state->mirror)
    cudaFreeHost(state->mirror);
  if (state->moved)
    cudaEventDestroy(state->moved);
  csrn_scratch_release(ctx, state, sizeof *state);
  ctx->state = nullptr;
}

csrn_status fill_state(csrn_context *ctx, csrn_cuda_state *state) {
  int value = 0;
  cudaError_t error = cudaDeviceGetAttribute(&state->n_units, cudaDevAttrMultiProcessorCount, state->device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, state->device);
  state->shared_per_block = static_cast<size_t>(value);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerMultiprocessor, state->device);
  state->shared_per_unit = static_cast<size_t>(value);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&value, cudaDevAttrMemoryPoolsSupported, state->device);
  state->has_pools = value != 0;
  /* Walks follow these kernels, and begin while they run. */
  if (error == cudaSuccess)
    error = csrn_cuda_prefer_shared(reinterpret_cast<const void *>(begin_kernel));
  if (error == cudaSuccess)
    error = csrn_cuda_prepare_select();
  if (error == cudaSuccess)
    error = cudaEventCreateWithFlags(&state->moved, cudaEventDisableTiming);
  if (error == cudaSuccess)
    error = cudaMallocHost(reinterpret_cast<void **>(&state->mirror), sizeof *state->mirror);
  if (error != cudaSuccess)
    return csrn_cuda_fail(ctx, error, "preparing the device");
  void *control;
  const csrn_status status = csrn_cuda_allocate(ctx, sizeof *state->control, &control);
  if (status)
    return status;
  state->control = static_cast<csrn_cuda_control *>(control);
  error = cudaMemsetAsync(state->control, 0, sizeof *state->control, state->stream);
  if (error == cudaSuccess)
    error = forget_errors(state);
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "preparing the device");
}

csrn_status cuda_create(csrn_context *ctx, const csrn_context_options *options) {
  const csrn_float_guard floats;
  const int count = count_devices(ctx);
  if (count == 0)
    return CSRN_NO_DEVICE;
  if (options->device >= count)
    return csrn_fail(ctx, CSRN_NO_DEVICE, "options->device is %d; this machine has CUDA devices 0 to %d",
                     options->device, count - 1);
  const csrn_device_guard guard(options->device);
  if (guard.error != cudaSuccess)
    return csrn_cuda_fail(ctx, guard.error, "choosing the device");
  auto *state = static_cast<csrn_cuda_state *>(csrn_scratch_allocate(ctx, sizeof(csrn_cuda_state)));
  if (!state)
    return CSRN_OUT_OF_MEMORY;
  memset(state, 0, sizeof *state);
  state->device = options->device;
  state->stream = static_cast<cudaStream_t>(options->stream);
  ctx->state = state;
  /* First of all: loading kernels and taking memory would end the capture. */
  csrn_status status = csrn_cuda_refuse_capture(ctx, "a context takes memory of its own");
  status = status ? status : check_code(ctx, options->device);
  status = status ? status : fill_state(ctx, state);
  if (status)
    destroy_state(ctx);
  return status;
}

void cuda_destroy(csrn_context *ctx) {
  const csrn_device_guard guard(ctx);
  destroy_state(ctx);
}

const char *cuda_isa(const csrn_context *) {
  return "";
}

int32_t cuda_threads(const csrn_context *) {
  return 1;
}

/* Has what is enqueued on a stream from now on wait for what was enqueued on the one before; a capture
 * cannot, and leaves that to the stream that comes after it. */
cudaError_t wait_for_the_one_before(csrn_cuda_state *state, cudaStream_t stream) {
  if (!state->is_moving || csrn_cuda_is_captured(stream))
    return cudaSuccess;
  const cudaError_t error = cudaStreamWaitEvent(stream, state->moved, 0);
  state->is_moving = error != cudaSuccess;
  return error;
}

/* Scratch memory is that of before, so the new stream waits for the old one. A capture must neither be waited
 * for nor drawn into: between it and other work the order is the caller's. But it does not hide the stream
 * before it: from A to a captured B and on to C, C waits for A. */
csrn_status cuda_set_stream(csrn_context *ctx, void *name) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const auto stream = static_cast<cudaStream_t>(name);
  if (stream == state->stream)
    return CSRN_OK;
  cudaError_t error = wait_for_the_one_before(state, state->stream); /* its capture may be over */
  if (error == cudaSuccess && !csrn_cuda_is_captured(state->stream)) {
    error = cudaEventRecord(state->moved, state->stream);
    state->is_moving = error == cudaSuccess;
  }
  if (error == cudaSuccess)
    error = wait_for_the_one_before(state, stream);
  if (error != cudaSuccess)
    return csrn_cuda_fail(ctx, error, "changing the stream");
  state->stream = stream;
  return CSRN_OK;
}

/* The flags of the kernels since the last call, as a status with a sentence. */
csrn_status status_of_flags(csrn_context *ctx, const csrn_cuda_control *seen) {
  const unsigned flags = seen->sticky_flags;
  if (flags & CSRN_FLAG_INVALID_MATRIX)
    return csrn_fail(ctx, CSRN_INVALID_MATRIX,
                     "A->indptr decreases or leaves 0 to nnz in row %" PRId64 ": from %" PRId64 " to %" PRId64
                     "; found on the device, nothing was computed",
                     seen->bad_row, seen->bad_begin, seen->bad_end);
  if (flags & CSRN_FLAG_INVALID_TARGET)
    return csrn_fail(ctx, CSRN_INVALID_ARGUMENT,
                     "*target is not positive and finite; found on the device, nothing was computed");
  if (flags & CSRN_FLAG_INVALID_COLUMN)
    return csrn_fail(
        ctx, CSRN_INVALID_MATRIX,
        "A->indices[%llu] is outside 0 to n_cols - 1; found on the device, such elements were left out",
        seen->bad_index);
  if (flags & CSRN_FLAG_OVERFLOW)
    return csrn_fail(ctx, CSRN_OVERFLOW, "an exact sum does not fit its type; found on the device");
  return CSRN_OK;
}

} // namespace

csrn_status csrn_cuda_synchronize(csrn_context *ctx) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  const csrn_status status = csrn_cuda_refuse_capture(ctx, "the work would have to be waited for");
  if (status)
    return status;
  const size_t first = offsetof(csrn_cuda_control, sticky_flags);
  /* Should two operations of this context ever have overlapped, their beginnings must not haunt the next
   * ones. */
  cudaError_t error = cudaMemsetAsync(&state->control->first, 0, sizeof state->control->first, state->stream);
  if (error == cudaSuccess)
    error = cudaMemcpyAsync(reinterpret_cast<char *>(state->mirror) + first,
                            reinterpret_cast<const char *>(state->control) + first,
                            sizeof *state->control - first, cudaMemcpyDefault, state->stream);
  if (error == cudaSuccess)
    error = cudaStreamSynchronize(state->stream);
  if (error != cudaSuccess)
    return csrn_cuda_fail(ctx, error, "the work on the device");
  if (state->mirror->sticky_flags == 0)
    return CSRN_OK;
  error = forget_errors(state);
  return error == cudaSuccess ? status_of_flags(ctx, state->mirror)
                              : csrn_cuda_fail(ctx, error, "the work on the device");
}

namespace {

/* ---- The beginning of an operation --------------------------------------------------- */

enum { BEGIN_THREADS = 512, BEGIN_BLOCKS_PER_UNIT = 2 };

/* Looks at rows, of which no other kernel is sure yet: a row is sound if it begins at 0 or later, ends where
 * it begins or later, and at nnz or before. Those that are long are listed. */
__device__ void look_at_rows(const csrn_walk &w) {
  const csrn_device_matrix &A = w.A;
  const int64_t step = static_cast<int64_t>(gridDim.x) * BEGIN_THREADS;
  int64_t r = static_cast<int64_t>(blockIdx.x) * BEGIN_THREADS + threadIdx.x;
  for (int64_t last = A.n_rows > 0 ? A.n_rows : 1; r < last; r += step) {
    const int64_t begin = A.indptr[r], end = A.n_rows > 0 ? A.indptr[r + 1] : begin;
    if (begin < 0 || begin > end || end > A.nnz) {
      A.control->first.is_bad = 1;
      atomicMax(&A.control->first.bad_row, ~static_cast<unsigned long long>(r));
    } else if (w.list) {
      list_row(w, r, end - begin);
    }
  }
}

/* What csrn_context_synchronize() will say of the indptr. */
__device__ void keep_bad_row(const csrn_device_matrix &A) {
  const int64_t r = static_cast<int64_t>(~__ldcg(&A.control->first.bad_row));
  A.control->bad_row = r;
  A.control->bad_begin = A.indptr[r];
  A.control->bad_end = A.indptr[r + (A.n_rows > 0)];
}

/* NaN alone is sound beside positive finite numbers of the output type. */
__device__ bool is_target(double target, bool as_float) {
  const double value = as_float ? static_cast<double>(static_cast<float>(target)) : target;
  return isnan(target) || (value > 0.0 && isfinite(value));
}

/* By one thread, when all rows have been looked at. */
__device__ void begin_operation(const csrn_walk &w, const double *target, bool as_float, bool continues) {
  csrn_cuda_control *control = w.A.control;
  if (!continues) {
    csrn_cuda_now *now = &control->now;
    now->flags = now->refused = 0;
    now->n_zero = now->n_negative = now->n_nonfinite = now->n_excluded = 0;
    now->n_positive = now->n_candidates = now->largest = 0;
    now->n_done = 0;
  }
  /* Other blocks have written these: read past the cache of this multiprocessor. */
  control->now.left = {__ldcg(&control->first.left.n_long), __ldcg(&control->first.left.giants)};
  if (__ldcg(&control->first.is_bad)) {
    keep_bad_row(w.A);
    raise_flag(control, CSRN_FLAG_INVALID_MATRIX);
  }
  if (target && !is_target(*target, as_float))
    raise_flag(control, CSRN_FLAG_INVALID_TARGET);
  control->first = csrn_cuda_first{};
}

/* The first kernel of an operation on a matrix: the next one finds control->now as it has to be. The block
 * that is the last to have looked at its rows does that, so that nothing has to be zeroed by another launch.
 */
__global__ void __launch_bounds__(BEGIN_THREADS, BEGIN_BLOCKS_PER_UNIT)
    begin_kernel(csrn_walk w, const double *target, bool as_float, bool continues) {
  __shared__ bool is_last;
  csrn_after_previous();
  csrn_cuda_control *control = w.A.control;
  w.left = &control->first.left;
  look_at_rows(w);
  if (!continues)
    for (int64_t b = static_cast<int64_t>(blockIdx.x) * BEGIN_THREADS + threadIdx.x; b < CSRN_SELECT_BINS;
         b += static_cast<int64_t>(gridDim.x) * BEGIN_THREADS)
      control->now.histogram[b] = 0;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0)
    is_last = atomicAdd(&control->first.n_done, 1U) == gridDim.x - 1;
  __syncthreads();
  if (is_last && threadIdx.x == 0) {
    __threadfence();
    begin_operation(w, target, as_float, continues);
  }
}

csrn_status launch_begin(csrn_context *ctx, const csrn_csr *A, const double *target, bool as_float,
                         bool walks, bool continues) {
  const int64_t most = int64_t(csrn_cuda_state_of(ctx)->n_units) * BEGIN_BLOCKS_PER_UNIT;
  const csrn_launch shape = {csrn_cuda_blocks(A->n_rows + 1, BEGIN_THREADS, most), BEGIN_THREADS, 0};
  csrn_walk w;
  csrn_cuda_walk(ctx, A, &w);
  if (!walks)
    w.list = nullptr;
  return csrn_cuda_launch(ctx, CSRN_OK, shape, begin_kernel, w, target, as_float, continues);
}

} // namespace

csrn_status csrn_cuda_begin(csrn_context *ctx, const csrn_csr *A, const double *target, csrn_dtype out_type,
                            bool walks) {
  csrn_cuda_state *state = csrn_cuda_state_of(ctx);
  if (A)
    return launch_begin(ctx, A, target, out_type == CSRN_F32, walks, false);
  const cudaError_t error =
      cudaMemsetAsync(&state->control->now, 0, sizeof state->control->now, state->stream);
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "the beginning of an operation");
}

csrn_status csrn_cuda_continue(csrn_context *ctx, const csrn_csr *A, bool walks) {
  return launch_begin(ctx, A, nullptr, false, walks, true);
}

csrn_status csrn_cuda_allow_shared(csrn_context *ctx, csrn_status status, const void *kernel, size_t bytes) {
  enum { WITHOUT_ASKING = 48 << 10 };
  if (status || bytes == 0)
    return status;
  /* These are settings of a kernel on the current device. */
  cudaError_t error = cudaSuccess;
  if (bytes > WITHOUT_ASKING)
    error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error == cudaSuccess)
    error = csrn_cuda_prefer_shared(kernel);
  return error == cudaSuccess ? CSRN_OK : csrn_cuda_fail(ctx, error, "asking for shared memory");
}

/* ---- The table ----------------------------------------------------------------------- */

namespace {

/* indptr is looked at on the device, at the beginning of each operation. */
csrn_status cuda_check_rows(csrn_context *, const csrn_csr *) {
  return CSRN_OK;
}

/* One element of an index array, copied from the device. */
csrn_status read_index(csrn_context *ctx, const void *array, csrn_dtype type, int64_t i, int64_t *value) {
  const size_t size = csrn_dtype_size(type);
  unsigned char bytes[sizeof(int64_t)] = {0}; /* little-endian, as every machine with CUDA is */
  const csrn_status status =
      csrn_cuda_buffer_copy(ctx, bytes, static_cast<const char *>(array) + size * i, size);
  memcpy(value, bytes, sizeof *value);
  if (type == CSRN_I32)
    *value = static_cast<int32_t>(*value);
  return status;
}

/* The row of the element at `offset`: the last that does not begin behind it. */
csrn_status find_row(csrn_context *ctx, const csrn_csr *A, int64_t offset, int64_t *row) {
  int64_t low = 0, high = A->n_rows - 1;
  csrn_status status = CSRN_OK;
  while (low < high && !status) {
    const int64_t middle = low + (high - low) / 2;
    int64_t end = 0;
    status = read_index(ctx, A->indptr, A->indptr_type, middle + 1, &end);
    if (end <= offset)
      low = middle + 1;
    else
      high = middle;
  }
  *row = low;
  return status;
}

/* Its result is a status, so this one operation waits for the device. */
csrn_status check_indices(csrn_context *ctx, const csrn_csr *A) {
  csrn_status status = csrn_cuda_synchronize(ctx); /* what was wrong before is not this matrix's fault */
  status = status ? status : csrn_cuda_begin(ctx, A, nullptr, CSRN_NONE, false);
  status = status ? status : csrn_cuda_check_columns(ctx, A);
  status = status ? status : csrn_cuda_synchronize(ctx);
  const csrn_cuda_control *seen = csrn_cuda_state_of(ctx)->mirror;
  if (status != CSRN_INVALID_MATRIX || !(seen->sticky_flags & CSRN_FLAG_INVALID_COLUMN))
    return status;
  const int64_t offset = static_cast<int64_t>(seen->bad_index);
  int64_t value = 0, row = 0;
  status = read_index(ctx, A->indices, A->indices_type, offset, &value);
  status = status ? status : find_row(ctx, A, offset, &row);
  if (status)
    return status;
  return csrn_fail(ctx, CSRN_INVALID_MATRIX,
                   "A->indices[%" PRId64 "], in row %" PRId64 ", is %s; expected 0 to n_cols - 1 = %" PRId64,
                   offset, row, csrn_number_of(A->indices_type, value).text, A->n_cols - 1);
}

csrn_status axis_sum(csrn_context *ctx, const csrn_csr *A, csrn_axis axis, const uint8_t *excluded,
                     void *sums, csrn_dtype sums_type) {
  const bool rows = axis == CSRN_PER_ROW;
  const unsigned more = !rows      ? csrn_cuda_bit(CSRN_CUDA_COLUMNS)
                        : excluded ? csrn_cuda_bit(CSRN_CUDA_BITS)
                                   : 0;
  const uint32_t *bits = nullptr;
  csrn_status status = csrn_cuda_need_for(ctx, csrn_cuda_bit(CSRN_CUDA_LISTS) | more, A);
  status = status ? status : csrn_cuda_begin(ctx, A, nullptr, CSRN_NONE, true);
  if (rows && excluded)
    status = csrn_cuda_pack_mask(ctx, status, excluded, A->n_cols, false, &bits);
  if (status)
    return status;
  return rows ? csrn_cuda_row_sums(ctx, A, bits, sums, sums_type, false)
              : csrn_cuda_column_sums(ctx, A, excluded, sums, sums_type);
}

/* An operation with the context's device as the current one. */
template <auto Function, typename... Arguments>
csrn_status on_device(csrn_context *ctx, Arguments... arguments) {
  const csrn_device_guard guard(ctx);
  return guard.error == cudaSuccess ? Function(ctx, arguments...)
                                    : csrn_cuda_fail(ctx, guard.error, "choosing the device");
}

void buffer_release(csrn_context *ctx, void *buffer, size_t bytes) {
  const csrn_device_guard guard(ctx);
  csrn_cuda_release(ctx, buffer, bytes);
}

void host_release(csrn_context *ctx, void *buffer, size_t) {
  const csrn_device_guard guard(ctx);
  if (cudaFreeHost(buffer) != cudaSuccess)
    cudaGetLastError(); /* of a device that is lost */
}

/* The same operations for arrays in host memory; what is not one of them is never asked for. */
const csrn_backend_ops on_host_ops = {
    CSRN_BACKEND_CPU, /* where single numbers may be looked at */
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    csrn_host_check_rows,
    csrn_host_check_indices,
    on_device<csrn_host_axis_sum>,
    on_device<csrn_host_axis_scale>,
    csrn_host_median_positive,
    on_device<csrn_host_highly_expressed>,
    on_device<csrn_host_normalize>,
    on_device<csrn_host_log1p>,
    nullptr,
    nullptr,
};

} // namespace

extern "C" const csrn_backend_ops csrn_cuda_ops = {
    CSRN_BACKEND_CUDA,
    cuda_create,
    cuda_destroy,
    cuda_isa,
    cuda_threads,
    on_device<cuda_set_stream>,
    on_device<csrn_cuda_reserve>,
    on_device<csrn_cuda_synchronize>,
    on_device<csrn_cuda_buffer_allocate>,
    buffer_release,
    on_device<csrn_cuda_buffer_copy>,
    on_device<csrn_cuda_host_allocate>,
    host_release,
    on_device<csrn_host_exchange>,
    on_device<csrn_cuda_check_place>,
    &on_host_ops,
    cuda_check_rows,
    on_device<check_indices>,
    on_device<axis_sum>,
    on_device<csrn_cuda_axis_scale>,
    on_device<csrn_cuda_median_positive>,
    on_device<csrn_cuda_highly_expressed>,
    on_device<csrn_cuda_normalize>,
    on_device<csrn_cuda_log1p>,
    cuda_device_count,
    cuda_device_info,
};
