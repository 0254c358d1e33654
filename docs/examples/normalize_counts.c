/*
 * A worked example in C: counts of four cells and three genes are normalized to the median total,
 * with the logarithm, in place; then the totals of all genes are taken. What is printed is
 * compared with what is expected by the tests. docs/examples.md explains it step by step.
 */
#include <csrnorm/csrnorm.h>

#include <stdio.h>
#include <stdlib.h>

/* One way to handle errors: the sentence says which argument, what was found and what was expected. */
static void check(csrn_status status, const csrn_context *ctx) {
  if (status == CSRN_OK)
    return;
  fprintf(stderr, "%s: %s\n", csrn_status_string(status), csrn_error_detail(ctx));
  exit(1);
}

int main(void) {
  /* The rows are cells: 4 and 1; nothing; 2; 3, 3 and 4. Totals 5, 0, 2 and 10: the median of the positive
   * ones is 5. */
  int32_t indptr[] = {0, 2, 2, 3, 6}, indices[] = {0, 2, 1, 0, 1, 2};
  float data[] = {4, 1, 2, 3, 3, 4};
  const csrn_csr A = {.n_rows = 4,
                      .n_cols = 3,
                      .nnz = 6,
                      .indptr = indptr,
                      .indices = indices,
                      .data = data,
                      .indptr_type = CSRN_I32,
                      .indices_type = CSRN_I32,
                      .data_type = CSRN_F32};
  double gene_totals[3];
  float factors[4];
  csrn_normalize_report report;

  csrn_context *ctx = NULL;
  check(csrn_context_create(NULL, &ctx), NULL);
  check(csrn_csr_check(ctx, &A), ctx); /* once, since the matrix might come from anywhere */

  csrn_normalize_options options = CSRN_NORMALIZE_OPTIONS_INIT;
  options.log1p = 1;
  check(csrn_normalize_total(ctx, &A, &options, data, CSRN_F32, factors, &report), ctx);
  check(csrn_axis_sum(ctx, &A, CSRN_PER_COLUMN, gene_totals, CSRN_F64), ctx);
  csrn_context_destroy(ctx);

  printf("target %g, %lld cell without counts\n", report.target, (long long)report.n_zero);
  for (int i = 0; i < 4; i++) {
    printf("cell %d, factor %g:", i, factors[i]);
    for (int32_t k = indptr[i]; k < indptr[i + 1]; k++)
      printf(" %.4f", data[k]);
    printf("\n");
  }
  printf("genes: %.4f %.4f %.4f\n", gene_totals[0], gene_totals[1], gene_totals[2]);
  return 0;
}
