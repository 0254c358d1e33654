/*
 * Guarded arrays: see buffers.h. Every array knows the bytes around it, and what it is
 * to contain, and is on one list so that a single call checks them all.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SENTINEL       0xA5
#define SENTINEL_BYTES 128 /* two cache lines: wider than any vector that could slip */

typedef struct array {
  unsigned char *block; /* everything that was allocated */
  size_t block_bytes;
  unsigned char *data;
  size_t bytes;
  unsigned char *guarded; /* [guarded_bytes] of block: the data with the sentinels around it */
  size_t guarded_bytes;
  size_t mapped;          /* > 0: block came from mmap(), this many bytes */
  unsigned char *content; /* what data has to contain; NULL: anything */
  bool writable;
  bool is_report;
} array;

static array *arrays;
static size_t n_arrays, capacity;
static placement current_place;

void buffers_place(placement where) {
  current_place = where;
}

static array *new_array(void) {
  if (n_arrays == capacity) {
    capacity = capacity ? 2 * capacity : 64;
    arrays = realloc(arrays, capacity * sizeof *arrays);
    assert_non_null(arrays);
  }
  array *a = &arrays[n_arrays++];
  memset(a, 0, sizeof *a);
  return a;
}

void fetch(void *to, const void *from, size_t bytes) {
  assert_int_equal(csrn_buffer_copy(test.ctx, to, from, bytes), CSRN_OK);
}

/* `open`: without sentinels after the data, so that a tool which watches the bounds of allocations sees a
 * read beyond the end. */
static void allocate_between_sentinels(array *a, size_t bytes, size_t shift, bool open) {
  void *block = NULL;
  a->block_bytes = SENTINEL_BYTES + shift + bytes + (open ? 0 : SENTINEL_BYTES);
  assert_int_equal(csrn_buffer_allocate(test.ctx, a->block_bytes, &block), CSRN_OK);
  assert_non_null(block);
  assert_int_equal((uintptr_t)block % 64, 0);
  a->block = a->guarded = block;
  a->guarded_bytes = a->block_bytes;
  a->data = a->block + SENTINEL_BYTES + shift;
}

/* [forbidden page][pages of data][forbidden page], the data at either end. */
static void allocate_at_page(array *a, size_t bytes, bool at_end) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t body = (bytes + page) / page * page; /* always some room for sentinels */
  a->mapped = body + 2 * page;
  a->block = mmap(NULL, a->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(a->block, MAP_FAILED);
  assert_int_equal(mprotect(a->block + page, body, PROT_READ | PROT_WRITE), 0);
  a->block_bytes = a->mapped;
  a->guarded = a->block + page;
  a->guarded_bytes = body;
  a->data = at_end ? a->block + page + body - bytes : a->block + page;
}

void store(void *to, const void *from, size_t bytes) {
  assert_int_equal(csrn_buffer_copy(test.ctx, to, from, bytes), CSRN_OK);
  for (size_t i = 0; i < n_arrays; i++) {
    size_t offset = (size_t)((unsigned char *)to - arrays[i].data);
    if (arrays[i].content && (unsigned char *)to >= arrays[i].data && offset < arrays[i].bytes)
      memcpy(arrays[i].content + offset, from, bytes);
  }
}

static void *place(const void *values, int64_t n, size_t size, bool writable) {
  size_t bytes = (size_t)n * size;
  array *a = new_array();
  a->bytes = bytes;
  a->writable = writable;
  bool pages = test.backend == CSRN_BACKEND_CPU;
  if (pages && current_place >= PLACE_PAGE_END)
    allocate_at_page(a, bytes, current_place == PLACE_PAGE_END);
  else
    allocate_between_sentinels(a, bytes, current_place == PLACE_ALIGNED ? 0 : size, !pages && !writable);
  unsigned char *image = malloc(a->guarded_bytes);
  assert_non_null(image);
  memset(image, SENTINEL, a->guarded_bytes);
  if (values && bytes)
    memcpy(image + (a->data - a->guarded), values, bytes);
  else
    memset(image + (a->data - a->guarded), BUFFER_FILL, bytes);
  csrn_status status = csrn_buffer_copy(test.ctx, a->guarded, image, a->guarded_bytes);
  if (!writable) {
    a->content = malloc(bytes + 1);
    assert_non_null(a->content);
    if (bytes)
      memcpy(a->content, image + (a->data - a->guarded), bytes);
  }
  free(image);
  assert_int_equal(status, CSRN_OK);
  return a->data;
}

void *place_input(const void *values, int64_t n, size_t size) {
  return place(values, n, size, false);
}

void *place_inout(const void *values, int64_t n, size_t size) {
  return place(values, n, size, true);
}

void *place_output(int64_t n, size_t size) {
  return place(NULL, n, size, true);
}

void *place_report(void) {
  void *report = place_output(sizeof(csrn_normalize_report) / 8, 8);
  arrays[n_arrays - 1].is_report = true;
  return report;
}

/* Zeros in device memory; NULL if there is no room. */
static void *place_device_zeros(size_t bytes) {
  enum { CHUNK = 64 << 20 };
  void *block = NULL;
  if (csrn_buffer_allocate(test.ctx, bytes, &block) != CSRN_OK)
    return NULL;
  array *a = new_array();
  a->block = a->data = block;
  a->block_bytes = bytes;
  a->writable = true;
  void *zeros = calloc(1, CHUNK);
  assert_non_null(zeros);
  for (size_t at = 0; at < bytes; at += CHUNK)
    assert_int_equal(
        csrn_buffer_copy(test.ctx, (char *)block + at, zeros, bytes - at < CHUNK ? bytes - at : CHUNK),
        CSRN_OK);
  free(zeros);
  return block;
}

void *place_zeros(size_t bytes) {
  if (test.backend != CSRN_BACKEND_CPU)
    return place_device_zeros(bytes);
  array *a = new_array();
  void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) {
    n_arrays--;
    return NULL;
  }
  a->block = a->data = a->guarded = block;
  a->mapped = a->block_bytes = bytes;
  a->writable = true;
  return block;
}

static void check_sentinels(const unsigned char *image, size_t from, size_t to, const array *a) {
  for (size_t i = from; i < to; i++)
    if (image[i] != SENTINEL)
      fail_msg("byte %zd of an array of %zu bytes was written (0x%02x)",
               (ptrdiff_t)i - (a->data - a->guarded), a->bytes, image[i]);
}

static void check_array(const array *a) {
  if (!a->guarded_bytes)
    return;
  unsigned char *image = malloc(a->guarded_bytes);
  assert_non_null(image);
  fetch(image, a->guarded, a->guarded_bytes);
  size_t begin = (size_t)(a->data - a->guarded), end = begin + a->bytes;
  check_sentinels(image, 0, begin, a);
  check_sentinels(image, end, a->guarded_bytes, a);
  if (a->content && memcmp(image + begin, a->content, a->bytes) != 0)
    fail_msg("an array of %zu bytes that the call must not change was changed", a->bytes);
  free(image);
}

void buffers_check(void) {
  for (size_t i = 0; i < n_arrays; i++)
    check_array(&arrays[i]);
}

void buffers_remember(void) {
  for (size_t i = 0; i < n_arrays; i++) {
    array *a = &arrays[i];
    if (a->content || !a->guarded_bytes || (a->is_report && test.backend != CSRN_BACKEND_CPU))
      continue;
    a->content = malloc(a->bytes + 1);
    assert_non_null(a->content);
    fetch(a->content, a->data, a->bytes);
  }
}

void buffers_check_unchanged(void) {
  buffers_check();
  for (size_t i = 0; i < n_arrays; i++) {
    if (!arrays[i].writable)
      continue;
    free(arrays[i].content);
    arrays[i].content = NULL;
  }
}

void buffers_release(void) {
  for (size_t i = 0; i < n_arrays; i++) {
    array *a = &arrays[i];
    if (a->mapped)
      munmap(a->block, a->mapped);
    else
      csrn_buffer_release(test.ctx, a->block, a->block_bytes);
    free(a->content);
  }
  free(arrays);
  arrays = NULL;
  n_arrays = capacity = 0;
}
