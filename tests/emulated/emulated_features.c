/*
 * cpu_features.c with one more instruction set, by name only: x86-64-v4-emulated, the
 * AVX-512 kernels compiled with immintrin.h of this folder. Test programs link this object,
 * so that the linker has no use for the cpu_features.c of the library.
 */
#include "cpu_internal.h"

#include <string.h>

csrn_status choose_real_kernels(csrn_context *ctx, const char *name, const csrn_kernels **kernels);

#define csrn_cpu_choose_kernels choose_real_kernels
#include "cpu_features.c" /* NOLINT(bugprone-suspicious-include) */
#undef csrn_cpu_choose_kernels

extern const csrn_kernels csrn_kernels_x86_64_v4_emulated;

csrn_status csrn_cpu_choose_kernels(csrn_context *ctx, const char *name, const csrn_kernels **kernels) {
  *kernels = &csrn_kernels_x86_64_v4_emulated;
  if (name && strcmp(name, (*kernels)->isa) == 0)
    return CSRN_OK;
  return choose_real_kernels(ctx, name, kernels);
}
