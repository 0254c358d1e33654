/*
 * What the tests of log1p share: errors in units in the last place, a checksum over
 * results, and whether this machine runs the instruction set the test was compiled for.
 */
#ifndef CSRN_LOG1P_REFERENCE_H
#define CSRN_LOG1P_REFERENCE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* |computed - (high + low)| in units in the last place of the true value high + low. For
 * 2^e <= |true| < 2^(e+1) that is 2^(e + 1 - digits), but not below the type's smallest
 * subnormal, 2^least. high is rounded to the nearest, so computed - high is exact
 * wherever the error is small. */
static inline double error_in_ulp(double computed, double high, double low, int digits, int least) {
  int exponent;
  double mantissa = frexp(high, &exponent);
  if (fabs(mantissa) == 0.5 && low != 0 && signbit(low) != signbit(high))
    exponent--;
  int unit = exponent - digits < least ? least : exponent - digits;
  return fabs(ldexp(computed - high, -unit) - ldexp(low, -unit));
}

/* A checksum is the sum of these: it does not depend on the order, so not on threads. */
static inline uint64_t mixed_bits(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
  return bits ^ (bits >> 31);
}

/* The sum over every float32 of the bits of its log1p times the bits of itself, with one NaN for all, since
 * which NaN it is is not part of the contract. Any change of a coefficient or of the order of operations
 * changes it; test_log1p_exhaustive.c shows that the results it stands for are right. Products of 32 bits,
 * since compilers vectorize them for every instruction set. */
#define LOG1P_CHECKSUM 0xa4a061cc5d644e17U

static inline uint64_t weighted_result(uint32_t argument, uint32_t result) {
  bool is_nan = (result & 0x7fffffffU) > 0x7f800000U;
  return (uint64_t)(is_nan ? 0x7fc00000U : result) * (argument | 1U);
}

static inline bool runs_here(void) {
#if defined(__AVX512VL__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
  return true;
#endif
}

enum { EXIT_SKIPPED = 77 };

#endif
