/*
 * The peers of gpu_bench: other libraries' ways to the same results, as operations of the
 * same table, so that they are measured in turns with csrnorm's and checked like them.
 */
#ifndef GPU_BENCH_H
#define GPU_BENCH_H

#include <cstdio>
#include <cuda_runtime.h>

/* Writes the operations to `operations` and returns their number: 0 in a build without cuSPARSE. */
int gpu_bench_peers(bench_operation *operations);
/* Prints an object with the table of matrices in host memory, and returns an exit code. */
int gpu_bench_host(bool quick);
/* Gives back what the peers hold of the last matrix. */
void gpu_bench_forget();

#endif
