/*
 * The independent oracle: what every operation has to give, computed one element after
 * the other from the written contract (the public header and docs/numerics.md), with
 * none of the library's code. Expectations in expect.h compare with it bit for bit.
 */
#ifndef CSRN_TEST_ORACLE_H
#define CSRN_TEST_ORACLE_H

#include "exact_sum.h"
#include "sample.h"

/* The canonical sum of float64 terms: 32 lanes, halving, blocks of 4,096. */
double oracle_lane_sum(const double *terms, int64_t n);

/* Exact sums of integer data; excluded may be NULL. */
void oracle_integer_sums(const sample *m, csrn_axis axis, const uint8_t *excluded, int128 *sums);
/* float64 row sums of real data in the canonical order. */
void oracle_row_sums(const sample *m, const uint8_t *excluded, double *sums);
/* float64 sums per row, or of integers per row or column. */
void oracle_totals(const sample *m, csrn_axis axis, const uint8_t *excluded, double *totals);

/* One column of real data: its exact sum, and what its special values make of it. */
typedef struct oracle_column {
  exact_sum sum;
  int64_t n;     /* finite entries */
  bool integers; /* all of them are integers, and sum |x| < 2^62 */
  bool special;  /* there are NaN or Inf: the sum is `value` */
  double value;
  double magnitude; /* sum of |x|, rounded */
} oracle_column;
void oracle_column_sums(const sample *m, const uint8_t *excluded, oracle_column *columns);
/* The largest finite magnitude in the rows of m. */
double oracle_largest(const sample *m);

/* out = data (op) factor, starting from what is in out; entries outside rows stay. */
void oracle_scale(const sample *m, csrn_axis axis, csrn_scale_op op, const void *factors,
                  csrn_dtype factors_type, csrn_zero_policy zeros, void *out, csrn_dtype out_type);

/* By sorting; NaN if none is positive and finite. */
double oracle_median(const double *values, int64_t n);
/* The canonical sum of the positive finite values (others add +0) over their number. */
double oracle_mean(const double *values, int64_t n);

void oracle_highly_expressed(const sample *m, csrn_axis axis, const double *totals, double max_fraction,
                             uint8_t *mask);

/* factors, out and report of csrn_normalize_with(), without log1p. */
void oracle_normalize(const sample *m, csrn_axis axis, const double *totals, double target, void *out,
                      csrn_dtype out_type, void *factors, csrn_normalize_report *report);

/* The distance of `got` from log(1 + x) in units of the last place of the true value,
 * 0 where both are the same special value, Inf where they are not. */
double oracle_log1p_error_f32(float x, float got);
double oracle_log1p_error_f64(double x, double got);

#endif
