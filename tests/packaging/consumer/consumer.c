/*
 * What a C program does with the installed library: normalizes a small matrix whose
 * result is known. The argument is the version that it must find.
 */
#include <csrnorm/csrnorm.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  /* Totals 4, 2 and 0; the median of the positive ones is 3. */
  int32_t indptr[] = {0, 2, 3, 3}, indices[] = {0, 1, 1};
  float data[] = {3, 1, 2}, factors[3];
  const float wanted[] = {3.0f / (4.0f / 3.0f), 1.0f / (4.0f / 3.0f), 2.0f / (2.0f / 3.0f)};
  csrn_csr A = {3, 2, 3, indptr, indices, data, CSRN_I32, CSRN_I32, CSRN_F32};
  csrn_normalize_report report;
  csrn_context *ctx = NULL;

  if (argc != 2 || strcmp(csrn_version(), argv[1]) != 0) {
    fprintf(stderr, "the library is version %s\n", csrn_version());
    return 1;
  }
  if (csrn_context_create(NULL, &ctx) ||
      csrn_normalize_total(ctx, &A, NULL, data, CSRN_F32, factors, &report)) {
    fprintf(stderr, "%s\n", csrn_error_detail(ctx));
    return 1;
  }
  csrn_context_destroy(ctx);
  if (memcmp(data, wanted, sizeof data) != 0 || report.target != 3 || factors[2] != 0 || report.n_zero != 1) {
    fprintf(stderr, "wrong result: %.9g %.9g %.9g, target %g\n", data[0], data[1], data[2], report.target);
    return 1;
  }
  puts(csrn_build_info());
  return 0;
}
