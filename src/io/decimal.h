/*
 * Numbers as text, for files: integers, and for reals the fewest digits that read back as
 * the same bits. A text file has one of these per value, so that they are written for speed
 * where values are usual, and leave the rest to printf().
 */
#ifndef CSRN_DECIMAL_H
#define CSRN_DECIMAL_H

#include <stdint.h>

/* Characters of the longest text, "-2.2250738585072014e-308" say; none is terminated. */
enum { CSRN_DECIMAL_LONGEST = 32 };

/* Each writes at `text` and returns the number of characters. */
int csrn_format_integer(char *text, int64_t value);
int csrn_format_float(char *text, float value);
int csrn_format_double(char *text, double value);

#endif
