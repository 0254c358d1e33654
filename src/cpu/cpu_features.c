/*
 * The instruction sets this build has kernels for, best first, and which of them this
 * machine runs. Chosen once, when a context is created.
 */
#include "cpu_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Features that not every compiler's __builtin_cpu_supports() knows. */
static bool has_lzcnt_movbe_f16c(void) {
  unsigned a, b, c = 0, d;
  const unsigned needed = bit_MOVBE | bit_F16C;
  bool has = __get_cpuid(1, &a, &b, &c, &d) && (c & needed) == needed;
  return has && __get_cpuid(0x80000001U, &a, &b, &c, &d) && (c & bit_LZCNT) != 0;
}

/* The x86-64 psABI levels; the tests by name include that the system saves the registers. */
static bool runs_v3(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && has_lzcnt_movbe_f16c();
}

static bool runs_v4(void) {
  return runs_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

/* On one core of a Zen 3, asking 8 KiB ahead took row sums from 0.9 to 1.0 of the roofline and a fixed target
 * from 0.69 to 0.84; on 16 of a Xeon with AVX-512 from 0.92 to 1.07 and from 0.95 to 1.11. But one core of a
 * Zen 4 gets more out of its memory (53 GB/s) than it can wait for by such requests, so that they must not
 * come before those of its prefetcher: 8 KiB ahead they took row sums from 0.96 to 0.68 and the median from
 * 0.80 to 0.52; at 512 bytes nothing is lost, with AVX-512 and with AVX2. */
int64_t csrn_cpu_ahead = 8192;

static void choose_ahead(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_is("amd") && runs_v4())
    __atomic_store_n(&csrn_cpu_ahead, 512, __ATOMIC_RELAXED);
#endif
}

static bool runs_always(void) {
  return true;
}

static const struct {
  const csrn_kernels *kernels;
  bool (*runs)(void);
} instruction_sets[] = {
#if defined(__x86_64__)
    {&csrn_kernels_x86_64_v4, runs_v4},
    {&csrn_kernels_x86_64_v3, runs_v3},
    {&csrn_kernels_x86_64, runs_always},
#endif
    {&csrn_kernels_generic, runs_always},
};

enum { N_SETS = sizeof instruction_sets / sizeof instruction_sets[0] };

csrn_status csrn_cpu_choose_kernels(csrn_context *ctx, const char *name, const csrn_kernels **kernels) {
  static const char *const known[] = {"generic", "x86-64", "x86-64-v3", "x86-64-v4"};
  const char *where = "options->isa";
  choose_ahead();
  if (!name || !*name) {
    name = getenv("CSRNORM_ISA");
    where = "CSRNORM_ISA";
  }
  bool any = !name || !*name;
  for (int i = 0; i < N_SETS; i++) {
    bool named = !any && strcmp(name, instruction_sets[i].kernels->isa) == 0;
    *kernels = instruction_sets[i].kernels;
    if ((any || named) && instruction_sets[i].runs())
      return CSRN_OK;
    if (named)
      return csrn_fail(ctx, CSRN_UNSUPPORTED, "this machine cannot run the instruction set %s of %s", name,
                       where);
  }
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strcmp(name, known[i]) == 0)
      return csrn_fail(ctx, CSRN_UNSUPPORTED, "this build has no kernels for the instruction set %s of %s",
                       name, where);
  return csrn_fail(
      ctx, CSRN_INVALID_ARGUMENT,
      "%s is \"%.40s\", an unknown instruction set; expected generic, x86-64, x86-64-v3 or x86-64-v4", where,
      name);
}

csrn_status csrn_cpu_device_count(int32_t *count) {
  *count = 1;
  return CSRN_OK;
}

/* The processor's model as the kernel names it. */
static void read_model(char *name, size_t size) {
  snprintf(name, size, "CPU");
  FILE *file = fopen("/proc/cpuinfo", "re");
  char line[256];
  while (file && fgets(line, sizeof line, file)) {
    char *value = strstr(line, ": ");
    if (strncmp(line, "model name", 10) != 0 || !value)
      continue;
    value[strcspn(value, "\n")] = '\0';
    snprintf(name, size, "%.120s", value + 2);
    break;
  }
  if (file)
    fclose(file);
}

csrn_status csrn_cpu_device_info(int32_t device, csrn_device_properties *properties) {
  if (device != 0)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "device is %d; expected 0, the only CPU device", device);
  read_model(properties->name, sizeof properties->name);
  size_t used = 0;
  for (int i = 0; i < N_SETS; i++)
    if (instruction_sets[i].runs() && used < sizeof properties->isa)
      used += (size_t)snprintf(properties->isa + used, sizeof properties->isa - used, "%s%s", used ? " " : "",
                               instruction_sets[i].kernels->isa);
  properties->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  properties->n_units = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
  return CSRN_OK;
}
