/*
 * The numeric contract in code: what makes the results the same bits on every
 * instruction set, backend, number of threads and division into calls. C and CUDA
 * sources include this header alike; docs/numerics.md explains it.
 *
 * Everything here is plain IEEE 754 arithmetic in round-to-nearest, compiled without
 * contraction of products and sums, and without -ffast-math or any part of it.
 */
#ifndef CSRN_NUMERICS_H
#define CSRN_NUMERICS_H

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) ||                     \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#error "csrnorm is not compiled with -ffast-math: its results would be others"
#endif

#include "log1p.h"

#include <stdint.h>
#include <string.h>

/* A row is summed in float64 by 32 lanes: lane k adds the elements k, k + 32, k + 64,
 * ... in order, starting from +0; the lanes are then combined by halving (16, 8, 4, 2,
 * 1). 32 is a warp of a GPU and four 512-bit registers. Rows longer than
 * CSRN_BLOCK are summed in blocks of that many elements, and the block sums added in
 * order, so that several threads can share a row. */
#define CSRN_LANES 32
#define CSRN_BLOCK 4096

/* Combines the lanes by halving; destroys them. */
static CSRN_HD inline double csrn_combine_lanes(double *lanes) {
  for (int half = CSRN_LANES / 2; half > 0; half /= 2)
    for (int k = 0; k < half; k++)
      lanes[k] += lanes[k + half];
  return lanes[0];
}

/* factor = (T)total / (T)target, one division in the output type T. */
static CSRN_HD inline float csrn_factor_f32(double total, double target) {
  return (float)total / (float)target;
}

static CSRN_HD inline double csrn_factor_f64(double total, double target) {
  return total / target;
}

/* The divisor that belongs to a factor: an empty cell stays as it is. */
static CSRN_HD inline float csrn_divisor_f32(float factor) {
  return factor == 0.0F ? 1.0F : factor;
}

static CSRN_HD inline double csrn_divisor_f64(double factor) {
  return factor == 0.0 ? 1.0 : factor;
}

/* log1p in another base: the division is done in float64 and rounded once. */
static CSRN_HD inline float csrn_rebase_f32(float value, double log_base) {
  return (float)((double)value / log_base);
}

static CSRN_HD inline double csrn_rebase_f64(double value, double log_base) {
  return value / log_base;
}

/* Column sums of reals in fixed point, so that they do not depend on the order of the
 * entries. E is the largest exponent of the matrix: |x| < 2^(E+1). A value is split
 * into two integers, x = high * 2^(E-30) + low * 2^(E-62) with |high|, |low| <= 2^31,
 * which 64 bits add up without overflow for 2^32 entries. What lies below the second
 * quantum is rounded to it (half to even), entry by entry.
 *
 * `unit` is 2^(30-E) split into two factors, since it may exceed the largest double
 * by itself. Adding 1.5 * 2^52 rounds a number below 2^51 to an integer, which is then
 * found in the low bits of the sum. */
#define CSRN_LIMB_BITS 32
#define CSRN_HIGH_BITS 30

static CSRN_HD inline int64_t csrn_round_to_integer(double x, double *rounded) {
  const double shift = 6755399441055744.0; /* 1.5 * 2^52 */
  double shifted = x + shift;
  int64_t bits, origin;
  memcpy(&bits, &shifted, sizeof bits);
  memcpy(&origin, &shift, sizeof origin);
  *rounded = shifted - shift;
  return bits - origin;
}

static CSRN_HD inline void csrn_split_limbs(double x, const double unit[2], int64_t *high, int64_t *low) {
  double scaled = x * unit[0] * unit[1];
  double rounded, rest;
  *high = csrn_round_to_integer(scaled, &rounded);
  *low = csrn_round_to_integer((scaled - rounded) * 4294967296.0, &rest);
}

#endif
