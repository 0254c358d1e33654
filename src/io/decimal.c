/* See decimal.h. */
#include "decimal.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int put_digits(char *text, uint64_t value) {
  char reversed[20];
  int n = 0;
  do
    reversed[n++] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  for (int i = 0; i < n; i++)
    text[i] = reversed[n - 1 - i];
  return n;
}

int csrn_format_integer(char *text, int64_t value) {
  const bool negative = value < 0;
  text[0] = '-';
  return negative + put_digits(text + negative, negative ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Counts, and what else has no digit behind the point; -0 keeps its sign elsewhere. */
static bool is_short_integer(double value) {
  return fabs(value) < 1e9 && value == (double)(int64_t)value && (value != 0.0 || !signbit(value));
}

/* The first precision, from `fewest` to `most` digits, at which the text reads back. */
static int print_shortest(char *text, double value, bool single) {
  const int fewest = single ? 6 : 15, most = single ? 9 : 17; /* FLT_DIG, FLT_DECIMAL_DIG, ... */
  char copy[CSRN_DECIMAL_LONGEST + 1];
  int n = 0;
  for (int digits = fewest; digits <= most; digits++) {
    n = snprintf(copy, sizeof copy, "%.*g", digits, value);
    if (single ? strtof(copy, NULL) == (float)value : strtod(copy, NULL) == value)
      break;
  }
  for (int i = 0; i < n; i++)
    text[i] = copy[i];
  return n;
}

/* digits * 10^-scale in positional notation, without zeros at the end. */
static int put_decimal(char *text, uint64_t digits, int scale) {
  static const uint64_t powers[] = {1,       10,       100,       1000,       10000,      100000,
                                    1000000, 10000000, 100000000, 1000000000, 10000000000};
  while (scale > 0 && digits % 10 == 0) {
    digits /= 10;
    scale--;
  }
  int n = put_digits(text, digits / powers[scale]);
  if (scale == 0)
    return n;
  text[n] = '.';
  uint64_t rest = digits % powers[scale];
  for (int i = scale; i > 0; i--, rest /= 10)
    text[n + i] = (char)('0' + rest % 10);
  return n + 1 + scale;
}

/* Values from 0.1 to a million, where six to nine digits are an integer below 2^53 over a power of ten up to
 * 10^10, so that their quotient in float64 is rounded once. What lies strictly between the midpoints to the
 * neighbours, which are float64 numbers too, reads back as `value`: rounding does not change an order. */
static int format_usual_float(char *text, float value) {
  static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};
  const double x = (double)value;
  const double below = 0.5 * (x + (double)nextafterf(value, 0.0F));
  const double above = 0.5 * (x + (double)nextafterf(value, INFINITY));
  int magnitude = 0; /* digits before the point */
  while (x >= powers[magnitude])
    magnitude++;
  for (int digits = 6; digits <= 9; digits++) {
    const int scale = digits - magnitude;
    const double scaled = rint(x * powers[scale]), back = scaled / powers[scale];
    if (back > below && back < above)
      return put_decimal(text, (uint64_t)scaled, scale);
  }
  return 0;
}

int csrn_format_float(char *text, float value) {
  if (is_short_integer((double)value))
    return csrn_format_integer(text, (int64_t)value);
  const float magnitude = fabsf(value);
  if (magnitude >= 0.1F && magnitude < 1e6F) {
    const int sign = value < 0.0F;
    text[0] = '-';
    const int n = format_usual_float(text + sign, magnitude);
    if (n)
      return sign + n;
  }
  return print_shortest(text, (double)value, true);
}

int csrn_format_double(char *text, double value) {
  if (is_short_integer(value))
    return csrn_format_integer(text, (int64_t)value);
  return print_shortest(text, value, false);
}
