/*
 * Status codes and element types with their texts, each from one list; and the one
 * place where an error sentence is stored.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* clang-format off */
#define STATUS_LIST(X)                                              \
  X(CSRN_OK,               "success")                               \
  X(CSRN_INVALID_ARGUMENT, "invalid argument")                      \
  X(CSRN_INVALID_MATRIX,   "invalid CSR matrix")                    \
  X(CSRN_OVERFLOW,         "an exact integer sum overflows")        \
  X(CSRN_OUT_OF_MEMORY,    "out of memory")                         \
  X(CSRN_NOT_BUILT,        "backend not built into this library")   \
  X(CSRN_NO_DEVICE,        "no usable device")                      \
  X(CSRN_UNSUPPORTED,      "not supported by this machine")         \
  X(CSRN_DEVICE_ERROR,     "the device reported a fault")

#define DTYPE_LIST(X)            \
  X(CSRN_F32, 4, "float32")      \
  X(CSRN_F64, 8, "float64")      \
  X(CSRN_U8,  1, "uint8")        \
  X(CSRN_U16, 2, "uint16")       \
  X(CSRN_U32, 4, "uint32")       \
  X(CSRN_U64, 8, "uint64")       \
  X(CSRN_I32, 4, "int32")        \
  X(CSRN_I64, 8, "int64")
/* clang-format on */

/* The sentence of failures that have no context. */
static _Thread_local char thread_detail[512];

const char *csrn_status_string(csrn_status status) {
#define CASE(code, text)                                                                                     \
  case code:                                                                                                 \
    return text;
  switch (status) { STATUS_LIST(CASE) }
#undef CASE
  return "unknown status";
}

size_t csrn_dtype_size(csrn_dtype type) {
#define CASE(code, size, name)                                                                               \
  case code:                                                                                                 \
    return size;
  switch (type) {
    DTYPE_LIST(CASE)
  default:
    return 0;
  }
#undef CASE
}

const char *csrn_dtype_name(csrn_dtype type) {
#define CASE(code, size, name)                                                                               \
  case code:                                                                                                 \
    return name;
  switch (type) {
    DTYPE_LIST(CASE)
  default:
    return "unknown";
  }
#undef CASE
}

/* Where the sentence of `ctx` is stored: in the context that the caller has, of which it may be a part, or a
 * part of a part. */
static char *detail_of(csrn_context *ctx) {
  while (ctx && ctx->owner)
    ctx = ctx->owner;
  return ctx ? ctx->detail : thread_detail;
}

csrn_status csrn_fail(csrn_context *ctx, csrn_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  /* Version 14 of the analyzer has lost sight of va_start(). */
  /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
  vsnprintf(detail_of(ctx), sizeof thread_detail, format, arguments);
  va_end(arguments);
  return status;
}

csrn_number csrn_number_of(csrn_dtype type, int64_t element) {
  csrn_number number;
  if (type == CSRN_U64)
    snprintf(number.text, sizeof number.text, "%" PRIu64, (uint64_t)element);
  else
    snprintf(number.text, sizeof number.text, "%" PRId64, element);
  return number;
}

const char *csrn_error_detail(const csrn_context *ctx) {
  while (ctx && ctx->owner)
    ctx = ctx->owner;
  return ctx ? ctx->detail : thread_detail;
}
