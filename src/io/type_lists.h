/*
 * The lists of element types of datasets, with their C types and short names: X(code, type, name).
 * What the file library does with elements of every type is generated from them.
 */
#ifndef CSRN_IO_TYPE_LISTS_H
#define CSRN_IO_TYPE_LISTS_H

#include "data_types.h"

#define INDEX_TYPES(X)                                                                                       \
  X(CSRN_U8, uint8_t, u8)                                                                                    \
  X(CSRN_U16, uint16_t, u16)                                                                                 \
  X(CSRN_U32, uint32_t, u32)                                                                                 \
  X(CSRN_U64, uint64_t, u64)                                                                                 \
  X(CSRN_I32, int32_t, i32)                                                                                  \
  X(CSRN_I64, int64_t, i64)

#endif
