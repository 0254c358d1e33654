/*
 * Vectors of 16 lanes in AVX-512 or 8 in AVX2: the few operations from which the hot loops
 * in kernel_vector_*.h are made, which are written once for both widths. They are used
 * where plain C leaves speed behind: tails by masks instead of scalar loops (rows are
 * short), sums of counts, division by a corrected reciprocal, the table of logarithms. Each
 * loop gives the bits of the plain C beside it in kernel_sums.h and kernel_transform.h.
 * Part of kernels.c.
 */
#ifndef CSRN_KERNEL_VECTOR_H
#define CSRN_KERNEL_VECTOR_H

#include "kernel_load.h"
#include "numerics.h"

/* CSRN_AVX512 is set from outside where tests emulate its intrinsics. */
#ifndef CSRN_AVX512
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) &&       \
    !defined(CSRN_NO_INTRINSICS)
#define CSRN_AVX512 1
#else
#define CSRN_AVX512 0
#endif
#endif
#if !CSRN_AVX512 && defined(__AVX2__) && defined(__FMA__) && !defined(CSRN_NO_INTRINSICS)
#define CSRN_AVX2 1
#else
#define CSRN_AVX2 0
#endif
#define CSRN_VECTORS (CSRN_AVX512 || CSRN_AVX2)

#if CSRN_VECTORS
#include <immintrin.h>
#endif

#if CSRN_AVX512

enum { WIDTH = 16, DOUBLES = WIDTH / 2, BYTES_STORED = 64 };

typedef __m512 vec;          /* [WIDTH] float32 */
typedef __m512i vec_int;     /* [WIDTH] int32 */
typedef __m512d vec_f64;     /* [DOUBLES] float64 */
typedef __mmask16 vec_lanes; /* of a vec */
typedef __mmask8 f64_lanes;  /* of a vec_f64 */

/* The first n lanes (n >= 0); all but the first n (n < WIDTH). */
INLINE vec_lanes first_lanes(int64_t n) {
  return (vec_lanes)(n >= WIDTH ? 0xffffU : (1U << n) - 1);
}
INLINE vec_lanes lanes_from(int64_t n) {
  return (vec_lanes)(0xffffU << n);
}
INLINE vec_lanes both_lanes(vec_lanes a, vec_lanes b) {
  return (vec_lanes)(a & b);
}
INLINE f64_lanes half_lanes(vec_lanes a, int half) {
  return (f64_lanes)(a >> (8 * half));
}

INLINE vec vec_all(float x) {
  return _mm512_set1_ps(x);
}
INLINE vec vec_load(const float *p) {
  return _mm512_loadu_ps(p);
}
/* Zeros in the other lanes, whose memory is not touched. */
INLINE vec vec_load_some(const float *p, vec_lanes some) {
  return _mm512_maskz_loadu_ps(some, p);
}
INLINE vec_int ints_load_some(const void *p, vec_lanes some) {
  return _mm512_maskz_loadu_epi32(some, p);
}
INLINE void vec_store(float *p, vec x) {
  _mm512_storeu_ps(p, x);
}
INLINE void vec_store_some(float *p, vec_lanes some, vec x) {
  _mm512_mask_storeu_ps(p, some, x);
}
INLINE vec vec_add(vec a, vec b) {
  return _mm512_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b) {
  return _mm512_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b) {
  return _mm512_mul_ps(a, b);
}
INLINE vec vec_div(vec a, vec b) {
  return _mm512_div_ps(a, b);
}
INLINE vec vec_fmadd(vec a, vec b, vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
INLINE vec vec_fnmadd(vec a, vec b, vec c) {
  return _mm512_fnmadd_ps(a, b, c);
}
INLINE vec vec_truncate(vec x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
INLINE vec vec_from_ints(vec_int x) {
  return _mm512_cvtepi32_ps(x);
}
INLINE vec_int ints_from_vec(vec x) {
  return _mm512_cvttps_epi32(x);
}
INLINE vec_int vec_bits(vec x) {
  return _mm512_castps_si512(x);
}
INLINE vec_int ints_zero(void) {
  return _mm512_setzero_si512();
}
INLINE vec_int ints_all(int32_t x) {
  return _mm512_set1_epi32(x);
}
INLINE void ints_store(int32_t *p, vec_int x) {
  _mm512_storeu_si512(p, x);
}
INLINE vec_int ints_or(vec_int a, vec_int b) {
  return _mm512_or_epi32(a, b);
}
INLINE vec_int ints_and(vec_int a, vec_int b) {
  return _mm512_and_epi32(a, b);
}
INLINE vec_int ints_sub(vec_int a, vec_int b) {
  return _mm512_sub_epi32(a, b);
}
/* a | (b ^ c) */
INLINE vec_int ints_or_xor(vec_int a, vec_int b, vec_int c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0xf6);
}
/* x in some lanes, 0 in the others. */
INLINE vec_int ints_some(vec_int x, vec_lanes some) {
  return _mm512_maskz_mov_epi32(some, x);
}
/* Whether a lane has one of these bits. */
INLINE bool any_bits(vec_int x, int32_t bits) {
  return _mm512_test_epi32_mask(x, _mm512_set1_epi32(bits)) != 0;
}
/* The bits of the lanes that are not zero. */
INLINE uint32_t nonzero_lanes(vec_int x) {
  return _mm512_test_epi32_mask(x, x);
}
/* x[rows[k]] in lane k. */
INLINE vec vec_permute(vec x, vec_int rows) {
  return _mm512_permutexvar_ps(rows, x);
}
/* WIDTH numbers of a byte. */
INLINE vec_int ints_from_bytes(const uint8_t *p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
INLINE void store_bytes(uint8_t *p, uint8_t byte) {
  _mm512_storeu_si512(p, _mm512_set1_epi8((char)byte));
}

INLINE vec_f64 f64_zero(void) {
  return _mm512_setzero_pd();
}
INLINE vec_f64 f64_add(vec_f64 a, vec_f64 b) {
  return _mm512_add_pd(a, b);
}
/* DOUBLES reals from data[i] on. */
INLINE vec_f64 f64_load_some(const void *data, csrn_dtype type, int64_t i, f64_lanes some) {
  if (type == CSRN_F32)
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(some, (const float *)data + i));
  return _mm512_maskz_loadu_pd(some, (const double *)data + i);
}
INLINE vec_f64 f64_load(const void *data, csrn_dtype type, int64_t i) {
  return f64_load_some(data, type, i, 0xff);
}
/* The lanes combined by halving. */
INLINE double f64_combine(vec_f64 x) {
  __m256d by4 = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1));
  __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(by4), _mm256_extractf128_pd(by4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
}

/* Of WIDTH columns with int32 indices, those whose bit in `excluded` is not set; of some of them, of all. */
INLINE vec_lanes kept_lanes(const int32_t *indices, const uint32_t *excluded, vec_lanes some) {
  vec_int columns = ints_load_some(indices, some);
  vec_int words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some, _mm512_srli_epi32(columns, 5),
                                              excluded, sizeof *excluded);
  /* The rotation takes the column modulo 32 by itself. */
  vec_int bits = _mm512_rolv_epi32(_mm512_set1_epi32(1), columns);
  return _mm512_mask_testn_epi32_mask(some, words, bits);
}
INLINE vec_lanes all_kept_lanes(const int32_t *indices, const uint32_t *excluded) {
  return kept_lanes(indices, excluded, first_lanes(WIDTH));
}

/* The sums of WIDTH rows of WIDTH values each, rows[k] in lane k; in any order, for counts. */
INLINE vec vec_row_sums(const float *rows) {
  vec by16[16], by8[8], by4[4], by2[2];
  for (int64_t k = 0; k < 16; k++)
    by16[k] = _mm512_loadu_ps(rows + 16 * k);
  /* Quarters of rows k, k + 4, k + 8 and k + 12 come to lie in one register. */
  for (int k = 0; k < 8; k++) {
    const vec a = by16[k % 4 + (k / 4) * 8], b = by16[k % 4 + (k / 4) * 8 + 4];
    by8[k] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  for (int k = 0; k < 4; k++)
    by4[k] = _mm512_add_ps(_mm512_shuffle_f32x4(by8[k], by8[k + 4], 0x88),
                           _mm512_shuffle_f32x4(by8[k], by8[k + 4], 0xdd));
  for (int k = 0; k < 2; k++)
    by2[k] = _mm512_add_ps(_mm512_unpacklo_ps(by4[k], by4[k + 2]), _mm512_unpackhi_ps(by4[k], by4[k + 2]));
  return _mm512_add_ps(_mm512_unpacklo_ps(by2[0], by2[1]), _mm512_unpackhi_ps(by2[0], by2[1]));
}

/* The types that vec_load_data() takes. */
INLINE bool has_vec_load(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_I32 || type == CSRN_U32 || type == CSRN_U16 || type == CSRN_U8;
}

/* WIDTH values from data[i] on as float32, rounded as a cast does; zeros in other lanes. */
INLINE vec vec_load_data(const void *data, csrn_dtype type, int64_t i, vec_lanes some) {
  switch (type) {
  case CSRN_F32:
    return _mm512_maskz_loadu_ps(some, (const float *)data + i);
  case CSRN_I32:
    return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(some, (const int32_t *)data + i));
  case CSRN_U32:
    return _mm512_cvtepu32_ps(_mm512_maskz_loadu_epi32(some, (const uint32_t *)data + i));
  case CSRN_U16:
    return _mm512_cvtepi32_ps(
        _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, (const uint16_t *)data + i)));
  default: /* u8 */
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(some, (const uint8_t *)data + i)));
  }
}

#endif

#if CSRN_AVX2

enum { WIDTH = 8, DOUBLES = WIDTH / 2 };

typedef __m256 vec;
typedef __m256i vec_int;
typedef __m256d vec_f64;
typedef __m256i vec_lanes; /* all bits set in a lane, or none */
typedef __m128i f64_lanes; /* 32 bits for each lane of a vec_f64 */

INLINE vec_lanes first_lanes(int64_t n) {
  const __m256i each = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n < WIDTH ? n : WIDTH)), each);
}
INLINE vec_lanes lanes_from(int64_t n) {
  return _mm256_andnot_si256(first_lanes(n), _mm256_set1_epi32(-1));
}
INLINE vec_lanes both_lanes(vec_lanes a, vec_lanes b) {
  return _mm256_and_si256(a, b);
}
INLINE f64_lanes half_lanes(vec_lanes a, int half) {
  return half ? _mm256_extracti128_si256(a, 1) : _mm256_castsi256_si128(a);
}

INLINE vec vec_all(float x) {
  return _mm256_set1_ps(x);
}
INLINE vec vec_load(const float *p) {
  return _mm256_loadu_ps(p);
}
INLINE vec vec_load_some(const float *p, vec_lanes some) {
  return _mm256_maskload_ps(p, some);
}
INLINE vec_int ints_load_some(const void *p, vec_lanes some) {
  return _mm256_maskload_epi32(p, some);
}
INLINE void vec_store(float *p, vec x) {
  _mm256_storeu_ps(p, x);
}
INLINE void vec_store_some(float *p, vec_lanes some, vec x) {
  _mm256_maskstore_ps(p, some, x);
}
INLINE vec vec_add(vec a, vec b) {
  return _mm256_add_ps(a, b);
}
INLINE vec vec_sub(vec a, vec b) {
  return _mm256_sub_ps(a, b);
}
INLINE vec vec_mul(vec a, vec b) {
  return _mm256_mul_ps(a, b);
}
INLINE vec vec_div(vec a, vec b) {
  return _mm256_div_ps(a, b);
}
INLINE vec vec_fmadd(vec a, vec b, vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
INLINE vec vec_fnmadd(vec a, vec b, vec c) {
  return _mm256_fnmadd_ps(a, b, c);
}
INLINE vec vec_truncate(vec x) {
  return _mm256_round_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
INLINE vec vec_from_ints(vec_int x) {
  return _mm256_cvtepi32_ps(x);
}
INLINE vec_int ints_from_vec(vec x) {
  return _mm256_cvttps_epi32(x);
}
INLINE vec_int vec_bits(vec x) {
  return _mm256_castps_si256(x);
}
INLINE vec_int ints_zero(void) {
  return _mm256_setzero_si256();
}
INLINE vec_int ints_all(int32_t x) {
  return _mm256_set1_epi32(x);
}
INLINE void ints_store(int32_t *p, vec_int x) {
  _mm256_storeu_si256((__m256i *)p, x);
}
INLINE vec_int ints_or(vec_int a, vec_int b) {
  return _mm256_or_si256(a, b);
}
INLINE vec_int ints_and(vec_int a, vec_int b) {
  return _mm256_and_si256(a, b);
}
INLINE vec_int ints_sub(vec_int a, vec_int b) {
  return _mm256_sub_epi32(a, b);
}
INLINE vec_int ints_or_xor(vec_int a, vec_int b, vec_int c) {
  return _mm256_or_si256(a, _mm256_xor_si256(b, c));
}
INLINE vec_int ints_some(vec_int x, vec_lanes some) {
  return _mm256_and_si256(x, some);
}
INLINE bool any_bits(vec_int x, int32_t bits) {
  return !_mm256_testz_si256(x, _mm256_set1_epi32(bits));
}
INLINE uint32_t nonzero_lanes(vec_int x) {
  const __m256i zero = _mm256_cmpeq_epi32(x, _mm256_setzero_si256());
  return ~(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(zero)) & 0xffU;
}

INLINE vec_f64 f64_zero(void) {
  return _mm256_setzero_pd();
}
INLINE vec_f64 f64_add(vec_f64 a, vec_f64 b) {
  return _mm256_add_pd(a, b);
}
INLINE vec_f64 f64_load_some(const void *data, csrn_dtype type, int64_t i, f64_lanes some) {
  if (type == CSRN_F32)
    return _mm256_cvtps_pd(_mm_maskload_ps((const float *)data + i, some));
  return _mm256_maskload_pd((const double *)data + i, _mm256_cvtepi32_epi64(some));
}
INLINE vec_f64 f64_load(const void *data, csrn_dtype type, int64_t i) {
  if (type == CSRN_F32)
    return _mm256_cvtps_pd(_mm_loadu_ps((const float *)data + i));
  return _mm256_loadu_pd((const double *)data + i);
}
INLINE double f64_combine(vec_f64 x) {
  __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
}

/* The bit of a column moves to the sign, which is what masked loads look at. */
INLINE vec_lanes lanes_without(vec_int words, vec_int columns, vec_lanes some) {
  vec_int bits = _mm256_sllv_epi32(words, _mm256_andnot_si256(columns, _mm256_set1_epi32(31)));
  return _mm256_andnot_si256(bits, some);
}
INLINE vec_lanes kept_lanes(const int32_t *indices, const uint32_t *excluded, vec_lanes some) {
  vec_int columns = ints_load_some(indices, some);
  vec_int words = _mm256_mask_i32gather_epi32(_mm256_setzero_si256(), (const int *)excluded,
                                              _mm256_srli_epi32(columns, 5), some, sizeof *excluded);
  return lanes_without(words, columns, some);
}
/* Eight loads instead of a gather: a sum takes half the time on a Zen 3. */
INLINE vec_lanes all_kept_lanes(const int32_t *indices, const uint32_t *excluded) {
  int w[WIDTH];
  for (int64_t k = 0; k < WIDTH; k++)
    w[k] = (int)excluded[(uint32_t)indices[k] >> 5];
  vec_int words = _mm256_setr_epi32(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
  vec_int columns = _mm256_loadu_si256((const __m256i *)indices);
  return lanes_without(words, columns, _mm256_set1_epi32(-1));
}

INLINE vec vec_row_sums(const float *rows) {
  vec by4[4], by2[2];
  for (int64_t k = 0; k < 4; k++)
    by4[k] = _mm256_hadd_ps(_mm256_loadu_ps(rows + 16 * k), _mm256_loadu_ps(rows + 16 * k + 8));
  for (int64_t k = 0; k < 2; k++)
    by2[k] = _mm256_hadd_ps(by4[2 * k], by4[2 * k + 1]);
  return _mm256_add_ps(_mm256_permute2f128_ps(by2[0], by2[1], 0x20),
                       _mm256_permute2f128_ps(by2[0], by2[1], 0x31));
}

INLINE bool has_vec_load(csrn_dtype type) {
  return type == CSRN_F32 || type == CSRN_I32;
}

INLINE vec vec_load_data(const void *data, csrn_dtype type, int64_t i, vec_lanes some) {
  if (type == CSRN_F32)
    return _mm256_maskload_ps((const float *)data + i, some);
  return _mm256_cvtepi32_ps(_mm256_maskload_epi32((const int *)data + i, some));
}

#endif

#if CSRN_VECTORS

/* WIDTH values, all of them. */
INLINE vec vec_load_all(const void *data, csrn_dtype type, int64_t i) {
  if (type == CSRN_F32)
    return vec_load((const float *)data + i);
  return vec_load_data(data, type, i, first_lanes(WIDTH));
}

/* Asks for the `n` vectors that lie `ahead` bytes after data[i], for a loop in such steps. Into the
 * second-level cache, since a core can wait for more lines there. */
INLINE void prefetch(const void *data, csrn_dtype type, int64_t i, int n, int64_t ahead) {
  enum { LINE = 64 };
  const int64_t size = load_size(type);
  for (int64_t k = 0; k < (int64_t)n * WIDTH * size; k += LINE)
    _mm_prefetch((const char *)data + i * size + ahead + k, _MM_HINT_T1);
}

/* The prefetcher of a processor ends with the page, and does not see the next rows while one is divided. */
INLINE void prefetch_ahead(const void *data, csrn_dtype type, int64_t i, int n) {
  prefetch(data, type, i, n, __atomic_load_n(&csrn_cpu_ahead, __ATOMIC_RELAXED));
}

/* How many elements lie between p and the multiple of a vector's size before it. */
INLINE int64_t past_alignment(const float *p) {
  return (int64_t)((uintptr_t)p / sizeof(float) % WIDTH);
}

#endif
#endif
