# Flags that every target of this project is compiled with, as the interface target csrnorm_flags. The numeric
# contract needs -ffp-contract=off: a product and a sum are never fused unless the source says fma().
add_library(csrnorm_flags INTERFACE)
target_compile_features(csrnorm_flags INTERFACE c_std_11)
target_compile_options(csrnorm_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-ffp-contract=off;-fvisibility=hidden;-Wall;-Wextra;-Wshadow;-Wpointer-arith;-Wstrict-prototypes;-Wmissing-prototypes;-Wvla;-Wwrite-strings>
  $<$<AND:$<COMPILE_LANGUAGE:C>,$<BOOL:${CSRNORM_WERROR}>>:-Werror>)
target_compile_definitions(csrnorm_flags INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
if(CSRNORM_SANITIZE)
  target_compile_options(csrnorm_flags INTERFACE -fsanitize=${CSRNORM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(csrnorm_flags INTERFACE -fsanitize=${CSRNORM_SANITIZE})
endif()
