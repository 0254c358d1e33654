/*
 * What becomes of one element: a multiplication or division by the factor of its row or
 * column, then log1p. The arithmetic is that of numerics.h; two faster ways give the same
 * bits and are taken where they hold.
 *
 * Division: x / y from r = 1 / y rounded: q = x * r is within 1.5 ulp, the remainder x - q * y
 * is exact, and q + remainder * r rounds correctly (Brisebarre, Muller and Raina, "Accelerating
 * correctly rounded floating-point division when the divisor is known in advance", 2004). That
 * holds as long as nothing overflows or underflows, for which |y| in [2^-40, 2^40] and x in
 * [2^-63, 2^65) is more than enough. Other x (zeros too, and negative ones) are divided.
 *
 * Logarithms of counts: where a warp works on one row, it has in shared memory what the counts
 * below 64 of this row become, computed by the very formula. Over 99 % of the counts of a
 * typical matrix are looked up there.
 */
#ifndef CSRN_CUDA_SCALE_H
#define CSRN_CUDA_SCALE_H

#include "cuda_device.h"

#include <cmath>

enum csrn_cuda_step { CSRN_CUDA_NONE, CSRN_CUDA_MULTIPLY, CSRN_CUDA_DIVIDE };

struct csrn_cuda_how {
  csrn_cuda_step step;
  bool log1p;
  double log_base; /* the natural logarithm of the base; 0: natural */
};

/* Rows shorter than this do not earn back the filling of half of the table, or of all. */
enum { TABLE_SIZE = 64, TABLE_MIN_ROW = 128, TABLE_ALL_ROW = 384, TABLE_MOST_WARPS = 8 };

/* log1p of the contract for either type, in the base of `how`. */
__device__ __forceinline__ float take_log1p(const csrn_cuda_how &how, float x) {
  const float y = csrn_log1p_f32(x);
  return how.log_base != 0.0 ? csrn_rebase_f32(y, how.log_base) : y;
}

__device__ __forceinline__ double take_log1p(const csrn_cuda_how &how, double x) {
  const double y = csrn_log1p_f64(x);
  return how.log_base != 0.0 ? csrn_rebase_f64(y, how.log_base) : y;
}

/* The operation for the elements of one row: C is computed in, O is stored. */
template <typename C, typename O> struct csrn_scaler {
  C factor;

  __device__ __forceinline__ void set(const csrn_cuda_how &, C y) {
    factor = y;
  }
  __device__ __forceinline__ C divide(C x) const {
    return x / factor;
  }
};

template <> struct csrn_scaler<float, float> {
  float factor, reciprocal;
  bool is_safe;

  __device__ __forceinline__ void set(const csrn_cuda_how &how, float y) {
    factor = y;
    const float magnitude = fabsf(y);
    is_safe = magnitude >= 0x1p-40F && magnitude <= 0x1p40F;
    reciprocal = how.step == CSRN_CUDA_MULTIPLY ? 0.0F : __fdiv_rn(1.0F, y);
  }

  /* The quotient, where is_safe and is_near(x). */
  __device__ __forceinline__ float divide_near(float x) const {
    const float q = __fmul_rn(x, reciprocal);
    return __fmaf_rn(__fmaf_rn(-q, factor, x), reciprocal, q);
  }
  /* The bits of 2^-63, as an integer, are subtracted: the 2^30 bit patterns up to 2^65 remain below 2^30. */
  static __device__ __forceinline__ bool is_near(float x) {
    return __float_as_uint(x) - 0x20000000U < 0x40000000U;
  }
  __device__ __forceinline__ float divide(float x) const {
    return is_safe && is_near(x) ? divide_near(x) : __fdiv_rn(x, factor);
  }
};

/* What an element with value x becomes. */
template <typename C, typename O>
__device__ __forceinline__ O scale_element(const csrn_cuda_how &how, const csrn_scaler<C, O> &scaler, C x) {
  C y = x;
  if (how.step == CSRN_CUDA_DIVIDE)
    y = scaler.divide(x);
  else if (how.step == CSRN_CUDA_MULTIPLY)
    y = x * scaler.factor;
  O result = static_cast<O>(y);
  return how.log1p ? take_log1p(how, result) : result;
}

/* The count that x is, if it is one below 64; else 64 or more. -0 is none. */
__device__ __forceinline__ unsigned small_count(float x) {
  const float shifted = x + 0x1p23F; /* an integer below 2^23 stands in its low bits */
  const unsigned count = __float_as_uint(shifted) - 0x4b000000U;
  return __float_as_uint(shifted - 0x1p23F) == __float_as_uint(x) ? count : 64U;
}

/* What is done often has code of its own, in which nothing is left to decide for each element. */
enum csrn_cuda_mode { CSRN_CUDA_ANY, CSRN_CUDA_DIVIDED, CSRN_CUDA_LOGARITHM };

/* The operation for the elements of a row. WARP: whole warps work on the row, and its length was said to
 * set(), which they called together. */
template <typename C, typename O> struct csrn_row_scaler {
  csrn_scaler<C, O> scaler;

  __device__ __forceinline__ void set(const csrn_cuda_how &how, C y, int64_t) {
    scaler.set(how, y);
  }
  static __device__ __forceinline__ csrn_cuda_mode mode(const csrn_cuda_how &) {
    return CSRN_CUDA_ANY;
  }
  template <csrn_cuda_mode MODE, bool WARP, int N>
  __device__ __forceinline__ void apply(const csrn_cuda_how &how, const C (&x)[N], O (&y)[N]) const {
#pragma unroll
    for (int j = 0; j < N; j++)
      y[j] = scale_element(how, scaler, x[j]);
  }
};

/* What counts become, in the table of this warp. */
__device__ __forceinline__ float *table_of_warp() {
  __shared__ float tables[TABLE_MOST_WARPS][TABLE_SIZE];
  return tables[threadIdx.x / CSRN_WARP];
}

/* In float32, with the table where there is one. */
template <> struct csrn_row_scaler<float, float> {
  csrn_scaler<float, float> scaler;
  unsigned limit; /* of the counts in the table; 0: none */

  __device__ __forceinline__ void set(const csrn_cuda_how &how, float y, int64_t n) {
    scaler.set(how, y);
    limit = mode(how) != CSRN_CUDA_LOGARITHM || n < TABLE_MIN_ROW ? 0
            : n < TABLE_ALL_ROW                                   ? TABLE_SIZE / 2
                                                                  : TABLE_SIZE;
    if (limit == 0)
      return;
    float *table = table_of_warp();
    __syncwarp(); /* the row before is done */
    for (unsigned count = threadIdx.x % CSRN_WARP; count < limit; count += CSRN_WARP)
      table[count] = logarithm(static_cast<float>(count));
    __syncwarp();
  }

  /* Without a factor, the scaler divides by 1. */
  static __device__ __forceinline__ csrn_cuda_mode mode(const csrn_cuda_how &how) {
    if (how.step == CSRN_CUDA_MULTIPLY || (how.log1p && how.log_base != 0.0))
      return CSRN_CUDA_ANY;
    return how.log1p ? CSRN_CUDA_LOGARITHM : CSRN_CUDA_DIVIDED;
  }

  template <int N> __device__ __forceinline__ void divide(const float (&x)[N], float (&y)[N]) const {
    bool near = scaler.is_safe;
#pragma unroll
    for (int j = 0; j < N; j++) {
      y[j] = scaler.divide_near(x[j]);
      near = near && scaler.is_near(x[j]);
    }
    if (!near)
#pragma unroll
      for (int j = 0; j < N; j++)
        y[j] = __fdiv_rn(x[j], scaler.factor);
  }

  __device__ __forceinline__ float logarithm(float x) const {
    return csrn_log1p_f32(scaler.divide(x));
  }

  template <int N> __device__ __forceinline__ void look_up(const float (&x)[N], float (&y)[N]) const {
    const float *table = table_of_warp();
    bool all = true;
#pragma unroll
    for (int j = 0; j < N; j++) {
      const unsigned count = small_count(x[j]);
      const bool hit = count < limit;
      if (hit)
        y[j] = table[count];
      all = all && hit;
    }
    if (!all)
#pragma unroll
      for (int j = 0; j < N; j++)
        if (small_count(x[j]) >= limit)
          y[j] = logarithm(x[j]);
  }

  template <csrn_cuda_mode MODE, bool WARP, int N>
  __device__ __forceinline__ void apply(const csrn_cuda_how &how, const float (&x)[N], float (&y)[N]) const {
    if constexpr (MODE == CSRN_CUDA_DIVIDED) {
      divide(x, y);
    } else if (MODE == CSRN_CUDA_LOGARITHM && WARP && limit > 0) {
      look_up(x, y);
    } else {
#pragma unroll
      for (int j = 0; j < N; j++)
        y[j] = MODE == CSRN_CUDA_LOGARITHM ? logarithm(x[j]) : scale_element(how, scaler, x[j]);
    }
  }
};

static inline csrn_cuda_how csrn_cuda_log_how(csrn_cuda_step step, bool log1p, double base) {
  return {step, log1p, base != 0.0 ? log(base) : 0.0};
}

#endif
