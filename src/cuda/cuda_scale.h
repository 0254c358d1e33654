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
 * below TABLE_SIZE of this row become, computed by the very formula. Over 99 % of the counts of
 * a typical matrix are looked up there; cuda_counts.h has the others looked up, too.
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
  /* How many bit patterns of x, from 2^-63 on, can be divided the fast way: 0 or all to 2^65. Where
   * logarithms follow, the quotients are positive. */
  unsigned near;

  __device__ __forceinline__ void set(const csrn_cuda_how &how, float y) {
    const float magnitude = fabsf(y);
    factor = y;
    near = magnitude >= 0x1p-40F && magnitude <= 0x1p40F && !(how.log1p && y < 0.0F) ? 0x40000000U : 0U;
    reciprocal = how.step == CSRN_CUDA_MULTIPLY ? 0.0F : __fdiv_rn(1.0F, y);
  }

  /* The quotient, where is_near(x); and where x is +0 and `near` is not 0. */
  __device__ __forceinline__ float divide_near(float x) const {
    const float q = __fmul_rn(x, reciprocal);
    return __fmaf_rn(__fmaf_rn(-q, factor, x), reciprocal, q);
  }
  __device__ __forceinline__ bool is_near(float x) const {
    return __float_as_uint(x) - 0x20000000U < near;
  }
  __device__ __forceinline__ float divide(float x) const {
    return is_near(x) ? divide_near(x) : __fdiv_rn(x, factor);
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

/* ---- Rows ------------------------------------------------------------------- */

enum { TABLE_SIZE = 64 }; /* a power of two */

/* Whether x is a count below TABLE_SIZE, and where in the table that is, in bytes; *place is in the table
 * whatever x is. -0 is no count. */
__device__ __forceinline__ bool is_table_count(float x, unsigned *place) {
  const unsigned shifted = __float_as_uint(x + 0x1p21F); /* four times an integer stands in its low bits */
  *place = shifted & ((TABLE_SIZE - 1) * 4);
  return __float_as_uint(__uint_as_float(*place | 0x4a000000U) - 0x1p21F) == __float_as_uint(x);
}

/* An element for which the quick way does not hold: its value, and its place in the row. */
struct csrn_put_off {
  float x;
  int at;
};

/* What a warp has in shared memory for the row that it works on. */
struct csrn_warp_memory {
  float table[TABLE_SIZE + CSRN_WARP]; /* what counts become; then elements put off, or what they become */
  uint16_t put_off_from[CSRN_WARP];    /* the places of those in the row, or the part of it */
};

#if !defined(CSRN_SIMT_HOST)
/* Where something lies in shared memory, in a register: the compiler would find it anew at every use. */
__device__ __forceinline__ unsigned csrn_kept_address(const void *shared) {
  unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("" : "+r"(address));
  return address;
}
#endif

/* The same as a pointer. */
__device__ __forceinline__ const float *csrn_kept(const float *shared) {
#if defined(CSRN_SIMT_HOST)
  return shared;
#else
  return static_cast<const float *>(__cvta_shared_to_generic(csrn_kept_address(shared)));
#endif
}

/* A table in shared memory, looked up by small integers x. The bits of a float32 below 2^-126 are its
 * multiple of 2^-149, so that those of x * 2^-147 + (the float32 whose bits are an address) are the address
 * and 4 x more, by one instruction. That takes an address below 2^23, as those of shared memory are but in
 * clusters of blocks, and a compiler that is not asked to flush such numbers to zero. */
struct csrn_table {
  float begin;
#if defined(CSRN_SIMT_HOST)
  const float *memory;
  explicit csrn_table(const float *shared) : begin(__uint_as_float(0x400)), memory(shared) {}
#else
  __device__ __forceinline__ explicit csrn_table(const float *shared) {
    begin = __uint_as_float(csrn_kept_address(shared));
  }
#endif
  __device__ __forceinline__ float at(float x) const {
    const unsigned address = __float_as_uint(__fmaf_rn(x, 0x1p-147F, begin));
#if defined(CSRN_SIMT_HOST)
    return memory[(address - __float_as_uint(begin)) / sizeof(float)];
#else
    return *static_cast<const float *>(__cvta_shared_to_generic(address));
#endif
  }
};

/* What is done often has code of its own, in which nothing is left to decide for each element: a quick way,
 * that holds for nearly all of them and says so. MULTIPLIED, DIVIDED; LOGARITHM of a quotient by the formula
 * or, TABLE, looked up. ANY: nothing is quick. */
enum csrn_cuda_mode {
  CSRN_CUDA_ANY,
  CSRN_CUDA_MULTIPLIED,
  CSRN_CUDA_DIVIDED,
  CSRN_CUDA_LOGARITHM,
  CSRN_CUDA_TABLE
};

/* The operation for the elements of a row: what each becomes, scale_element(), and the quick ways in float32.
 */
template <typename C, typename O> struct csrn_row_scaler {
  csrn_scaler<C, O> scaler;
  static constexpr bool is_quick = false;
};

template <> struct csrn_row_scaler<float, float> {
  csrn_scaler<float, float> scaler;
  const float *table; /* of this warp, TABLE_SIZE */
  static constexpr bool is_quick = true;

  template <csrn_cuda_mode MODE> __device__ __forceinline__ bool quick(float x, float *y) const {
    static_assert(MODE != CSRN_CUDA_ANY, "nothing is quick then");
    if constexpr (MODE == CSRN_CUDA_MULTIPLIED) {
      *y = x * scaler.factor;
      return true;
    } else if (MODE == CSRN_CUDA_TABLE) {
      unsigned place;
      const bool found = is_table_count(x, &place);
      *y = *reinterpret_cast<const float *>(reinterpret_cast<const char *>(table) + place);
      return found;
    } else {
      const float quotient = scaler.divide_near(x);
      *y = MODE == CSRN_CUDA_LOGARITHM ? csrn_log1p_positive_f32(quotient) : quotient;
      return scaler.is_near(x);
    }
  }

  /* Called by a whole warp, which has shared memory for the table, and is done with the row before.
   * WITH_MORE: what `more` of this thread becomes goes behind the counts, and is computed beside them;
   * csrn_table takes the place of `table` then. */
  template <bool WITH_MORE>
  __device__ __forceinline__ void fill(const csrn_cuda_how &how, float *memory, float more = 0.0F) {
    const unsigned first = threadIdx.x % CSRN_WARP;
    const bool by_formula = scaler.near && how.log_base == 0.0;
    if (by_formula) {
#pragma unroll
      for (unsigned k = first; k < TABLE_SIZE + (WITH_MORE ? CSRN_WARP : 0); k += CSRN_WARP) {
        const float x = WITH_MORE && k >= TABLE_SIZE ? more : static_cast<float>(k);
        memory[k] = csrn_log1p_positive_f32(scaler.divide_near(x)); /* of +0 it is +0 there, too */
      }
    } else {
#pragma unroll 1
      for (unsigned count = first; count < TABLE_SIZE; count += CSRN_WARP)
        memory[count] = take_log1p(how, __fdiv_rn(static_cast<float>(count), scaler.factor));
    }
    if (WITH_MORE && !(by_formula && scaler.is_near(more)))
      memory[TABLE_SIZE + first] = scale_element(how, scaler, more);
    __syncwarp();
    if constexpr (!WITH_MORE)
      table = csrn_kept(memory);
  }
};

static inline csrn_cuda_how csrn_cuda_log_how(csrn_cuda_step step, bool log1p, double base) {
  return {step, log1p, base != 0.0 ? log(base) : 0.0};
}

#endif
