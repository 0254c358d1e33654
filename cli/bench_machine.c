/*
 * The machine that `csrnorm bench` runs on, and the build: what makes a time readable
 * by somebody else.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* From sysfs: sysconf() multiplies the third level of some processors by their cores. */
static int64_t read_cache_level(int index, int *level) {
  char path[80], text[32] = "";
  int64_t bytes = 0;
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", index);
  FILE *file = fopen(path, "r");
  *level = file && fgets(text, sizeof text, file) ? (int)strtol(text, NULL, 10) : 0;
  if (file)
    fclose(file);
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
  file = fopen(path, "r");
  if (file && fgets(text, sizeof text, file))
    bytes = strtoll(text, NULL, 10) * (strchr(text, 'M') ? 1 << 20 : strchr(text, 'K') ? 1 << 10 : 1);
  if (file)
    fclose(file);
  return bytes;
}

int64_t bench_cache_bytes(int wanted) {
  int level = 1;
  for (int index = 0; level > 0; index++) {
    int64_t bytes = read_cache_level(index, &level);
    if (level == wanted)
      return bytes;
  }
  return 0;
}

void bench_describe_machine(bench_environment *e) {
  csrn_device_properties cpu = {.size = sizeof cpu};
  *e = (bench_environment){0};
  time_t seconds = time(NULL);
  struct tm utc;
  if (getloadavg(&e->load_average, 1) != 1)
    e->load_average = NAN;
  if (!csrn_device_info(CSRN_BACKEND_CPU, 0, &cpu)) {
    snprintf(e->cpu, sizeof e->cpu, "%s", cpu.name);
    e->processors = cpu.n_units;
    e->memory_bytes = cpu.memory_bytes;
  }
  e->cache_bytes = bench_cache_bytes(3);
  if (gmtime_r(&seconds, &utc))
    strftime(e->date, sizeof e->date, "%Y-%m-%dT%H:%M:%SZ", &utc);
  snprintf(e->build, sizeof e->build, "%s", csrn_build_info());
#if defined(__clang__)
  const char *compiler = "clang " __clang_version__;
#else
  const char *compiler = "gcc " __VERSION__;
#endif
#ifdef __OPTIMIZE__
  snprintf(e->compiler, sizeof e->compiler, "%s", compiler);
#else
  snprintf(e->compiler, sizeof e->compiler, "%s (not optimized: times mean nothing)", compiler);
#endif
}

void bench_describe_devices(bench_environment *e, const bench_settings *settings) {
  for (int d = 0; d < settings->n_devices; d++) {
    csrn_device_properties device = {.size = sizeof device};
    if (settings->devices[d] != CSRN_BACKEND_CUDA ||
        csrn_device_info(CSRN_BACKEND_CUDA, settings->device_numbers[d], &device))
      continue;
    const size_t used = strlen(e->devices);
    snprintf(e->devices + used, sizeof e->devices - used, "%scuda:%d %s, %s, %.1f GiB", used ? "; " : "",
             device.device, device.name, device.isa, (double)device.memory_bytes / 0x1p30);
  }
}

void bench_describe_matrix(bench_environment *e, const bench_settings *settings, const bench_matrix *matrix,
                           const bench_expected *expected) {
  const csrn_csr *A = &matrix->csr;
  e->matrix = matrix->source;
  e->data_type = csrn_dtype_name(A->data_type);
  e->indices_type = csrn_dtype_name(A->indices_type);
  e->indptr_type = csrn_dtype_name(A->indptr_type);
  e->n_rows = A->n_rows;
  e->n_cols = A->n_cols;
  e->nnz = A->nnz;
  e->row_min = matrix->row_min;
  e->row_median = matrix->row_median;
  e->row_max = matrix->row_max;
  e->small_fraction = matrix->small_fraction;
  e->max_fraction = matrix->max_fraction;
  e->n_excluded = expected->n_excluded;
  e->repetitions = settings->repetitions;
  e->seed = (int64_t)settings->seed;
  e->min_time = settings->min_time;
}
