/*
 * Division by vectors: by the reciprocal of the row's divisor, corrected to what IEEE
 * division gives. Part of kernels.c.
 */
#ifndef CSRN_KERNEL_VECTOR_DIVIDE_H
#define CSRN_KERNEL_VECTOR_DIVIDE_H

#include "kernel_vector.h"

#if CSRN_VECTORS

/* x / y as IEEE 754 rounds it, from r = 1 / y rounded: q = x * r is within 1.5 ulp, the
 * remainder x - q * y is exact, and q + remainder * r rounds correctly (Brisebarre, Muller
 * and Raina, "Accelerating correctly rounded floating-point division when the divisor is
 * known in advance", 2004). That holds as long as nothing overflows or underflows, for
 * which |y| in [2^-40, 2^40] and x in [2^-63, 2^65) is more than enough: q lies in
 * [2^-103, 2^105), and the last bit of q * y at 2^-110 or above. Other x (zeros too, for
 * the sign of -0, and negative ones) take the division. Integers convert to +0 or to a
 * magnitude of [1, 2^32], so need no look. */
#define SAFE_DIVISOR_LOW  0x1p-40F
#define SAFE_DIVISOR_HIGH 0x1p40F

typedef struct divisor {
  vec y, r;
} divisor;

INLINE bool is_safe_divisor(float y) {
  float magnitude = y < 0 ? -y : y;
  return magnitude >= SAFE_DIVISOR_LOW && magnitude <= SAFE_DIVISOR_HIGH;
}

/* Has one of its two top bits set if a lane of x is not safe: the bits of 2^-63, as an
 * integer, are subtracted, so that the 2^30 bit patterns up to 2^65 remain below 2^30. */
INLINE vec_int range_of(vec x) {
  return ints_sub(vec_bits(x), ints_all(0x20000000));
}

INLINE bool any_unsafe(vec_int ranges) {
  return any_bits(ranges, (int32_t)0xc0000000U);
}

INLINE vec divide(vec x, const divisor *d) {
  vec q = vec_mul(x, d->r);
  return vec_fmadd(vec_fnmadd(q, d->y, x), d->r, q);
}

INLINE void divide_some(const void *data, csrn_dtype type, int64_t i, vec_lanes some, const divisor *d,
                        bool safe, float *out) {
  vec x = vec_load_data(data, type, i, some);
  bool exact = safe && (type != CSRN_F32 || !any_unsafe(ints_some(range_of(x), some)));
  vec_store_some(out + i, some, exact ? divide(x, d) : vec_div(x, d->y));
}

/* Vectors that are looked at and divided together. */
enum { DIVIDED = 4 };

/* DIVIDED vectors from data[i] on; returns whether the reciprocal may be used for all. */
INLINE bool load_to_divide(vec x[DIVIDED], const void *data, csrn_dtype type, int64_t i) {
  vec_int ranges = ints_zero();
  for (int k = 0; k < DIVIDED; k++) {
    x[k] = vec_load_all(data, type, i + (int64_t)k * WIDTH);
    ranges = ints_or(ranges, range_of(x[k]));
  }
  return type != CSRN_F32 || !any_unsafe(ranges);
}

/* out[begin .. end) = data / y */
INLINE void divide_range(const void *data, csrn_dtype type, int64_t begin, int64_t end, float y, float *out) {
  const divisor d = {vec_all(y), vec_all(1.0F / y)};
  const bool safe = is_safe_divisor(y);
  int64_t i = begin, head = (WIDTH - past_alignment(out + begin)) % WIDTH;
  if (head > end - begin)
    head = end - begin;
  if (head) {
    divide_some(data, type, i, first_lanes(head), &d, safe, out);
    i += head;
  }
  for (; safe && i + (int64_t)DIVIDED * WIDTH <= end; i += (int64_t)DIVIDED * WIDTH) {
    vec x[DIVIDED];
    prefetch_ahead(data, type, i, DIVIDED);
    const bool exact = load_to_divide(x, data, type, i);
    for (int k = 0; k < DIVIDED; k++)
      vec_store(out + i + (int64_t)k * WIDTH, exact ? divide(x[k], &d) : vec_div(x[k], d.y));
  }
  for (; i < end; i += WIDTH)
    divide_some(data, type, i, first_lanes(end - i), &d, safe, out);
}

#endif

/* ---- Short rows in AVX-512 -------------------------------------------------- */

#if CSRN_AVX512

/* Instead of spreading the divisors of short rows in memory (kernel_transform.h), their
 * numbers are, a byte each, and a permutation brings divisor and reciprocal into the lanes.
 * AVX2 has that for fewer rows and slower: it came to 0.75 of the speed. */

/* WIDTH short rows of at most so many values are divided as one stretch. */
enum { STRETCH_NNZ = 512 * WIDTH };

/* Rows are numbered so far without a look at their length. */
enum { NUMBERED = 128 };

/* A stretch: the divisors of its rows with their reciprocals, and which row each value
 * belongs to, counted from a multiple of a vector's size in the output. */
typedef struct stretch {
  divisor divisors;
  bool safe;
  int64_t origin;
  _Alignas(64) uint8_t rows[STRETCH_NNZ + 2 * NUMBERED];
} stretch;

INLINE void load_divisors(stretch *s, const float *divisors, int64_t n) {
  float y[WIDTH];
  s->safe = true;
  for (int64_t k = 0; k < WIDTH; k++) {
    y[k] = k < n ? divisors[k] : 1.0F;
    s->safe &= is_safe_divisor(y[k]);
  }
  s->divisors.y = vec_load(y);
  s->divisors.r = vec_div(vec_all(1.0F), s->divisors.y);
}

/* Writes the row of every value; too far for most rows, which the next ones overwrite, so
 * that no branch depends on the length of a row. */
INLINE void number_values(stretch *s, const int64_t *indptr, int64_t n) {
  int64_t begin = indptr[0] - s->origin;
  for (int64_t k = 0; k < n; k++) {
    const int64_t end = indptr[k + 1] - s->origin;
    for (int64_t i = 0; i < NUMBERED; i += BYTES_STORED)
      store_bytes(s->rows + begin + i, (uint8_t)k);
    for (begin += NUMBERED; begin < end; begin += BYTES_STORED)
      store_bytes(s->rows + begin, (uint8_t)k);
    begin = end;
  }
}

/* The divisors of the WIDTH values from i on. */
INLINE divisor divisors_of(const stretch *s, int64_t i) {
  const vec_int row = ints_from_bytes(s->rows + (i - s->origin));
  return (divisor){vec_permute(s->divisors.y, row), vec_permute(s->divisors.r, row)};
}

/* A vector may reach into the next rows. Row by row, a masked store at the end of each
 * would hold up the loads of the next, which overlap it. */
INLINE void divide_stretch(stretch *s, const void *data, csrn_dtype type, int64_t begin, int64_t end,
                           float *out) {
  int64_t i = s->origin;
  if (i < begin) {
    const divisor d = divisors_of(s, i);
    divide_some(data, type, i, both_lanes(first_lanes(end - i), lanes_from(begin - i)), &d, s->safe, out);
    i += WIDTH;
  }
  for (; s->safe && i + (int64_t)DIVIDED * WIDTH <= end; i += (int64_t)DIVIDED * WIDTH) {
    vec x[DIVIDED];
    prefetch_ahead(data, type, i, DIVIDED);
    const bool exact = load_to_divide(x, data, type, i);
    for (int k = 0; k < DIVIDED; k++) {
      const divisor d = divisors_of(s, i + (int64_t)k * WIDTH);
      vec_store(out + i + (int64_t)k * WIDTH, exact ? divide(x[k], &d) : vec_div(x[k], d.y));
    }
  }
  for (; i < end; i += WIDTH) {
    const divisor d = divisors_of(s, i);
    divide_some(data, type, i, first_lanes(end - i), &d, s->safe, out);
  }
}

/* n <= WIDTH rows, each divided by its own divisor: together, unless they are longer than
 * a stretch. */
INLINE void divide_few_rows(const void *data, csrn_dtype type, const int64_t *indptr, int64_t n,
                            const float *divisors, float *out) {
  const int64_t begin = indptr[0], end = indptr[n];
  if (end - begin > STRETCH_NNZ) {
    for (int64_t r = 0; r < n; r++)
      divide_range(data, type, indptr[r], indptr[r + 1], divisors[r], out);
    return;
  }
  stretch s;
  s.origin = begin - past_alignment(out + begin);
  load_divisors(&s, divisors, n);
  number_values(&s, indptr, n);
  divide_stretch(&s, data, type, begin, end, out);
}

#endif
#endif
