/*
 * Memory of the device, pinned and managed memory, all from the host's. Each allocation is its own
 * malloc(), so that the address sanitizer sees its ends. Device memory is poisoned for it
 * except while a kernel, a copy or a simt_device_scope is at work.
 */
#include "simt_internal.h"

#include <cfenv>
#include <cstdlib>
#include <map>
#include <mutex>

#if SIMT_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(pointer, bytes)   ASAN_POISON_MEMORY_REGION(pointer, bytes)
#define UNPOISON(pointer, bytes) ASAN_UNPOISON_MEMORY_REGION(pointer, bytes)
#else
#define POISON(pointer, bytes)   (void)(pointer)
#define UNPOISON(pointer, bytes) (void)(pointer)
#endif

namespace simt {

struct allocation {
  size_t bytes;
  cudaMemoryType type;
  int device;
};

/* By the complement of the address, so that the leak checker does not take this for a use: what the
 * library loses is reported. The first key not below ~p belongs to the last one that begins at or before p.
 */
using allocations = std::map<uintptr_t, allocation>;

static std::recursive_mutex &lock() {
  static auto *one = new std::recursive_mutex;
  return *one;
}
using guard = std::lock_guard<std::recursive_mutex>;

static allocations &all() {
  static auto *one = new allocations;
  return *one;
}
static size_t device_bytes;
static int scopes; /* how deep in simt_device_scope */

static void *address(const allocations::value_type &entry) {
  return reinterpret_cast<void *>(~entry.first);
}

static void poison_all(bool poison) {
#if SIMT_ASAN
  for (const auto &entry : all())
    if (entry.second.type == cudaMemoryTypeDevice) {
      if (poison)
        POISON(address(entry), entry.second.bytes);
      else
        UNPOISON(address(entry), entry.second.bytes);
    }
#else
  (void)poison;
#endif
}

/* The allocation that a pointer points into, or NULL. */
static const allocations::value_type *find(const void *pointer) {
  const uintptr_t p = reinterpret_cast<uintptr_t>(pointer);
  auto entry = all().lower_bound(~p);
  return entry != all().end() && p - ~entry->first < entry->second.bytes ? &*entry : nullptr;
}

static cudaError_t allocate(void **memory, size_t bytes, cudaMemoryType type) {
  guard hold(lock());
  simt_settings &machine = simt_machine();
  if (!memory)
    return fail(cudaErrorInvalidValue);
  *memory = nullptr;
  if (machine.devices == 0)
    return fail(cudaErrorNoDevice);
  if (bytes == 0)
    return cudaSuccess;
  if (machine.fail_allocation >= 0 && machine.fail_allocation-- == 0)
    return fail(cudaErrorMemoryAllocation);
  const bool on_device = type != cudaMemoryTypeHost;
  if (on_device && (bytes > machine.memory || device_bytes > machine.memory - bytes))
    return fail(cudaErrorMemoryAllocation);
  if (posix_memalign(memory, 256, bytes) != 0) {
    *memory = nullptr;
    return fail(cudaErrorMemoryAllocation);
  }
  memset(*memory, 0xFF, bytes);
  if (on_device)
    device_bytes += bytes;
  all()[~reinterpret_cast<uintptr_t>(*memory)] = {bytes, type, current_device()};
  if (type == cudaMemoryTypeDevice && scopes == 0)
    POISON(*memory, bytes);
  return cudaSuccess;
}

static cudaError_t release(void *memory, bool pinned) {
  guard hold(lock());
  if (!memory)
    return cudaSuccess;
  auto entry = all().find(~reinterpret_cast<uintptr_t>(memory));
  if (entry == all().end() || (entry->second.type == cudaMemoryTypeHost) != pinned)
    return fail(cudaErrorInvalidValue);
  if (!pinned)
    device_bytes -= entry->second.bytes;
  UNPOISON(memory, entry->second.bytes);
  all().erase(entry);
  free(memory);
  return cudaSuccess;
}

/* Whether `bytes` bytes from a pointer are memory of the kind that a copy claims. */
static bool is_memory(const void *pointer, size_t bytes, bool may_be_host, bool may_be_device) {
  const auto *entry = find(pointer);
  if (!entry)
    return pointer && may_be_host;
  const size_t offset =
      static_cast<size_t>(static_cast<const char *>(pointer) - static_cast<char *>(address(*entry)));
  if (bytes > entry->second.bytes - offset)
    return false;
  switch (entry->second.type) {
  case cudaMemoryTypeHost:
    return may_be_host;
  case cudaMemoryTypeDevice:
    return may_be_device;
  default:
    return true;
  }
}

static cudaError_t move(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0)
    return cudaSuccess;
  const bool any = kind == cudaMemcpyDefault;
  const bool to_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyDeviceToHost;
  const bool from_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyHostToDevice;
  simt_device_scope scope;
  if (!is_memory(to, bytes, any || to_host, any || !to_host) ||
      !is_memory(from, bytes, any || from_host, any || !from_host))
    return fail(cudaErrorInvalidValue);
  memmove(to, from, bytes);
  return cudaSuccess;
}

} // namespace simt

using namespace simt;

simt_device_scope::simt_device_scope() {
  static_assert(sizeof(fenv_t) <= sizeof host_mode_, "room for the floating-point mode");
  lock().lock();
  if (scopes++ == 0)
    poison_all(false);
  fegetenv(reinterpret_cast<fenv_t *>(host_mode_));
  fesetenv(FE_DFL_ENV);
}

simt_device_scope::~simt_device_scope() {
  fesetenv(reinterpret_cast<fenv_t *>(host_mode_));
  if (--scopes == 0)
    poison_all(true);
  lock().unlock();
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
  refuse_kernels("cudaMalloc");
  return allocate(memory, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaMallocAsync(void **memory, size_t bytes, cudaStream_t stream) {
  refuse_kernels("cudaMallocAsync");
  cudaError_t error = check_stream(stream);
  return error ? error : allocate(memory, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaMallocHost(void **memory, size_t bytes, unsigned) {
  refuse_kernels("cudaMallocHost");
  return allocate(memory, bytes, cudaMemoryTypeHost);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
  refuse_kernels("cudaHostAlloc");
  return allocate(memory, bytes, cudaMemoryTypeHost);
}

cudaError_t cudaMallocManaged(void **memory, size_t bytes, unsigned) {
  refuse_kernels("cudaMallocManaged");
  return allocate(memory, bytes, cudaMemoryTypeManaged);
}

cudaError_t cudaFree(void *memory) {
  refuse_kernels("cudaFree");
  return release(memory, false);
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
  refuse_kernels("cudaFreeAsync");
  cudaError_t error = check_stream(stream);
  return error ? error : release(memory, false);
}

cudaError_t cudaFreeHost(void *memory) {
  refuse_kernels("cudaFreeHost");
  return release(memory, true);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  refuse_kernels("cudaMemcpy");
  return move(to, from, bytes, kind);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  refuse_kernels("cudaMemcpyAsync");
  cudaError_t error = check_stream(stream);
  return error ? error : move(to, from, bytes, kind);
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes) {
  refuse_kernels("cudaMemset");
  simt_device_scope scope;
  if (bytes == 0)
    return cudaSuccess;
  if (!is_memory(memory, bytes, find(memory) != nullptr, true))
    return fail(cudaErrorInvalidValue);
  memset(memory, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
  cudaError_t error = check_stream(stream);
  return error ? error : cudaMemset(memory, value, bytes);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total) {
  refuse_kernels("cudaMemGetInfo");
  guard hold(lock());
  *total = simt_machine().memory;
  *free_bytes = *total > device_bytes ? *total - device_bytes : 0;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
  refuse_kernels("cudaPointerGetAttributes");
  guard hold(lock());
  *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, nullptr};
  if (const auto *entry = find(pointer)) {
    void *p = const_cast<void *>(pointer);
    const cudaMemoryType type = entry->second.type;
    *attributes = {type, entry->second.device, p, type == cudaMemoryTypeDevice ? nullptr : p};
  }
  return cudaSuccess;
}
