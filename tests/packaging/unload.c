/*
 * unload LIBRARY: a program that loads the shared library, works with threads, and unloads it, several
 * times. Threads of the OpenMP runtime that spin (OMP_WAIT_POLICY=active) must not lose their code.
 */
#include "csrnorm/csrnorm.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TIMES = 20, LENGTH = 150000, N = 2 * LENGTH };

static float data[N];

/* Finds a function; ISO C has no conversion from what dlsym() returns. */
static void find(void *library, const char *name, void *function) {
  void *found = dlsym(library, name);
  memcpy(function, &found, sizeof found);
}

static int work(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  csrn_status (*create)(const csrn_context_options *, csrn_context **);
  csrn_status (*sum)(csrn_context *, const csrn_csr *, csrn_axis, void *, csrn_dtype);
  void (*destroy)(csrn_context *);
  find(library, "csrn_context_create", &create);
  find(library, "csrn_axis_sum", &sum);
  find(library, "csrn_context_destroy", &destroy);
  const int64_t indptr[] = {0, LENGTH, N};
  const csrn_csr A = {2, 1, N, indptr, NULL, data, CSRN_I64, CSRN_NONE, CSRN_F32};
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.threads = 3;
  csrn_context *ctx;
  double sums[2] = {0, 0};
  int failed = create(&options, &ctx) != CSRN_OK;
  failed = failed || sum(ctx, &A, CSRN_PER_ROW, sums, CSRN_F64) != CSRN_OK;
  if (!failed)
    destroy(ctx);
  failed = failed || sums[0] != LENGTH || sums[1] != LENGTH;
  dlclose(library);
  usleep(20000); /* for the threads to be where nothing is any more */
  return failed;
}

int main(int argc, char **argv) {
  int failed = argc != 2;
  for (int i = 0; i < N; i++)
    data[i] = 1;
  for (int i = 0; i < TIMES && !failed; i++)
    failed = work(argv[1]);
  return failed;
}
