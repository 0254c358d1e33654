# What the build needs from the machine, looked for before anything else, so that one message can name all that is
# missing, Debian's package for each, and the option that does without.
find_package(OpenMP COMPONENTS C)
find_package(PkgConfig QUIET)

set(csrnorm_missing "")

# csrnorm_need(FOUND PACKAGE OPTION): notes that Debian's PACKAGE is missing for OPTION, unless FOUND.
function(csrnorm_need found package option)
  if(NOT found)
    set(csrnorm_missing "${csrnorm_missing}\n  ${package}" PARENT_SCOPE)
    if(option)
      set(csrnorm_missing_options ${csrnorm_missing_options} "-D${option}=OFF" PARENT_SCOPE)
    endif()
  endif()
endfunction()

set(csrnorm_openmp_package "OpenMP for C: it comes with gcc; clang needs libomp-dev")
csrnorm_need("${OpenMP_C_FOUND}" "${csrnorm_openmp_package}" "")

if(CSRNORM_BUILD_CLI)
  csrnorm_need("${PKG_CONFIG_FOUND}" pkg-config CSRNORM_BUILD_CLI)
  if(PKG_CONFIG_FOUND)
    pkg_check_modules(HDF5 QUIET IMPORTED_TARGET hdf5)
    pkg_check_modules(LIBZIP QUIET IMPORTED_TARGET libzip)
  endif()
  find_package(ZLIB QUIET)
  find_path(LZF_INCLUDE_DIR lzf.h PATH_SUFFIXES liblzf)
  find_library(LZF_LIBRARY lzf)
  csrnorm_need("${HDF5_FOUND}" libhdf5-dev CSRNORM_BUILD_CLI)
  csrnorm_need("${LIBZIP_FOUND}" libzip-dev CSRNORM_BUILD_CLI)
  csrnorm_need("${LZF_LIBRARY}" liblzf-dev CSRNORM_BUILD_CLI)
  csrnorm_need("${ZLIB_FOUND}" zlib1g-dev CSRNORM_BUILD_CLI)
endif()
if(CSRNORM_BUILD_TESTS)
  find_package(cmocka QUIET)
  csrnorm_need("${cmocka_FOUND}" libcmocka-dev CSRNORM_BUILD_TESTS)
endif()

if(csrnorm_missing)
  list(REMOVE_DUPLICATES csrnorm_missing_options)
  list(JOIN csrnorm_missing_options " " csrnorm_without)
  if(csrnorm_without)
    set(csrnorm_without "\nOr build without the parts that need them: ${csrnorm_without}")
  endif()
  message(FATAL_ERROR "Missing on this machine (the names are Debian's packages):${csrnorm_missing}${csrnorm_without}")
endif()

include(CsrnormCuda)
