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
  machine.allocations++;
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

/* Whether the host may not touch it before the stream has. */
static bool is_pageable(const void *pointer) {
  guard hold(lock());
  return !find(pointer);
}

static cudaError_t check_copy(const void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  const bool any = kind == cudaMemcpyDefault;
  const bool to_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyDeviceToHost;
  const bool from_host = kind == cudaMemcpyHostToHost || kind == cudaMemcpyHostToDevice;
  guard hold(lock());
  if (bytes && (!is_memory(to, bytes, any || to_host, any || !to_host) ||
                !is_memory(from, bytes, any || from_host, any || !from_host)))
    return fail(cudaErrorInvalidValue);
  return cudaSuccess;
}

static cudaError_t move(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  simt_device_scope scope;
  const cudaError_t error = check_copy(to, from, bytes, kind); /* it may have been given back */
  if (error || !bytes)
    return error;
  const auto *target = find(to), *origin = find(from);
  if (target && target->second.type == cudaMemoryTypeDevice &&
      !(origin && origin->second.type == cudaMemoryTypeDevice))
    simt_machine().sent += static_cast<int64_t>(bytes);
  memmove(to, from, bytes);
  return error;
}

} // namespace simt

using namespace simt;

simt_device_scope::simt_device_scope() {
  static_assert(sizeof(fenv_t) <= sizeof host_mode_, "room for the floating-point mode");
  finish_kernels(); /* what it has to write may be looked at now */
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

static cudaError_t allocate_now(const char *function, void **memory, size_t bytes, cudaMemoryType type) {
  refuse_kernels(function);
  const cudaError_t error = refuse_unsafe();
  return error ? error : allocate(memory, bytes, type);
}

cudaError_t cudaMalloc(void **memory, size_t bytes) {
  return allocate_now("cudaMalloc", memory, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaMallocAsync(void **memory, size_t bytes, cudaStream_t stream) {
  refuse_kernels("cudaMallocAsync");
  if (!has_pools())
    return fail(cudaErrorNotSupported);
  cudaError_t error = refuse_captured(stream);
  return error ? error : allocate(memory, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device) {
  *pool = reinterpret_cast<cudaMemPool_t>(static_cast<uintptr_t>(device) + 1);
  return device >= 0 && device < simt_machine().devices ? cudaSuccess : fail(cudaErrorInvalidDevice);
}

cudaError_t cudaMallocFromPoolAsync(void **memory, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  const uintptr_t number = reinterpret_cast<uintptr_t>(pool);
  if (number == 0 || number > static_cast<uintptr_t>(simt_machine().devices))
    return fail(cudaErrorInvalidValue);
  return cudaMallocAsync(memory, bytes, stream);
}

cudaError_t cudaMallocHost(void **memory, size_t bytes, unsigned) {
  return allocate_now("cudaMallocHost", memory, bytes, cudaMemoryTypeHost);
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned) {
  return allocate_now("cudaHostAlloc", memory, bytes, cudaMemoryTypeHost);
}

cudaError_t cudaMallocManaged(void **memory, size_t bytes, unsigned) {
  return allocate_now("cudaMallocManaged", memory, bytes, cudaMemoryTypeManaged);
}

cudaError_t cudaFree(void *memory) {
  refuse_kernels("cudaFree");
  const cudaError_t error = refuse_unsafe();
  if (error)
    return error;
  wait_for_device();
  return release(memory, false);
}

cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
  refuse_kernels("cudaFreeAsync");
  if (!has_pools())
    return fail(cudaErrorNotSupported);
  const cudaError_t error = refuse_captured(stream);
  if (error)
    return error;
  if (memory && is_pageable(memory))
    return fail(cudaErrorInvalidValue);
  return enqueue(stream, [memory] { return release(memory, false); });
}

/* Unlike cudaFree() it waits for nothing: who has copies under way to what is given back is found out. */
cudaError_t cudaFreeHost(void *memory) {
  refuse_kernels("cudaFreeHost");
  const cudaError_t error = refuse_unsafe();
  return error ? error : release(memory, true);
}

/* Copies on a stream are looked at when they are enqueued; those of pageable memory are also done then. */
static cudaError_t copy_on(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream,
                           bool waits) {
  const cudaError_t error = check_copy(to, from, bytes, kind);
  if (error)
    return error;
  waits = waits || is_pageable(to) || is_pageable(from);
  return enqueue(
      stream, [=] { return move(to, from, bytes, kind); }, waits);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
  refuse_kernels("cudaMemcpy");
  const cudaError_t error = refuse_unsafe();
  return error ? error : copy_on(to, from, bytes, kind, nullptr, true);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  refuse_kernels("cudaMemcpyAsync");
  return copy_on(to, from, bytes, kind, stream, false);
}

static cudaError_t fill(void *memory, int value, size_t bytes) {
  simt_device_scope scope;
  if (bytes == 0)
    return cudaSuccess;
  if (!is_memory(memory, bytes, find(memory) != nullptr, true))
    return fail(cudaErrorInvalidValue);
  memset(memory, value, bytes);
  return cudaSuccess;
}

/* Of what is no memory of the device at once, else in the order of the stream. */
static cudaError_t set_memory(void *memory, int value, size_t bytes, cudaStream_t stream) {
  {
    simt_device_scope scope;
    if (bytes && !is_memory(memory, bytes, find(memory) != nullptr, true))
      return fail(cudaErrorInvalidValue);
  }
  return enqueue(stream, [=] { return fill(memory, value, bytes); });
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes) {
  refuse_kernels("cudaMemset");
  const cudaError_t error = refuse_unsafe();
  return error ? error : set_memory(memory, value, bytes, nullptr);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream) {
  return set_memory(memory, value, bytes, stream);
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
