# Flags that every target of this project is compiled with, as the interface target csrnorm_flags; the build type
# and the place of the outputs where nobody else has chosen them. The numeric contract needs -ffp-contract=off: a
# product and a sum are never fused unless the source says fma(); and none of the liberties of -ffast-math, which a
# project that takes these sources may ask for, in one word or in several, and some compilers take unasked.
get_property(csrnorm_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT csrnorm_multi_config)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
endif()

add_library(csrnorm_flags INTERFACE)
target_compile_features(csrnorm_flags INTERFACE c_std_11)
# clang warns where fast contraction ends in -fno-fast-math, which is all of the next five for it. That sets errno in
# sqrt() again, too, by which loops are not vectorized.
set(csrnorm_float_options -ffp-contract=off -fno-fast-math)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND csrnorm_float_options -fno-unsafe-math-optimizations -fno-associative-math -fno-reciprocal-math
    -fno-finite-math-only -fsigned-zeros)
endif()
list(APPEND csrnorm_float_options -ffp-contract=off -fno-math-errno)
list(JOIN csrnorm_float_options " " csrnorm_float_text) # one option twice, which a list does not keep
target_compile_options(csrnorm_flags INTERFACE
  "SHELL:${csrnorm_float_text}" -fvisibility=hidden -Wall -Wextra -Wshadow -Wpointer-arith
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes> -Wvla -Wwrite-strings)
# Linked with -ffast-math, the library would turn subnormals off in the program that loads it.
target_link_options(csrnorm_flags INTERFACE -fno-fast-math -fno-unsafe-math-optimizations)
target_compile_definitions(csrnorm_flags INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
if(CSRNORM_WERROR)
  target_compile_options(csrnorm_flags INTERFACE -Werror)
endif()
# -g1 names functions and lines, which is what a sanitizer prints, and takes a quarter of the compiler's time less than
# -g. A target with the property CSRNORM_NOT_SANITIZED is compiled without.
if(CSRNORM_SANITIZE)
  set(csrnorm_sanitized $<NOT:$<BOOL:$<TARGET_PROPERTY:CSRNORM_NOT_SANITIZED>>>)
  target_compile_options(csrnorm_flags INTERFACE -g1
    "$<${csrnorm_sanitized}:-fsanitize=${CSRNORM_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer>")
  target_link_options(csrnorm_flags INTERFACE -fsanitize=${CSRNORM_SANITIZE})
endif()
