/*
 * The types of values, with their C types and short names: X(code, type, name). What the kernels and the file
 * library do with values of every type is generated from this list.
 */
#ifndef CSRN_DATA_TYPES_H
#define CSRN_DATA_TYPES_H

#define DATA_TYPES(X)                                                                                        \
  X(CSRN_F32, float, f32)                                                                                    \
  X(CSRN_F64, double, f64)                                                                                   \
  X(CSRN_U8, uint8_t, u8)                                                                                    \
  X(CSRN_U16, uint16_t, u16)                                                                                 \
  X(CSRN_U32, uint32_t, u32)                                                                                 \
  X(CSRN_I32, int32_t, i32)                                                                                  \
  X(CSRN_I64, int64_t, i64)

#endif
