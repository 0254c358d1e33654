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
 * Logarithms of counts: where a warp works on one row, each lane k holds what a count k of
 * this row becomes, computed by the very formula; 32 elements that are all such counts are
 * looked up by one shuffle. 99 % of the counts of a typical matrix are below 32.
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

/* Rows shorter than this do not earn back the filling of the table. */
enum { TABLE_MIN_ROW = 128 };

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
    reciprocal = how.step == CSRN_CUDA_DIVIDE ? __fdiv_rn(1.0F, y) : 0.0F;
  }

  __device__ __forceinline__ float divide(float x) const {
    const float q = __fmul_rn(x, reciprocal);
    const float corrected = __fmaf_rn(__fmaf_rn(-q, factor, x), reciprocal, q);
    /* The bits of 2^-63, as an integer, are subtracted: the 2^30 bit patterns up to 2^65 remain below 2^30.
     */
    if (is_safe && __float_as_uint(x) - 0x20000000U < 0x40000000U)
      return corrected;
    return __fdiv_rn(x, factor);
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

/* The count that x is, if it is one below 32; else 32 or more. -0 is none. */
__device__ __forceinline__ unsigned small_count(float x) {
  const float shifted = x + 0x1p23F; /* an integer below 2^23 stands in its low bits */
  const unsigned count = __float_as_uint(shifted) - 0x4b000000U;
  return __float_as_uint(shifted - 0x1p23F) == __float_as_uint(x) ? count : 32U;
}

/* The operation for the elements of a row, with the table where there is one. */
template <typename C, typename O> struct csrn_row_scaler {
  csrn_scaler<C, O> scaler;

  __device__ __forceinline__ void set(const csrn_cuda_how &how, C y, int64_t) {
    scaler.set(how, y);
  }
  template <bool WARP> __device__ __forceinline__ O apply(const csrn_cuda_how &how, C x) const {
    return scale_element(how, scaler, x);
  }
};

template <> struct csrn_row_scaler<float, float> {
  csrn_scaler<float, float> scaler;
  float entry; /* what a count as large as the number of this lane becomes */
  bool has_table;

  __device__ __forceinline__ void set(const csrn_cuda_how &how, float y, int64_t n) {
    scaler.set(how, y);
    has_table = how.log1p && n >= TABLE_MIN_ROW;
    if (has_table)
      entry = scale_element(how, scaler, static_cast<float>(threadIdx.x % CSRN_WARP));
  }

  template <bool WARP> __device__ __forceinline__ float apply(const csrn_cuda_how &how, float x) const {
    if (WARP && has_table) {
      const unsigned count = small_count(x);
      if (__all_sync(FULL_WARP, count < 32U))
        return __shfl_sync(FULL_WARP, entry, static_cast<int>(count));
    }
    return scale_element(how, scaler, x);
  }
};

static inline csrn_cuda_how csrn_cuda_log_how(csrn_cuda_step step, bool log1p, double base) {
  return {step, log1p, base != 0.0 ? log(base) : 0.0};
}

#endif
