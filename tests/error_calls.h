/*
 * Every operation that takes a matrix, with valid arguments beside it: what the error
 * tests break one piece of at a time.
 */
#ifndef CSRN_TEST_ERROR_CALLS_H
#define CSRN_TEST_ERROR_CALLS_H

#include "sample.h"

/* Arrays long enough for every call on the base matrix, all placed. */
typedef struct error_arguments {
  csrn_csr A; /* 40 x 30, float32, rows of up to 20 values */
  double *sums;
  float *factors_in, *out, *factors_out;
  uint8_t *mask_in, *mask_out;
  double *totals, *target, *median;
  csrn_normalize_report *report;
  csrn_normalize_options options;
} error_arguments;

extern error_arguments args;

/* Places the base matrix and everything else; `options` have exclusion. */
void make_arguments(void);

typedef struct error_call {
  const char *name;
  csrn_status (*run)(csrn_context *ctx, const csrn_csr *A);
  bool needs_indices, needs_data;
} error_call;

enum { N_ERROR_CALLS = 12 };
extern const error_call error_calls[N_ERROR_CALLS];

#endif
