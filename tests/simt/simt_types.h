/*
 * The keywords of CUDA C++ and its vector types, for a compiler that knows neither.
 * Blocks run one after the other, which is why a shared variable can be a static one.
 */
#ifndef SIMT_TYPES_H
#define SIMT_TYPES_H

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __shared__      static
#define __forceinline__ inline
/* Empty, since headers of the system write __attribute__((__noinline__)). */
#define __noinline__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#define SIMT_VECTOR_TYPE(scalar, name, size)                                                                 \
  struct name##1 {                                                                                           \
    scalar x;                                                                                                \
  };                                                                                                         \
  struct __align__(2 * size) name##2 {                                                                       \
    scalar x, y;                                                                                             \
  };                                                                                                         \
  struct name##3 {                                                                                           \
    scalar x, y, z;                                                                                          \
  };                                                                                                         \
  struct __align__(4 * size < 16 ? 4 * size : 16) name##4 {                                                  \
    scalar x, y, z, w;                                                                                       \
  };                                                                                                         \
  static inline name##1 make_##name##1(scalar x) {                                                           \
    return {x};                                                                                              \
  }                                                                                                          \
  static inline name##2 make_##name##2(scalar x, scalar y) {                                                 \
    return {x, y};                                                                                           \
  }                                                                                                          \
  static inline name##3 make_##name##3(scalar x, scalar y, scalar z) {                                       \
    return {x, y, z};                                                                                        \
  }                                                                                                          \
  static inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) {                             \
    return {x, y, z, w};                                                                                     \
  }

SIMT_VECTOR_TYPE(signed char, char, 1)
SIMT_VECTOR_TYPE(unsigned char, uchar, 1)
SIMT_VECTOR_TYPE(short, short, 2)
SIMT_VECTOR_TYPE(unsigned short, ushort, 2)
SIMT_VECTOR_TYPE(int, int, 4)
SIMT_VECTOR_TYPE(unsigned, uint, 4)
SIMT_VECTOR_TYPE(long, long, 8)
SIMT_VECTOR_TYPE(unsigned long, ulong, 8)
SIMT_VECTOR_TYPE(long long, longlong, 8)
SIMT_VECTOR_TYPE(unsigned long long, ulonglong, 8)
SIMT_VECTOR_TYPE(float, float, 4)
SIMT_VECTOR_TYPE(double, double, 8)

/* Of version 13; the headers of CCCL want them all. */
#define SIMT_VECTOR4_ALIGNED(scalar, name)                                                                   \
  struct __align__(16) name##4_16a {                                                                         \
    scalar x, y, z, w;                                                                                       \
  };                                                                                                         \
  struct __align__(32) name##4_32a {                                                                         \
    scalar x, y, z, w;                                                                                       \
  };

SIMT_VECTOR4_ALIGNED(long, long)
SIMT_VECTOR4_ALIGNED(unsigned long, ulong)
SIMT_VECTOR4_ALIGNED(long long, longlong)
SIMT_VECTOR4_ALIGNED(unsigned long long, ulonglong)
SIMT_VECTOR4_ALIGNED(double, double)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const {
    return {x, y, z};
  }
};

#endif
