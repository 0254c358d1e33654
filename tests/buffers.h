/*
 * Guarded arrays where the context works. An array is placed between sentinels, or
 * directly before or behind a page that may not be touched, so that a kernel which
 * reads or writes one element too many is caught; inputs are compared with what was
 * put there after every call.
 */
#ifndef CSRN_TEST_BUFFERS_H
#define CSRN_TEST_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

/* Where an array lies. The page placements hold on the CPU; other backends have
 * shifted arrays between sentinels instead, but inputs there end where their memory does,
 * so that the address sanitizer (cuda-host) or compute-sanitizer sees a read beyond. */
typedef enum placement {
  PLACE_ALIGNED,   /* at a multiple of 64 bytes */
  PLACE_SHIFTED,   /* one element further: aligned to its type only */
  PLACE_PAGE_END,  /* its last byte is the last one before a forbidden page */
  PLACE_PAGE_START /* its first byte is the first one after a forbidden page */
} placement;
#define N_PLACEMENTS (PLACE_PAGE_START + 1)

/* For the arrays made from now on, until the end of the test. */
void buffers_place(placement where);

/* What the byte pattern of a fresh output is. */
#define BUFFER_FILL 0xEE

/* Arrays of n elements of `size` bytes: an input with these values, which calls must
 * leave alone; values that calls may change; an output filled with BUFFER_FILL. */
void *place_input(const void *values, int64_t n, size_t size);
void *place_inout(const void *values, int64_t n, size_t size);
void *place_output(int64_t n, size_t size);
/* A csrn_normalize_report as an output. A device says there what was wrong, so it may be written by a call
 * that fails there. */
void *place_report(void);
/* Copies the first `bytes` bytes of an array to host memory, and new ones into it. */
void fetch(void *to, const void *array, size_t bytes);
void store(void *array, const void *from, size_t bytes);

/* Fails the test unless all sentinels and inputs are untouched. */
void buffers_check(void);
/* Remembers the contents of all arrays; then fails the test if any has changed. */
void buffers_remember(void);
void buffers_check_unchanged(void);
void buffers_release(void);

/* Zeros that take no memory until they are written, for arrays of gigabytes; NULL if
 * there is no room. Released with the rest, without sentinels. */
void *place_zeros(size_t bytes);

#endif
