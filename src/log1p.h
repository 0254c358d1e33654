/*
 * log1p of the numeric contract: within one unit in the last place of the true value for
 * every float and double, and the same bits on every machine, since it consists of IEEE
 * additions, multiplications, one division (float64 only) and integer operations, none of
 * them fused. No branches and no tables, so that a loop over it vectorizes.
 * docs/log1p.md has the derivation and the error budget.
 *
 * With u = 1 + x rounded, k is the integer for which u / 2^k lies between the cut (3/4 in
 * float32) and its double. Then
 *
 *   f = x / 2^k - (1 - 1 / 2^k)    is exact where it matters, although u is not, and
 *   log1p(x) = k log(2) + log1p(f).
 *
 * 1 / 2^k is subnormal for the largest x, so everything is computed four times as large:
 * s = 4 / 2^k, g = 4 f, and the result is divided by four at the end. s comes out of the
 * bits of u by one subtraction and one mask.
 */
#ifndef CSRN_LOG1P_H
#define CSRN_LOG1P_H

#include <stdint.h>
#include <string.h>

#if defined(__CUDACC__)
#define CSRN_HD __host__ __device__
#else
#define CSRN_HD
#endif

static CSRN_HD inline uint32_t csrn_bits_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static CSRN_HD inline float csrn_from_bits_f32(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static CSRN_HD inline uint64_t csrn_bits_f64(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static CSRN_HD inline double csrn_from_bits_f64(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The smaller of result and limit, or limit if result is NaN, where limit is x for
 * x > -1, -Inf at -1 and NaN below (all bits set are a NaN). log1p(x) <= x, so this changes
 * nothing but the special values and the sign of zero. Selections between two constants
 * would be turned into jumps or bit operations that do not vectorize. */
static CSRN_HD inline float csrn_log1p_limit_f32(float x, float u, float result) {
  uint32_t below = 0U - (csrn_bits_f32(u) >> 31);
  float limit = u == 0.0F ? csrn_from_bits_f32(0xff800000U) : x;
  limit = csrn_from_bits_f32(csrn_bits_f32(limit) | below);
  return result < limit ? result : limit;
}

static CSRN_HD inline double csrn_log1p_limit_f64(double x, double u, double result) {
  uint64_t below = 0U - (csrn_bits_f64(u) >> 63);
  double limit = u == 0.0 ? csrn_from_bits_f64(0xfff0000000000000U) : x;
  limit = csrn_from_bits_f64(csrn_bits_f64(limit) | below);
  return result < limit ? result : limit;
}

/* log1p(f) = f + f^2 P(f), P of degree 8; the coefficients are those of P(g / 4) / 4. u: 1 + x rounded. */
static CSRN_HD inline float csrn_log1p_unlimited_f32(float x, float u) {
  const uint32_t exponent = 0xff800000U, four = 0x40800000U;
  const uint32_t below_half_up = 0x3fbfffffU;                     /* bits of 3/4, one exponent up, less one */
  const float ln2_high = 0x1.62e4p-1F, ln2_low = 0x1.7f7d1cp-20F; /* k * ln2_high is exact */

  uint32_t s_bits = (below_half_up + four - csrn_bits_f32(u)) & exponent;
  float s = csrn_from_bits_f32(s_bits);
  float minus_k = (float)(int32_t)(s_bits - four); /* times 2^23 */
  float g = x * s - (4.0F - s);

  float h = g * g;
  float h2 = h * h;
  float p_high = (-0x1.6fcdd6p-23F * g + 0x1.abf6bep-20F) * h + (-0x1.0d9012p-17F * g + 0x1.28960cp-15F);
  float p_low = (-0x1.54f268p-13F * g + 0x1.996892p-11F) * h + (-0x1.000028p-8F * g + 0x1.5555aap-6F);
  float p = p_high * h2 + p_low;
  float q = h * (p * g - 0.125F);

  float result = (g + (q - minus_k * (ln2_low * 0x1p-21F))) - minus_k * (ln2_high * 0x1p-21F);
  return result * 0.25F;
}

static CSRN_HD inline float csrn_log1p_f32(float x) {
  float u = 1.0F + x;
  return csrn_log1p_limit_f32(x, u, csrn_log1p_unlimited_f32(x, u));
}

/* The same for x that is positive and finite: there the result is never beyond its limit. */
static CSRN_HD inline float csrn_log1p_positive_f32(float x) {
  return csrn_log1p_unlimited_f32(x, 1.0F + x);
}

/* With t = f / (2 + f), log1p(f) = f - (f^2/2 - t (f^2/2 + R(t^2))), where
 * 2 t + t R(t^2) = log((1 + t) / (1 - t)); the coefficients are those of 4 R. The range is
 * cut at 0.72, where f needs 54 bits for x in [0.44, 0.5): g_low is the last of them. */
static CSRN_HD inline double csrn_log1p_f64(double x) {
  const uint64_t exponent = 0xfff0000000000000U, four = 0x4010000000000000U;
  const uint64_t below_cut_up = 0x3ff70fffffffffffU; /* bits of 2 * 0.7207..., less one */
  const double ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45; /* k * ln2_high is exact */

  double u = 1.0 + x;
  uint64_t s_bits = (below_cut_up + four - csrn_bits_f64(u)) & exponent;
  double s = csrn_from_bits_f64(s_bits);
  /* The biased exponent of s is 1025 - k; in the low bits of 2^52 it is a double. */
  double minus_k = csrn_from_bits_f64((s_bits >> 52) | 0x4330000000000000U) - (0x1p52 + 1025.0);
  double xs = x * s, rest = 4.0 - s;
  double g = xs - rest, g_low = xs - (g + rest);

  double t = g / (8.0 + g), z = t * t, z2 = z * z;
  double r_high = (0x1.394718e20286p-1 * z + 0x1.7469c33f95d5p-1) + 0x1.329219dd79bbbp-1 * z2;
  double r_low = (0x1.c71c40f3e17a5p-1 * z + 0x1.24924956c4868p+0) * z2 +
                 (0x1.9999999968b91p+0 * z + 0x1.55555555555d6p+1);
  double r = z * (r_high * (z2 * z2) + r_low);
  double h = (0.125 * g) * g;
  double q = h - (t * (h + r) - (minus_k * (ln2_low * 4.0) - g_low));

  double result = (g - q) - minus_k * (ln2_high * 4.0);
  return csrn_log1p_limit_f64(x, u, result * 0.25);
}

#endif
