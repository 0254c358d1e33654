/*
 * Copies from global to shared memory that a block waits for together: by the bulk copy engine
 * from compute capability 9.0 on (one thread asks for all of it), asynchronously by packs from
 * 8.0 on, and through registers before that.
 */
#ifndef CSRN_CUDA_COPY_H
#define CSRN_CUDA_COPY_H

#include "cuda_device.h"

/* The unit of these copies, at multiples of which both sides begin. */
enum { COPY_UNIT = 16 };

/* What is in no whole unit: one element of so many bytes, by this thread alone; see csrn_load<true>(). */
__device__ __forceinline__ void csrn_copy_element(void *to, const void *from, int size) {
  if (size == 8)
    *static_cast<uint64_t *>(to) = csrn_load<true>(static_cast<const uint64_t *>(from));
  else if (size == 4)
    *static_cast<uint32_t *>(to) = csrn_load<true>(static_cast<const uint32_t *>(from));
  else if (size == 2)
    *static_cast<uint16_t *>(to) = csrn_load<true>(static_cast<const uint16_t *>(from));
  else
    *static_cast<uint8_t *>(to) = csrn_load<true>(static_cast<const uint8_t *>(from));
}

#if defined(__CUDA_ARCH__)
__device__ __forceinline__ unsigned csrn_shared_address(const void *p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
#endif

/* Asks for bytes of global memory to be brought to the second-level cache, as far as they are whole units. */
__device__ __forceinline__ void csrn_prefetch(const void *from, int bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  const int before = static_cast<int>(-reinterpret_cast<uintptr_t>(from) & (COPY_UNIT - 1));
  const int whole = (bytes - before) / COPY_UNIT * COPY_UNIT;
  if (whole > 0)
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(
                     __cvta_generic_to_global(static_cast<const char *>(from) + before)),
                 "r"(whole)
                 : "memory");
#endif
  (void)from, (void)bytes;
}

/* Where a block waits for its copies, those of one expect() after those of another. In shared memory; all
 * threads of the block call the same functions. */
struct csrn_arrival {
  unsigned long long barrier; /* an mbarrier object, one arrival for each phase */

  /* Before the first copy, and followed by a barrier of the block. */
  __device__ __forceinline__ void prepare() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (threadIdx.x == 0) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(csrn_shared_address(&barrier)) : "memory");
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
#endif
  }

  /* What is begun next, up to wait(), is n units in all. */
  __device__ __forceinline__ void expect(int n) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (threadIdx.x == 0)
      asm volatile(
          "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(csrn_shared_address(&barrier)),
          "r"(static_cast<unsigned>(n) * COPY_UNIT)
          : "memory");
#endif
    (void)n;
  }

  /* Begins to copy n units. */
  __device__ __forceinline__ void copy(void *to, const void *from, int n) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    if (threadIdx.x == 0 && n > 0)
      asm volatile(
          "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
              csrn_shared_address(to)),
          "l"(__cvta_generic_to_global(from)), "r"(static_cast<unsigned>(n) * COPY_UNIT),
          "r"(csrn_shared_address(&barrier))
          : "memory");
#else
    const auto *source = static_cast<const uint4 *>(from);
    auto *target = static_cast<uint4 *>(to);
    const int step = static_cast<int>(blockDim.x);
#pragma unroll 4
    for (int u = static_cast<int>(threadIdx.x); u < n; u += step)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(csrn_shared_address(target + u)),
                   "l"(__cvta_generic_to_global(source + u))
                   : "memory");
#else
      target[u] = source[u];
#endif
#endif
  }

  /* Waits until what was begun after expect() number `phase` of this block has come; what the threads have
   * stored themselves meanwhile can be seen by all then, too. */
  __device__ __forceinline__ void wait(unsigned phase) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    unsigned done = 0;
    while (!done)
      asm volatile("{\n\t"
                   ".reg .pred arrived;\n\t"
                   "mbarrier.try_wait.parity.shared::cta.b64 arrived, [%1], %2;\n\t"
                   "selp.u32 %0, 1, 0, arrived;\n\t"
                   "}"
                   : "=r"(done)
                   : "r"(csrn_shared_address(&barrier)), "r"(phase & 1)
                   : "memory");
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;\n\tcp.async.wait_group 0;" ::: "memory");
#endif
    (void)phase;
    __syncthreads();
  }

  /* To be called when all threads are done with what has come, before the next expect(). */
  __device__ __forceinline__ void release() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); /* what they stored there comes before it */
#endif
    __syncthreads();
  }
};

#endif
