/*
 * Atomic functions, with the overloads that the device has. One thread runs at a time, so
 * they are plain reads and writes.
 */
#ifndef SIMT_ATOMICS_H
#define SIMT_ATOMICS_H

#include <string.h>

#define SIMT_ATOMIC(name, type, update)                                                                      \
  static inline type name(type *address, type value) {                                                       \
    const type old = *address;                                                                               \
    *address = update;                                                                                       \
    return old;                                                                                              \
  }                                                                                                          \
  static inline type name##_block(type *address, type value) {                                               \
    return name(address, value);                                                                             \
  }                                                                                                          \
  static inline type name##_system(type *address, type value) {                                              \
    return name(address, value);                                                                             \
  }

/* Integers wrap around. */
SIMT_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value)))
SIMT_ATOMIC(atomicAdd, unsigned, old + value)
SIMT_ATOMIC(atomicAdd, unsigned long long, old + value)
SIMT_ATOMIC(atomicAdd, float, old + value)
SIMT_ATOMIC(atomicAdd, double, old + value)
SIMT_ATOMIC(atomicSub, int, static_cast<int>(static_cast<unsigned>(old) - static_cast<unsigned>(value)))
SIMT_ATOMIC(atomicSub, unsigned, old - value)
SIMT_ATOMIC(atomicExch, float, value)
SIMT_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
SIMT_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)

#define SIMT_ATOMIC_EXCHANGE(type)                                                                           \
  SIMT_ATOMIC(atomicExch, type, value)                                                                       \
  static inline type atomicCAS(type *address, type compare, type value) {                                    \
    const type old = *address;                                                                               \
    if (old == compare)                                                                                      \
      *address = value;                                                                                      \
    return old;                                                                                              \
  }
SIMT_ATOMIC_EXCHANGE(int)
SIMT_ATOMIC_EXCHANGE(unsigned)
SIMT_ATOMIC_EXCHANGE(unsigned long long)

#define SIMT_ATOMIC_BITS(type)                                                                               \
  SIMT_ATOMIC(atomicAnd, type, old &value)                                                                   \
  SIMT_ATOMIC(atomicOr, type, old | value)                                                                   \
  SIMT_ATOMIC(atomicXor, type, old ^ value)
SIMT_ATOMIC_BITS(int)
SIMT_ATOMIC_BITS(unsigned)
SIMT_ATOMIC_BITS(unsigned long long)

#define SIMT_ATOMIC_EXTREMA(type)                                                                            \
  SIMT_ATOMIC(atomicMin, type, value < old ? value : old)                                                    \
  SIMT_ATOMIC(atomicMax, type, old < value ? value : old)
SIMT_ATOMIC_EXTREMA(int)
SIMT_ATOMIC_EXTREMA(unsigned)
SIMT_ATOMIC_EXTREMA(long long)
SIMT_ATOMIC_EXTREMA(unsigned long long)

#endif
