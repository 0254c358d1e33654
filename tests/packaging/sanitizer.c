/*
 * Shows that the sanitizer of this build finds what it is there for, and nothing in OpenMP code
 * that is right: "race" and "overflow" must be reported, "barrier" must not. The thread sanitizer
 * needs LLVM's Archer library for that, which comes with libomp.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_THREADS = 4 };

static int shared[N_THREADS];

static int sum_of_neighbours(int with_barrier) {
  int sum = 0;
#pragma omp parallel num_threads(N_THREADS) reduction(+ : sum)
  {
    int me = omp_get_thread_num();
    shared[me] = me;
    if (with_barrier) {
#pragma omp barrier
    }
    sum += shared[(me + 1) % N_THREADS];
  }
  return sum;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "barrier") == 0)
    return sum_of_neighbours(1) != N_THREADS * (N_THREADS - 1) / 2;
  if (strcmp(what, "race") == 0)
    return printf("%d\n", sum_of_neighbours(0)) < 0;
  char *bytes = malloc((size_t)argc);
  if (!bytes)
    return 0;
  bytes[argc] = 1;
  printf("%d\n", bytes[argc]);
  free(bytes);
  return 0;
}
