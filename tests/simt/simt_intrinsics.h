/*
 * Intrinsic functions of the device that concern one thread alone. Those that round do it
 * to nearest; __fmaf_rn and __fma_rn are fused, and nothing else may be: compile with
 * -ffp-contract=off.
 */
#ifndef SIMT_INTRINSICS_H
#define SIMT_INTRINSICS_H

#include "simt.h"

#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <math.h>
#include <type_traits>

#undef __builtin_assume
#define __builtin_assume(condition)                                                                          \
  ((condition) ? (void)0 : simt_fatal("__builtin_assume(%s) does not hold", #condition))

[[noreturn]] static inline void __trap() {
  simt_fatal("__trap()");
}
static inline void __threadfence_block() {}
static inline void __threadfence() {}
static inline void __threadfence_system() {}

/* ---- Bits ------------------------------------------------------------------- */

static inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x) {
  return __builtin_popcountll(x);
}
static inline int __ffs(int x) {
  return __builtin_ffs(x);
}
static inline int __ffsll(long long x) {
  return __builtin_ffsll(x);
}
static inline int __clz(int x) {
  return x ? __builtin_clz(static_cast<unsigned>(x)) : 32;
}
static inline int __clzll(long long x) {
  return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64;
}
static inline unsigned long long __brevll(unsigned long long x) {
  unsigned long long reversed = 0;
  for (int i = 0; i < 64; i++)
    reversed |= (x >> i & 1) << (63 - i);
  return reversed;
}
static inline unsigned __brev(unsigned x) {
  return static_cast<unsigned>(__brevll(x) >> 32);
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
__extension__ static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

template <typename To, typename From> static inline To simt_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits of one size");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
static inline int __float_as_int(float x) {
  return simt_bits<int>(x);
}
static inline unsigned __float_as_uint(float x) {
  return simt_bits<unsigned>(x);
}
static inline float __int_as_float(int x) {
  return simt_bits<float>(x);
}
static inline float __uint_as_float(unsigned x) {
  return simt_bits<float>(x);
}
static inline long long __double_as_longlong(double x) {
  return simt_bits<long long>(x);
}
static inline double __longlong_as_double(long long x) {
  return simt_bits<double>(x);
}
static inline int __double2hiint(double x) {
  return static_cast<int>(simt_bits<long long>(x) >> 32);
}
static inline int __double2loint(double x) {
  return static_cast<int>(simt_bits<unsigned long long>(x) & 0xffffffffU);
}
static inline double __hiloint2double(int high, int low) {
  return simt_bits<double>(static_cast<unsigned long long>(static_cast<unsigned>(high)) << 32 |
                           static_cast<unsigned>(low));
}

/* ---- Arithmetic ------------------------------------------------------------- */

#define SIMT_ARITHMETIC(type, prefix)                                                                        \
  static inline type __##prefix##add_rn(type a, type b) {                                                    \
    return a + b;                                                                                            \
  }                                                                                                          \
  static inline type __##prefix##sub_rn(type a, type b) {                                                    \
    return a - b;                                                                                            \
  }                                                                                                          \
  static inline type __##prefix##mul_rn(type a, type b) {                                                    \
    return a * b;                                                                                            \
  }                                                                                                          \
  static inline type __##prefix##div_rn(type a, type b) {                                                    \
    return a / b;                                                                                            \
  }                                                                                                          \
  static inline type __##prefix##rcp_rn(type a) {                                                            \
    return 1 / a;                                                                                            \
  }                                                                                                          \
  static inline type __##prefix##sqrt_rn(type a) {                                                           \
    return std::sqrt(a);                                                                                     \
  }
SIMT_ARITHMETIC(float, f)
SIMT_ARITHMETIC(double, d)
static inline float __fmaf_rn(float a, float b, float c) {
  return fmaf(a, b, c);
}
static inline double __fma_rn(double a, double b, double c) {
  return fma(a, b, c);
}

#define SIMT_CONVERSION(name, from, to)                                                                      \
  static inline to __##name##_rn(from x) {                                                                   \
    return static_cast<to>(x);                                                                               \
  }
SIMT_CONVERSION(int2float, int, float)
SIMT_CONVERSION(uint2float, unsigned, float)
SIMT_CONVERSION(ll2float, long long, float)
SIMT_CONVERSION(ull2float, unsigned long long, float)
SIMT_CONVERSION(ll2double, long long, double)
SIMT_CONVERSION(ull2double, unsigned long long, double)
SIMT_CONVERSION(double2float, double, float)
static inline double __int2double_rn(int x) {
  return x;
}
static inline double __uint2double_rn(unsigned x) {
  return x;
}

/* As on the device, and nothing for two different types that it has no overload for. */
#define SIMT_MIN_MAX(type)                                                                                   \
  static inline type min(type a, type b) {                                                                   \
    return b < a ? b : a;                                                                                    \
  }                                                                                                          \
  static inline type max(type a, type b) {                                                                   \
    return a < b ? b : a;                                                                                    \
  }
SIMT_MIN_MAX(int)
SIMT_MIN_MAX(unsigned)
SIMT_MIN_MAX(long)
SIMT_MIN_MAX(unsigned long)
SIMT_MIN_MAX(long long)
SIMT_MIN_MAX(unsigned long long)
/* The device's are fmin and fmax: a number wins over NaN. */
static inline float min(float a, float b) {
  return fminf(a, b);
}
static inline float max(float a, float b) {
  return fmaxf(a, b);
}
static inline double min(double a, double b) {
  return fmin(a, b);
}
static inline double max(double a, double b) {
  return fmax(a, b);
}

/* ---- Loads and stores with a hint for the caches ------------------------------ */

#define SIMT_LOAD(name)                                                                                      \
  template <typename T> static inline T name(const T *from) {                                                \
    return *from;                                                                                            \
  }
SIMT_LOAD(__ldg)
SIMT_LOAD(__ldca)
SIMT_LOAD(__ldcg)
SIMT_LOAD(__ldcs)
SIMT_LOAD(__ldlu)
SIMT_LOAD(__ldcv)

#define SIMT_STORE(name)                                                                                     \
  template <typename T> static inline void name(T *to, typename std::common_type<T>::type value) {           \
    *to = value;                                                                                             \
  }
SIMT_STORE(__stwb)
SIMT_STORE(__stcg)
SIMT_STORE(__stcs)
SIMT_STORE(__stwt)

#endif
