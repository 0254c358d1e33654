/*
 * Every operation once, over one matrix, with its outputs reduced to a hash: what the
 * tests of threads, instruction sets, floating-point modes and failing memory run.
 */
#ifndef CSRN_TEST_BATTERY_H
#define CSRN_TEST_BATTERY_H

#include "sample.h"

/* One matrix, the inputs of the operations, and an output of each sort. */
typedef struct battery {
  csrn_csr A;
  int64_t n;                /* the larger of n_rows and n_cols */
  const float *factors_f32; /* [n] */
  const double *factors_f64;
  const uint8_t *excluded;
  const double *totals, *target;
  void *out;      /* [nnz] of 8 bytes */
  void *vector;   /* [n] of 8 bytes: sums or factors */
  uint8_t *mask;  /* [n] */
  double *median; /* [1] */
  csrn_normalize_report *report;
} battery;

typedef struct battery_operation {
  const char *name;
  csrn_status (*run)(csrn_context *ctx, const battery *b);
  csrn_dtype out_type, vector_type; /* of what is in out and vector afterwards; u64: nothing real */
} battery_operation;

enum { N_OPERATIONS = 23 };
extern const battery_operation battery_operations[N_OPERATIONS];

/* How an operation is called: directly, or with something around it. */
typedef csrn_status battery_invoke(const battery_operation *operation, const battery *b);
battery_invoke battery_call;

battery battery_place(const sample *m);
/* The same with the matrix laid out like this. */
battery battery_place_as(const sample *m, layout how);
/* Fills all outputs anew. */
void battery_clear(const battery *b);
/* Of all outputs; all NaN count as the same value. */
uint64_t battery_hash(const battery *b, const battery_operation *operation);
/* The hash of each operation over m with test.ctx; leaves no buffers. */
void battery_hashes(const sample *m, battery_invoke *invoke, uint64_t hashes[N_OPERATIONS]);
/* Fails the test where they differ, naming the operations. */
void battery_expect(const uint64_t *got, const uint64_t *expected, const char *what);

#endif
