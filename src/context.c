/*
 * Life and death of a context: the list of backends, the choice of one, and the
 * scratch memory taken through the caller's allocator.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH_ALIGNMENT 64 /* a cache line, and the widest vector register */

/* NULL where this build lacks the backend; the order is the order of AUTO for host memory. */
static const struct {
  csrn_backend backend;
  const char *name;
  const csrn_backend_ops *ops;
} backends[] = {
    {CSRN_BACKEND_CPU, "cpu", &csrn_cpu_ops},
#if defined(CSRNORM_WITH_CUDA)
    {CSRN_BACKEND_CUDA, "cuda", &csrn_cuda_ops},
#else
    {CSRN_BACKEND_CUDA, "cuda", NULL},
#endif
};

enum { N_BACKENDS = sizeof backends / sizeof backends[0] };

/* The operations of `backend`, or NULL with *status and the thread's detail set; expected: for the sentence.
 */
static const csrn_backend_ops *find_backend(csrn_backend backend, const char *expected, csrn_status *status) {
  for (int i = 0; i < N_BACKENDS; i++) {
    if (backends[i].backend != backend)
      continue;
    if (!backends[i].ops)
      *status = csrn_fail(NULL, CSRN_NOT_BUILT, "this build of csrnorm has no %s backend", backends[i].name);
    return backends[i].ops;
  }
  *status = csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "backend is %d; expected %s", (int)backend, expected);
  return NULL;
}

static void *default_allocate(void *user, size_t bytes, size_t alignment, void *stream) {
  (void)user;
  (void)stream;
  size_t padded = (bytes + alignment - 1) / alignment * alignment;
  return padded < bytes ? NULL : aligned_alloc(alignment, padded);
}

static void default_release(void *user, void *pointer, size_t bytes, void *stream) {
  (void)user;
  (void)bytes;
  (void)stream;
  free(pointer);
}

void *csrn_scratch_allocate(csrn_context *ctx, size_t bytes) {
  void *pointer = ctx->allocator.allocate(ctx->allocator.user, bytes, SCRATCH_ALIGNMENT, NULL);
  if (!pointer)
    csrn_fail(ctx, CSRN_OUT_OF_MEMORY, "the allocator returned NULL for %zu bytes", bytes);
  return pointer;
}

void csrn_scratch_release(csrn_context *ctx, void *pointer, size_t bytes) {
  if (pointer)
    ctx->allocator.release(ctx->allocator.user, pointer, bytes, NULL);
}

/* Copies the caller's options over the defaults: an older caller's struct is shorter. */
static csrn_status complete_options(const csrn_context_options *given, csrn_context_options *options) {
  const csrn_context_options defaults = CSRN_CONTEXT_OPTIONS_INIT;
  *options = defaults;
  if (given) {
    if (given->size < sizeof given->size || given->size > sizeof *options)
      return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "options->size is %zu; expected %zu to %zu", given->size,
                       sizeof given->size, sizeof *options);
    memcpy(options, given, given->size);
  }
  if (options->device < 0)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "options->device is %d; expected 0 or more",
                     options->device);
  if (options->threads < 0 || options->threads > CSRN_MOST_THREADS)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "options->threads is %d; expected 0 to %d",
                     options->threads, CSRN_MOST_THREADS);
  if (options->device_memory < 0)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "options->device_memory is %" PRId64 "; expected 0 or more",
                     options->device_memory);
  if (options->reserved != 0)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "options->reserved is %d; expected 0", options->reserved);
  if (!options->allocator.allocate != !options->allocator.release)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT,
                     "options->allocator has only one of allocate and release; expected both or none");
  if (!options->device_allocator.allocate != !options->device_allocator.release)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT,
                     "options->device_allocator has only one of allocate and release; expected both or none");
  if (!options->allocator.allocate) {
    options->allocator.allocate = default_allocate;
    options->allocator.release = default_release;
  }
  return CSRN_OK;
}

/* A context with completed options; `owner` is not NULL for the part of another context. */
static csrn_status create(const csrn_context_options *options, csrn_backend backend, csrn_context *owner,
                          csrn_context **context) {
  csrn_status status = CSRN_OK;
  const csrn_backend_ops *ops = find_backend(backend, "auto (0), cpu (1) or cuda (2)", &status);
  if (!ops)
    return status;
  const csrn_allocator *allocator = &options->allocator;
  /* The analyzer does not know that csrn_fail(), in another file, never returns CSRN_OK. */
  /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
  csrn_context *ctx = allocator->allocate(allocator->user, sizeof *ctx, SCRATCH_ALIGNMENT, NULL);
  if (!ctx)
    return csrn_fail(owner, CSRN_OUT_OF_MEMORY, "the allocator returned NULL for %zu bytes", sizeof *ctx);
  memset(ctx, 0, sizeof *ctx);
  ctx->ops = ops;
  ctx->allocator = *allocator;
  ctx->device_allocator = options->device_allocator;
  ctx->stream = options->stream;
  ctx->threads = options->threads;
  ctx->device_memory = options->device_memory;
  ctx->any_memory = options->backend == CSRN_BACKEND_AUTO && !owner;
  ctx->device = options->device;
  ctx->owner = owner;
  if (owner)
    ctx->kernels = owner->kernels;
  else
    status = csrn_cpu_choose_kernels(ctx, options->isa, &ctx->kernels);
  status = status ? status : ops->create(ctx, options);
  if (status) {
    if (!owner) /* else the sentence is there already */
      csrn_fail(NULL, status, "%s", ctx->detail);
    csrn_scratch_release(ctx, ctx, sizeof *ctx);
    return status;
  }
  *context = ctx;
  return CSRN_OK;
}

csrn_status csrn_context_create(const csrn_context_options *given, csrn_context **context) {
  if (!context)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "context is NULL");
  *context = NULL;
  csrn_context_options options;
  csrn_status status = complete_options(given, &options);
  if (status)
    return status;
  const bool automatic = options.backend == CSRN_BACKEND_AUTO;
  return create(&options, automatic ? CSRN_BACKEND_CPU : options.backend, NULL, context);
}

static void destroy(csrn_context *ctx) {
  if (!ctx)
    return;
  ctx->ops->destroy(ctx);
  csrn_scratch_release(ctx, ctx, sizeof *ctx);
}

void csrn_context_destroy(csrn_context *ctx) {
  if (ctx) {
    if (ctx->on_device)
      destroy(ctx->on_device->on_host); /* an AUTO context may have a part of a part, and no deeper one */
    destroy(ctx->on_device);
    destroy(ctx->on_host);
  }
  destroy(ctx);
}

#if defined(CSRNORM_WITH_CUDA)

csrn_context *csrn_context_on_device(csrn_context *ctx, csrn_status *status) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.device = ctx->device;
  options.allocator = ctx->allocator;
  options.device_allocator = ctx->device_allocator;
  options.stream = ctx->stream;
  *status = ctx->on_device ? CSRN_OK : create(&options, CSRN_BACKEND_CUDA, ctx, &ctx->on_device);
  return ctx->on_device;
}

csrn_context *csrn_context_on_host(csrn_context *ctx, csrn_status *status) {
  csrn_context_options options = CSRN_CONTEXT_OPTIONS_INIT;
  options.threads = ctx->threads;
  options.allocator = ctx->allocator;
  *status = ctx->on_host ? CSRN_OK : create(&options, CSRN_BACKEND_CPU, ctx, &ctx->on_host);
  return ctx->on_host;
}

csrn_context *csrn_context_of(csrn_context *ctx, const void *array, csrn_status *status) {
  *status = CSRN_OK;
  if (!ctx || !ctx->any_memory || !array || !csrn_cuda_owns(array))
    return ctx;
  return csrn_context_on_device(ctx, status);
}

#else

csrn_context *csrn_context_of(csrn_context *ctx, const void *array, csrn_status *status) {
  (void)array;
  *status = CSRN_OK;
  return ctx;
}

#endif

csrn_backend csrn_context_backend(const csrn_context *ctx) {
  return ctx->ops->backend;
}

const char *csrn_context_isa(const csrn_context *ctx) {
  return ctx->ops->isa(ctx);
}

int32_t csrn_context_threads(const csrn_context *ctx) {
  return ctx->ops->threads(ctx);
}

/* AUTO is no backend with devices. */
static const csrn_backend_ops *find_device_backend(csrn_backend backend, csrn_status *status) {
  return find_backend(backend, "cpu (1) or cuda (2)", status);
}

csrn_status csrn_device_count(csrn_backend backend, int32_t *count) {
  if (!count)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "count is NULL");
  *count = 0;
  csrn_status status = CSRN_OK;
  const csrn_backend_ops *ops = find_device_backend(backend, &status);
  return ops ? ops->device_count(count) : status;
}

csrn_status csrn_device_info(csrn_backend backend, int32_t device, csrn_device_properties *properties) {
  if (!properties)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "properties is NULL");
  size_t size = properties->size;
  if (size < sizeof size || size > sizeof *properties)
    return csrn_fail(NULL, CSRN_INVALID_ARGUMENT, "properties->size is %zu; expected %zu to %zu", size,
                     sizeof size, sizeof *properties);
  csrn_status status = CSRN_OK;
  const csrn_backend_ops *ops = find_device_backend(backend, &status);
  if (!ops)
    return status;
  csrn_device_properties all;
  memset(&all, 0, sizeof all);
  status = ops->device_info(device, &all);
  if (status)
    return status;
  all.size = size;
  all.backend = backend;
  all.device = device;
  memcpy(properties, &all, size);
  return CSRN_OK;
}
