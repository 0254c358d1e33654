/*
 * What the threads of a block or warp do together. A thread that calls one of these waits
 * until all that it concerns have called it; the last one computes the result of each.
 */
#ifndef SIMT_WARP_H
#define SIMT_WARP_H

#include "simt_intrinsics.h"

/* One list, so that messages can name what a thread waits at. */
#define SIMT_COLLECTIVES(X)                                                                                  \
  X(__syncthreads)                                                                                           \
  X(__syncthreads_or)                                                                                        \
  X(__syncthreads_and)                                                                                       \
  X(__syncthreads_count)                                                                                     \
  X(__syncwarp)                                                                                              \
  X(__shfl_sync)                                                                                             \
  X(__shfl_up_sync)                                                                                          \
  X(__shfl_down_sync)                                                                                        \
  X(__shfl_xor_sync)                                                                                         \
  X(__any_sync)                                                                                              \
  X(__all_sync)                                                                                              \
  X(__ballot_sync)                                                                                           \
  X(__match_any_sync)                                                                                        \
  X(__reduce_add_sync)                                                                                       \
  X(__reduce_min_sync)                                                                                       \
  X(__reduce_max_sync)                                                                                       \
  X(__reduce_and_sync)                                                                                       \
  X(__reduce_or_sync)                                                                                        \
  X(__reduce_xor_sync)

enum simt_collective {
#define SIMT_ENUMERATOR(name) SIMT##name,
  SIMT_COLLECTIVES(SIMT_ENUMERATOR)
#undef SIMT_ENUMERATOR
      SIMT_N_COLLECTIVES
};

/* Each returns this thread's result; `bytes` is the size of the value. */
int simt_block_collective(simt_collective what, int predicate);
uint64_t simt_warp_collective(simt_collective what, unsigned mask, uint64_t value, unsigned bytes);
uint64_t simt_shuffle(simt_collective what, unsigned mask, uint64_t value, unsigned bytes, int argument,
                      int width);

unsigned __activemask();
/* Lets the other threads run first: what a thread that polls for another has to call. */
void __nanosleep(unsigned nanoseconds);

static inline void __syncthreads() {
  simt_block_collective(SIMT__syncthreads, 0);
}
static inline int __syncthreads_or(int predicate) {
  return simt_block_collective(SIMT__syncthreads_or, predicate);
}
static inline int __syncthreads_and(int predicate) {
  return simt_block_collective(SIMT__syncthreads_and, predicate);
}
static inline int __syncthreads_count(int predicate) {
  return simt_block_collective(SIMT__syncthreads_count, predicate);
}

static inline void __syncwarp(unsigned mask = 0xffffffffU) {
  simt_warp_collective(SIMT__syncwarp, mask, 0, 0);
}
static inline int __any_sync(unsigned mask, int predicate) {
  return static_cast<int>(simt_warp_collective(SIMT__any_sync, mask, predicate != 0, 4));
}
static inline int __all_sync(unsigned mask, int predicate) {
  return static_cast<int>(simt_warp_collective(SIMT__all_sync, mask, predicate != 0, 4));
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return static_cast<unsigned>(simt_warp_collective(SIMT__ballot_sync, mask, predicate != 0, 4));
}

#define SIMT_SHUFFLE(name, type, parameter)                                                                  \
  static inline type name(unsigned mask, type value, parameter argument, int width = warpSize) {             \
    uint64_t bits = 0;                                                                                       \
    memcpy(&bits, &value, sizeof value);                                                                     \
    bits = simt_shuffle(SIMT##name, mask, bits, sizeof value, static_cast<int>(argument), width);            \
    memcpy(&value, &bits, sizeof value);                                                                     \
    return value;                                                                                            \
  }
#define SIMT_SHUFFLES(type)                                                                                  \
  SIMT_SHUFFLE(__shfl_sync, type, int)                                                                       \
  SIMT_SHUFFLE(__shfl_up_sync, type, unsigned)                                                               \
  SIMT_SHUFFLE(__shfl_down_sync, type, unsigned)                                                             \
  SIMT_SHUFFLE(__shfl_xor_sync, type, int)                                                                   \
  static inline unsigned __match_any_sync(unsigned mask, type value) {                                       \
    uint64_t bits = 0;                                                                                       \
    memcpy(&bits, &value, sizeof value);                                                                     \
    return static_cast<unsigned>(simt_warp_collective(SIMT__match_any_sync, mask, bits, sizeof value));      \
  }
SIMT_SHUFFLES(int)
SIMT_SHUFFLES(unsigned)
SIMT_SHUFFLES(long)
SIMT_SHUFFLES(unsigned long)
SIMT_SHUFFLES(long long)
SIMT_SHUFFLES(unsigned long long)
SIMT_SHUFFLES(float)
SIMT_SHUFFLES(double)

/* Values are compared and combined as 64-bit integers of the same sign. */
#define SIMT_REDUCE(name, type)                                                                              \
  static inline type name(unsigned mask, type value) {                                                       \
    return static_cast<type>(                                                                                \
        simt_warp_collective(SIMT##name, mask, static_cast<uint64_t>(static_cast<int64_t>(value)), 4));      \
  }
SIMT_REDUCE(__reduce_add_sync, unsigned)
SIMT_REDUCE(__reduce_min_sync, unsigned)
SIMT_REDUCE(__reduce_max_sync, unsigned)
SIMT_REDUCE(__reduce_add_sync, int)
SIMT_REDUCE(__reduce_min_sync, int)
SIMT_REDUCE(__reduce_max_sync, int)
SIMT_REDUCE(__reduce_and_sync, unsigned)
SIMT_REDUCE(__reduce_or_sync, unsigned)
SIMT_REDUCE(__reduce_xor_sync, unsigned)

#endif
