/*
 * The table of logarithms by vectors: log1p(k / divisor) of a row for the counts k below
 * TABLE_SIZE, held in registers. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_VECTOR_TABLE_H
#define CSRN_KERNEL_VECTOR_TABLE_H

#include "kernel_vector.h"

enum { TABLE_SIZE = 64 }; /* a power of two; 99.9 % of the counts of a typical matrix are below */

#if CSRN_VECTORS

/* So many values are looked up together: 4 vectors. */
enum { LOOKED_UP = 4 * WIDTH };

/* The integers of the values from data[i] on; the bits by which one of them is none (-0 is none). */
INLINE vec_int load_integers(vec_int counts[4], const void *data, csrn_dtype type, int64_t i) {
  vec_int fractions = ints_zero();
  for (int64_t k = 0; k < 4; k++) {
    const vec x = vec_load_all(data, type, i + k * WIDTH);
    counts[k] = ints_from_vec(x);
    fractions = ints_or_xor(fractions, vec_bits(x), vec_bits(vec_from_ints(counts[k])));
  }
  return fractions;
}

/* A bit for each of these values that is no count below TABLE_SIZE. */
INLINE uint64_t others_of(const vec_int counts[4], const void *data, csrn_dtype type, int64_t i) {
  uint64_t others = 0;
  for (int64_t k = 0; k < 4; k++) {
    const vec_int large = ints_and(counts[k], ints_all(~(TABLE_SIZE - 1)));
    const vec_int strange = ints_or_xor(large, vec_bits(vec_load_all(data, type, i + k * WIDTH)),
                                        vec_bits(vec_from_ints(counts[k])));
    others |= (uint64_t)nonzero_lanes(strange) << (k * WIDTH);
  }
  return others;
}

#endif

#if CSRN_AVX512

/* Entries 0-15, 16-31, 32-47 and 48-63. */
typedef struct vec_table {
  vec quarter[4];
} vec_table;

INLINE void load_table(vec_table *t, const float values[TABLE_SIZE]) {
  for (int64_t k = 0; k < 4; k++)
    t->quarter[k] = vec_load(values + 16 * k);
}

INLINE vec look_up_counts(const vec_table *t, vec_int counts) {
  vec low = _mm512_permutex2var_ps(t->quarter[0], counts, t->quarter[1]);
  __mmask16 upper = _mm512_test_epi32_mask(counts, _mm512_set1_epi32(32));
  return _mm512_mask_blend_ps(upper, low, _mm512_permutex2var_ps(t->quarter[2], counts, t->quarter[3]));
}

/* Whether all counts are below TABLE_SIZE, and have no fractions. */
INLINE bool are_small(const vec_int counts[4], vec_int fractions) {
  const vec_int all = ints_or(ints_or(counts[0], counts[1]), ints_or(counts[2], counts[3]));
  return !any_bits(ints_or(fractions, ints_and(all, ints_all(~(TABLE_SIZE - 1)))), -1);
}

/* out[0 .. LOOKED_UP) = table[counts]; anything for those that are not small. */
INLINE void look_up_any(const vec_table *t, const vec_int counts[4], float *out) {
  for (int64_t k = 0; k < 4; k++)
    vec_store(out + k * WIDTH, look_up_counts(t, counts[k]));
}

INLINE void store_counts(uint8_t *bytes, const vec_int counts[4]) {
  for (int64_t k = 0; k < 4; k++)
    _mm_storeu_si128((__m128i *)(bytes + k * WIDTH), _mm512_cvtepi32_epi8(counts[k]));
}

enum { BYTES_LOOKED_UP = WIDTH };

/* out[0 .. BYTES_LOOKED_UP) = table[bytes[...]] */
INLINE void look_up_stored(const vec_table *t, const uint8_t *bytes, float *out) {
  vec_store(out, look_up_counts(t, ints_from_bytes(bytes)));
}

#endif

#if CSRN_AVX2

/* No permutation of AVX2 takes 64 entries, but one of bytes takes 16. So the table is held
 * as bytes: plane[q][b] has the bytes b of the entries from 16 q on. */
typedef struct vec_table {
  __m128i plane[4][4];
} vec_table;

INLINE void load_table(vec_table *t, const float values[TABLE_SIZE]) {
  const __m128i by_plane = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int64_t q = 0; q < 4; q++) {
    __m128i four[4];
    for (int64_t k = 0; k < 4; k++)
      four[k] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(values + 16 * q + 4 * k)), by_plane);
    const __m128i low01 = _mm_unpacklo_epi32(four[0], four[1]), low23 = _mm_unpacklo_epi32(four[2], four[3]);
    const __m128i high01 = _mm_unpackhi_epi32(four[0], four[1]),
                  high23 = _mm_unpackhi_epi32(four[2], four[3]);
    t->plane[q][0] = _mm_unpacklo_epi64(low01, low23);
    t->plane[q][1] = _mm_unpackhi_epi64(low01, low23);
    t->plane[q][2] = _mm_unpacklo_epi64(high01, high23);
    t->plane[q][3] = _mm_unpackhi_epi64(high01, high23);
  }
}

/* Bytes b of the entries of 32 counts, which are permuted by their low four bits; the next
 * two, at the top of the bytes of `odd` and `upper`, choose the quarter. */
INLINE __m256i look_up_plane(const vec_table *t, int b, __m256i counts, __m256i odd, __m256i upper) {
  __m256i found[4];
  for (int q = 0; q < 4; q++)
    found[q] = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t->plane[q][b]), counts);
  return _mm256_blendv_epi8(_mm256_blendv_epi8(found[0], found[1], odd),
                            _mm256_blendv_epi8(found[2], found[3], odd), upper);
}

/* Packing and unpacking mix the order of the values the same way, so that no other
 * permutation is needed. */
INLINE void store_planes(const __m256i plane[4], float *out) {
  for (int half = 0; half < 2; half++) {
    const __m256i low =
        half ? _mm256_unpackhi_epi8(plane[0], plane[1]) : _mm256_unpacklo_epi8(plane[0], plane[1]);
    const __m256i high =
        half ? _mm256_unpackhi_epi8(plane[2], plane[3]) : _mm256_unpacklo_epi8(plane[2], plane[3]);
    float *to = out + INT64_C(2) * WIDTH * half;
    _mm256_storeu_si256((__m256i *)to, _mm256_unpacklo_epi16(low, high));
    _mm256_storeu_si256((__m256i *)(to + WIDTH), _mm256_unpackhi_epi16(low, high));
  }
}

/* 32 counts as bytes, in pieces of four that are mixed. What does not fit a byte becomes -128 or 127, which
 * are in no table either. */
INLINE __m256i pack(const vec_int counts[4]) {
  return _mm256_packs_epi16(_mm256_packs_epi32(counts[0], counts[1]),
                            _mm256_packs_epi32(counts[2], counts[3]));
}

INLINE bool are_small(const vec_int counts[4], vec_int fractions) {
  return !any_bits(ints_or(fractions, ints_and(pack(counts), _mm256_set1_epi8((char)~(TABLE_SIZE - 1)))), -1);
}

INLINE void look_up_packed(const vec_table *t, __m256i bytes, float *out) {
  const __m256i odd = _mm256_slli_epi16(bytes, 3), upper = _mm256_slli_epi16(bytes, 2);
  __m256i plane[4];
  for (int b = 0; b < 4; b++)
    plane[b] = look_up_plane(t, b, bytes, odd, upper);
  store_planes(plane, out);
}

INLINE void look_up_any(const vec_table *t, const vec_int counts[4], float *out) {
  look_up_packed(t, pack(counts), out);
}

INLINE void store_counts(uint8_t *bytes, const vec_int counts[4]) {
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256((__m256i *)bytes, _mm256_permutevar8x32_epi32(pack(counts), in_order));
}

enum { BYTES_LOOKED_UP = LOOKED_UP };

INLINE void look_up_stored(const vec_table *t, const uint8_t *bytes, float *out) {
  const __m256i mixed = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  look_up_packed(t, _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)bytes), mixed), out);
}

#endif

#if CSRN_VECTORS

/* out[0 .. LOOKED_UP) = table[data[i ...]]; does nothing and returns false if one of the
 * values is no small count. */
INLINE bool look_up(const vec_table *t, const void *data, csrn_dtype type, int64_t i, float *out) {
  vec_int counts[4];
  const vec_int fractions = load_integers(counts, data, type, i);
  if (!are_small(counts, fractions))
    return false;
  look_up_any(t, counts, out);
  return true;
}

/* bytes[0 .. LOOKED_UP) = the counts from data[i] on; returns the bits of those that are not
 * small, in whose place anything is written. */
INLINE uint64_t store_small_counts(const void *data, csrn_dtype type, int64_t i, uint8_t *bytes) {
  vec_int counts[4];
  const vec_int fractions = load_integers(counts, data, type, i);
  store_counts(bytes, counts);
  return are_small(counts, fractions) ? 0 : others_of(counts, data, type, i);
}

#endif
#endif
