/*
 * The rest of the runtime: errors, the pretended device and what it can do, and the checks of a
 * launch.
 */
#include "simt_internal.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>

namespace simt {

static thread_local cudaError_t last_error = cudaSuccess;
static thread_local int device_of_thread;
static thread_local bool in_kernel;

cudaError_t fail(cudaError_t error) {
  return last_error = error;
}

void refuse_kernels(const char *function) {
  if (in_kernel)
    simt_fatal("%s was called from a kernel", function);
}

int current_device() {
  return device_of_thread;
}

void run_kernel(const grid &kernel, const grid *before) {
  in_kernel = true;
  run_grid(kernel, before);
  in_kernel = false;
}

static long long number_from(const char *variable, long long otherwise) {
  const char *text = getenv(variable);
  if (!text || !text[0])
    return otherwise;
  char *end;
  long long number = strtoll(text, &end, 0);
  if (*end != '\0')
    simt_fatal("%s is \"%s\"; expected a number", variable, text);
  return number;
}

/* The value of a variable that is one of some names; "" is one of them. */
template <typename Value>
static Value value_from(const char *variable, const std::map<std::string, Value> &names) {
  const char *text = getenv(variable);
  auto found = names.find(text ? text : "");
  std::string known;
  for (const auto &name : names)
    known += (known.empty() ? "" : ", ") + name.first;
  if (found == names.end())
    simt_fatal("%s is \"%s\"; expected one of: %s", variable, text, known.c_str());
  return found->second;
}

static simt_order order_from(const char *variable) {
  return value_from<simt_order>(
      variable,
      {{"", SIMT_VARIED}, {"forward", SIMT_FORWARD}, {"backward", SIMT_BACKWARD}, {"shuffle", SIMT_SHUFFLE}});
}

static simt_stream_time streams_from(const char *variable) {
  return value_from<simt_stream_time>(
      variable, {{"", SIMT_AT_ONCE}, {"late", SIMT_LATE}, {"varied", SIMT_VARIED_STREAMS}});
}

static simt_settings settings_from_environment() {
  simt_settings s = {};
  s.order = order_from("CSRN_SIMT_ORDER");
  s.seed = static_cast<uint64_t>(number_from("CSRN_SIMT_SEED", 1)) << 32;
  s.devices = static_cast<int>(number_from("CSRN_SIMT_DEVICES", 1));
  s.multiprocessors = static_cast<int>(number_from("CSRN_SIMT_MULTIPROCESSORS", 132));
  s.shared_optin = static_cast<size_t>(number_from("CSRN_SIMT_SHARED_KIB", 227)) << 10;
  s.memory = static_cast<size_t>(number_from("CSRN_SIMT_MEMORY_MIB", 8192)) << 20;
  s.fail_allocation = number_from("CSRN_SIMT_FAIL_ALLOCATION", -1);
  s.streams = streams_from("CSRN_SIMT_STREAMS");
  s.fail_launch = number_from("CSRN_SIMT_FAIL_LAUNCH", -1);
  s.fail_stream = -1;
  return s;
}

static bool is_device(int device) {
  return device >= 0 && device < simt_machine().devices;
}

/* Asked each time, since the machine's settings have no place for it. */
bool has_pools() {
  return number_from("CSRN_SIMT_POOLS", 1) != 0;
}

static size_t shared_without_asking() {
  return simt_machine().shared_optin < SHARED_DEFAULT ? simt_machine().shared_optin : SHARED_DEFAULT;
}

} // namespace simt

using namespace simt;

simt_settings &simt_machine() {
  static simt_settings settings = settings_from_environment();
  return settings;
}

/* ---- Errors -------------------------------------------------------------------------- */

const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
#define SIMT_CASE(name, value, text)                                                                         \
  case name:                                                                                                 \
    return text;
    SIMT_ERRORS(SIMT_CASE)
#undef SIMT_CASE
  }
  return "unrecognized error code";
}

const char *cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define SIMT_CASE(name, value, text)                                                                         \
  case name:                                                                                                 \
    return #name;
    SIMT_ERRORS(SIMT_CASE)
#undef SIMT_CASE
  }
  return "unrecognized error code";
}

cudaError_t cudaPeekAtLastError() {
  return last_error;
}

cudaError_t cudaGetLastError() {
  cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

/* ---- The device ------------------------------------------------------------------------ */

cudaError_t cudaGetDeviceCount(int *count) {
  refuse_kernels("cudaGetDeviceCount");
  *count = simt_machine().devices;
  return *count ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int *device) {
  *device = device_of_thread;
  return simt_machine().devices ? cudaSuccess : fail(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  refuse_kernels("cudaSetDevice");
  if (!is_device(device))
    return fail(simt_machine().devices ? cudaErrorInvalidDevice : cudaErrorNoDevice);
  device_of_thread = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
  if (!is_device(device))
    return fail(cudaErrorInvalidDevice);
  *p = {};
  snprintf(p->name, sizeof p->name, "cuda-host");
  p->totalGlobalMem = simt_machine().memory;
  p->sharedMemPerBlock = shared_without_asking();
  p->sharedMemPerBlockOptin = simt_machine().shared_optin;
  p->sharedMemPerMultiprocessor = simt_machine().shared_optin + SHARED_RESERVED;
  p->reservedSharedMemPerBlock = SHARED_RESERVED;
  p->warpSize = warpSize;
  p->maxThreadsPerBlock = MAX_THREADS;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = MAX_THREADS;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = INT32_MAX;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->regsPerBlock = 65536;
  p->major = 9;
  p->multiProcessorCount = simt_machine().multiprocessors;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxBlocksPerMultiProcessor = 32;
  p->l2CacheSize = 50 << 20;
  p->memoryBusWidth = 5120;
  p->unifiedAddressing = p->managedMemory = p->canMapHostMemory = 1;
  p->memoryPoolsSupported = has_pools();
  p->concurrentManagedAccess = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  cudaError_t error = cudaGetDeviceProperties(&p, device);
  if (error)
    return error;
  const std::map<cudaDeviceAttr, size_t> values = {
      {cudaDevAttrMaxThreadsPerBlock, MAX_THREADS},
      {cudaDevAttrMaxBlockDimX, MAX_THREADS},
      {cudaDevAttrMaxGridDimX, INT32_MAX},
      {cudaDevAttrMaxSharedMemoryPerBlock, p.sharedMemPerBlock},
      {cudaDevAttrWarpSize, WARP},
      {cudaDevAttrClockRate, 1755000},
      {cudaDevAttrMultiProcessorCount, static_cast<size_t>(p.multiProcessorCount)},
      {cudaDevAttrIntegrated, 0},
      {cudaDevAttrComputeMode, 0},
      {cudaDevAttrMemoryClockRate, 2619000},
      {cudaDevAttrGlobalMemoryBusWidth, static_cast<size_t>(p.memoryBusWidth)},
      {cudaDevAttrL2CacheSize, static_cast<size_t>(p.l2CacheSize)},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
      {cudaDevAttrUnifiedAddressing, 1},
      {cudaDevAttrComputeCapabilityMajor, static_cast<size_t>(p.major)},
      {cudaDevAttrComputeCapabilityMinor, static_cast<size_t>(p.minor)},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, p.sharedMemPerMultiprocessor},
      {cudaDevAttrManagedMemory, 1},
      {cudaDevAttrPageableMemoryAccess, 0},
      {cudaDevAttrConcurrentManagedAccess, 1},
      {cudaDevAttrCooperativeLaunch, 0},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, p.sharedMemPerBlockOptin},
      {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
      {cudaDevAttrReservedSharedMemoryPerBlock, SHARED_RESERVED},
      {cudaDevAttrMemoryPoolsSupported, static_cast<size_t>(p.memoryPoolsSupported)}};
  auto found = values.find(attribute);
  if (found == values.end())
    return fail(cudaErrorInvalidValue);
  *value = static_cast<int>(found->second);
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

/* ---- Kernels ------------------------------------------------------------------------------- */

/* Kernels that asked for more shared memory than any kernel may have, and how much. */
static size_t shared_limit(const void *kernel, const size_t *raise) {
  static auto &limits = *new std::map<const void *, size_t>;
  static std::mutex lock;
  std::lock_guard<std::mutex> hold(lock);
  if (raise)
    limits[kernel] = *raise;
  auto found = limits.find(kernel);
  return found == limits.end() ? shared_without_asking() : found->second;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value) {
  refuse_kernels("cudaFuncSetAttribute");
  if (!kernel)
    return fail(cudaErrorInvalidValue);
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
    return value >= -1 && value <= 100 ? cudaSuccess : fail(cudaErrorInvalidValue);
  const size_t bytes = static_cast<size_t>(value);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      bytes > simt_machine().shared_optin)
    return fail(cudaErrorInvalidValue);
  shared_limit(kernel, &bytes);
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *kernel) {
  *attributes = {};
  attributes->maxThreadsPerBlock = MAX_THREADS;
  attributes->numRegs = 32;
  attributes->ptxVersion = attributes->binaryVersion = 90;
  attributes->maxDynamicSharedSizeBytes = static_cast<int>(shared_limit(kernel, nullptr));
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int threads,
                                                          size_t shared) {
  if (threads < 1)
    return fail(cudaErrorInvalidValue);
  const size_t warps = (static_cast<size_t>(threads) + WARP - 1) / WARP;
  size_t n = 2048 / WARP / warps,
         by_shared = (simt_machine().shared_optin + SHARED_RESERVED) / (shared + SHARED_RESERVED);
  n = n < 32 ? n : 32;
  n = n < by_shared ? n : by_shared;
  *blocks = static_cast<unsigned>(threads) > MAX_THREADS || shared > simt_machine().shared_optin
                ? 0
                : static_cast<int>(n);
  return cudaSuccess;
}

cudaError_t simt_launch(const cudaLaunchConfig_t &config, const void *kernel, void (*body)(void *),
                        const std::shared_ptr<void> &data) {
  refuse_kernels("a launch");
  const dim3 blocks = config.gridDim, block = config.blockDim;
  cudaError_t error = check_stream(config.stream);
  if (error)
    return error;
  if (simt_machine().devices == 0)
    return fail(cudaErrorNoDevice);
  if (blocks.x < 1 || blocks.y < 1 || blocks.z < 1 || blocks.x > INT32_MAX || blocks.y > 65535 ||
      blocks.z > 65535)
    return fail(cudaErrorInvalidConfiguration);
  if (block.x < 1 || block.y < 1 || block.z < 1 || block.x > MAX_THREADS || block.y > MAX_THREADS ||
      block.z > 64 || block.x * block.y * block.z > MAX_THREADS)
    return fail(cudaErrorInvalidConfiguration);
  if (config.dynamicSmemBytes > shared_limit(kernel, nullptr))
    return fail(cudaErrorInvalidValue);
  int64_t *left = &simt_machine().fail_launch;
  if (*left >= 0 && __atomic_fetch_sub(left, 1, __ATOMIC_RELAXED) == 0)
    return fail(cudaErrorLaunchOutOfResources);
  bool overlaps = false;
  for (unsigned k = 0; k < config.numAttrs; k++)
    if (config.attrs[k].id == cudaLaunchAttributeProgrammaticStreamSerialization)
      overlaps = config.attrs[k].val.programmaticStreamSerializationAllowed != 0;
  __atomic_fetch_add(&simt_machine().early, overlaps ? 1 : 0, __ATOMIC_RELAXED);
  return enqueue_kernel(config.stream, {kernel, blocks, block, config.dynamicSmemBytes, body, data},
                        overlaps);
}
