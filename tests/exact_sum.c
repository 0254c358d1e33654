/*
 * Exact sums: see exact_sum.h. Schoolbook long addition, so that it shares nothing with
 * what it judges.
 */
#include "exact_sum.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define DIGIT_BITS  32
#define LOWEST      (-1074) /* exponent of the smallest subnormal */
#define SIGNIFICAND 53

void exact_add(exact_sum *sum, double x) {
  int exponent;
  double fraction = frexp(fabs(x), &exponent);
  if (fraction == 0.0)
    return;
  int shift = exponent - SIGNIFICAND - LOWEST;
  uint64_t significand = (uint64_t)ldexp(fraction, SIGNIFICAND);
  if (shift < 0) { /* a subnormal: its low bits are zeros */
    significand >>= -shift;
    shift = 0;
  }
  unsigned __int128 bits = (unsigned __int128)significand << (shift % DIGIT_BITS);
  for (int i = shift / DIGIT_BITS; bits; i++, bits >>= DIGIT_BITS)
    sum->digits[i] += signbit(x) ? -(int64_t)(uint32_t)bits : (int64_t)(uint32_t)bits;
}

/* Carries every digit into [0, 2^32) but the last; true if the number was negative
 * and has been negated. */
static bool normalize_digits(exact_sum *sum) {
  for (int negated = 0;; negated++) {
    int64_t carry = 0;
    for (int i = 0; i < EXACT_DIGITS - 1; i++) {
      int64_t digit = sum->digits[i] + carry;
      carry = digit >= 0 ? digit >> DIGIT_BITS : -((-digit + UINT32_MAX) >> DIGIT_BITS);
      sum->digits[i] = digit - carry * ((int64_t)1 << DIGIT_BITS);
    }
    sum->digits[EXACT_DIGITS - 1] += carry;
    if (sum->digits[EXACT_DIGITS - 1] >= 0)
      return negated > 0;
    for (int i = 0; i < EXACT_DIGITS; i++)
      sum->digits[i] = -sum->digits[i];
  }
}

static int bit_at(const exact_sum *sum, int position) {
  return position < 0 ? 0 : (int)(sum->digits[position / DIGIT_BITS] >> (position % DIGIT_BITS)) & 1;
}

double exact_round(const exact_sum *given) {
  exact_sum sum = *given;
  bool negative = normalize_digits(&sum);
  int top = EXACT_DIGITS * DIGIT_BITS - 1;
  while (top >= 0 && !bit_at(&sum, top))
    top--;
  if (top < 0)
    return 0.0;
  int lowest = top >= SIGNIFICAND ? top - SIGNIFICAND + 1 : 0;
  uint64_t significand = 0;
  for (int i = top; i >= lowest; i--)
    significand = significand * 2 + (uint64_t)bit_at(&sum, i);
  bool sticky = false;
  for (int i = 0; i < lowest - 1 && !sticky; i++)
    sticky = bit_at(&sum, i);
  if (bit_at(&sum, lowest - 1) && (sticky || significand % 2))
    significand++;
  double magnitude = ldexp((double)significand, lowest + LOWEST);
  return negative ? -magnitude : magnitude;
}

double exact_distance(const exact_sum *sum, double x) {
  exact_sum difference = *sum;
  exact_add(&difference, -x);
  return fabs(exact_round(&difference));
}
