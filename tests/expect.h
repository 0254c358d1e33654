/*
 * One call of the library against the oracle: places a sample matrix in guarded
 * buffers, calls, and compares every element of every output, bit for bit.
 */
#ifndef CSRN_TEST_EXPECT_H
#define CSRN_TEST_EXPECT_H

#include "oracle.h"

/* Bits are equal, or both are NaN. */
bool same_value(csrn_dtype type, const void *a, const void *b, int64_t i);
void expect_values(csrn_dtype type, const void *got, const void *expected, int64_t n, const char *what);

/* An output array for the matrix: A->data in place, else a new one. */
void *place_out(const csrn_csr *A, layout how, csrn_dtype out_type);
/* What is in it before the call, in host memory. */
void *initial_out(const sample *m, layout how, csrn_dtype out_type);
/* Whether data of this type can be worked in place to out_type. */
bool can_be_in_place(csrn_dtype data_type, csrn_dtype out_type);

void expect_axis_sum(const sample *m, layout how, csrn_axis axis, const uint8_t *excluded,
                     csrn_dtype sums_type);
void expect_axis_scale(const sample *m, layout how, csrn_axis axis, csrn_scale_op op, const void *factors,
                       csrn_dtype factors_type, csrn_zero_policy zeros, csrn_dtype out_type);
void expect_log1p(const sample *m, layout how, double base, csrn_dtype out_type);
void expect_highly_expressed(const sample *m, layout how, csrn_axis axis, double max_fraction);
void expect_normalize(const sample *m, layout how, const csrn_normalize_options *options,
                      csrn_dtype out_type);
void expect_normalize_with(const sample *m, layout how, const double *totals, double target,
                           const csrn_normalize_options *options, csrn_dtype out_type);

/* log1p of host values by csrn_log1p() itself: fused results must have its bits. */
void library_log1p(csrn_dtype type, void *values, int64_t n, double base);
/* Sums of the columns or rows by csrn_axis_sum_excluding(), in host memory. */
double *library_totals(const sample *m, csrn_axis axis, const uint8_t *excluded);

#endif
