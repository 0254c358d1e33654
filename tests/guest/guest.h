/*
 * What the tests of the CUDA backend as a guest share: hooks for device memory that keep a
 * ledger and fail when told to, streams, captures, and what only the host's stand-in for a
 * device can be asked or told (nothing of it on a real one).
 */
#ifndef CSRN_TEST_GUEST_H
#define CSRN_TEST_GUEST_H

#include <cuda_runtime.h>

#include "csrnorm/csrnorm_cuda.h"

extern "C" {
#include "battery.h"
}

/* Where battery_operations has csrn_csr_check(), which waits. */
bool waits_by_itself(const battery_operation *operation);

#define expect_cuda(call) guest_expect_cuda((call), #call, __FILE__, __LINE__)
void guest_expect_cuda(cudaError_t error, const char *call, const char *file, int line);

/* Device memory in the order of streams, counted in `book`. */
csrn_allocator guest_allocator(ledger *book);

/* Replaces test.ctx by a context with these options; releases all buffers. */
void guest_restart(const csrn_context_options *options);
/* Options for a context on `stream` with a ledger of its device memory (NULL: without). */
csrn_context_options guest_options(cudaStream_t stream, ledger *book);

/* Results that depend on the matrix alone. */
sample guest_matrix(csrn_dtype type, uint64_t seed);
/* A sample where it is, in host memory. */
csrn_csr guest_view(const sample *m);

/* ---- Only on the host: elsewhere they do nothing, and counts are 0 ---- */

extern const bool guest_is_emulated;
int64_t guest_allocations(void); /* of device and pinned memory, by anybody */
int64_t guest_waits(void);       /* of the host for the device */
int64_t guest_sent(void);        /* bytes that have been copied to the device */
int64_t guest_early(void);       /* kernels that were let begin before the one before was done */
void guest_fail_launch(int64_t n);
void guest_fail_allocation(int64_t n);
void guest_fail_stream(int64_t n);
void guest_devices(int n);
/* 0: work on streams runs at once; 1: as late as it may; 2: at moments that vary with the seed. */
void guest_streams(int when, uint64_t seed);
/* Undoes all of these. */
void guest_reset(void);

#endif
