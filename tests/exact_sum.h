/*
 * An exact sum of float64 values, as a fixed-point number wide enough for every one of
 * them: what floating-point column sums are compared with.
 */
#ifndef CSRN_TEST_EXACT_SUM_H
#define CSRN_TEST_EXACT_SUM_H

#include <stdint.h>

/* Signed digits of 32 bits; digit 0 has the weight 2^-1074. float64 spans 2098 bits;
 * the other 142 hold the carries of 2^31 additions and the sign. */
enum { EXACT_DIGITS = 70 };
typedef struct exact_sum {
  int64_t digits[EXACT_DIGITS];
} exact_sum;

/* Adds a finite value. */
void exact_add(exact_sum *sum, double x);
/* The sum rounded once, to nearest even. */
double exact_round(const exact_sum *sum);
/* |x - sum|, rounded once. */
double exact_distance(const exact_sum *sum, double x);

#endif
