# The test variant cuda-host: the sources of src/cuda compiled as C++ with the shim of this folder in place of the CUDA
# toolkit, so that their kernels run on the host, as fibers, under sanitizers, without a GPU. Needs a C++ compiler,
# Boost.Context and the headers of CCCL (Thrust); without them the variant is left out, with a message. Included by
# tests/CMakeLists.txt, since a language has to be enabled above everything that links to it.
#
# After it, csrnorm_cuda_host_missing says why there is no such variant. If it is empty, there are the library
# csrnorm_simt (the shim), the flags csrnorm_simt_flags, and the functions below.
set(csrnorm_simt ${CMAKE_CURRENT_LIST_DIR})
set(csrnorm_cuda_host_missing "")

# The C++ compiler that belongs to the C compiler (clang++-14 to clang-14), for the sake of the sanitizers.
if(NOT CMAKE_CXX_COMPILER AND NOT DEFINED ENV{CXX})
  get_filename_component(directory ${CMAKE_C_COMPILER} DIRECTORY)
  get_filename_component(name ${CMAKE_C_COMPILER} NAME)
  string(REGEX REPLACE "clang" "clang++" sibling ${name})
  string(REGEX REPLACE "gcc" "g++" sibling ${sibling})
  string(REGEX REPLACE "^cc$" "c++" sibling ${sibling})
  if(NOT sibling STREQUAL name AND EXISTS ${directory}/${sibling})
    set(CMAKE_CXX_COMPILER ${directory}/${sibling} CACHE FILEPATH "C++ compiler")
  endif()
endif()
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER)
  enable_language(CXX)
endif()
find_path(BOOST_CONTEXT_INCLUDE_DIR boost/context/detail/fcontext.hpp)
find_library(BOOST_CONTEXT_LIBRARY boost_context)
find_path(CCCL_INCLUDE_DIR thrust/version.h
  HINTS ${CUDAToolkit_ROOT} $ENV{CUDA_PATH} $ENV{CUDA_HOME} PATHS /usr/local/cuda
  PATH_SUFFIXES include/cccl targets/x86_64-linux/include/cccl include)
mark_as_advanced(BOOST_CONTEXT_INCLUDE_DIR BOOST_CONTEXT_LIBRARY CCCL_INCLUDE_DIR)

option(CSRNORM_TEST_CUDA_HOST "Test the CUDA sources on the host too" ON)
if(NOT CSRNORM_TEST_CUDA_HOST)
  set(csrnorm_cuda_host_missing "CSRNORM_TEST_CUDA_HOST is off")
elseif(CSRNORM_SANITIZE STREQUAL "thread")
  set(csrnorm_cuda_host_missing "the thread sanitizer does not understand its fibers")
elseif(NOT CMAKE_CXX_COMPILER)
  set(csrnorm_cuda_host_missing "no C++ compiler")
elseif(NOT CMAKE_CXX_COMPILER_ID STREQUAL CMAKE_C_COMPILER_ID)
  set(csrnorm_cuda_host_missing "the C compiler is ${CMAKE_C_COMPILER_ID}, the C++ compiler ${CMAKE_CXX_COMPILER_ID}")
elseif(NOT BOOST_CONTEXT_INCLUDE_DIR OR NOT BOOST_CONTEXT_LIBRARY)
  set(csrnorm_cuda_host_missing "no Boost.Context (libboost-context-dev)")
elseif(NOT CCCL_INCLUDE_DIR)
  set(csrnorm_cuda_host_missing "no CCCL headers; they come with the CUDA toolkit (-DCCCL_INCLUDE_DIR=...)")
endif()
if(csrnorm_cuda_host_missing)
  message(STATUS "Tests of the variant cuda-host are left out: ${csrnorm_cuda_host_missing}")
  return()
endif()

# As csrnorm_flags, for C++. What nvcc unrolls is a pragma unknown to gcc, and one that clang cannot always obey.
add_library(csrnorm_simt_flags INTERFACE)
target_compile_features(csrnorm_simt_flags INTERFACE cxx_std_17)
target_compile_definitions(csrnorm_simt_flags INTERFACE
  CSRN_SIMT_HOST THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP CCCL_DISABLE_FP16_SUPPORT)
target_include_directories(csrnorm_simt_flags INTERFACE ${csrnorm_simt})
target_include_directories(csrnorm_simt_flags SYSTEM INTERFACE ${CCCL_INCLUDE_DIR})
target_compile_options(csrnorm_simt_flags INTERFACE
  -ffp-contract=off -fno-strict-aliasing -fvisibility=hidden -Wall -Wextra -Wshadow -Wpointer-arith -Wvla
  # What is loaded under a condition is used under the same one, which GCC cannot see.
  "$<IF:$<CXX_COMPILER_ID:GNU>,-Wno-unknown-pragmas;-Wno-uninitialized;-Wno-maybe-uninitialized,-Wno-pass-failed>")
if(CSRNORM_WERROR)
  target_compile_options(csrnorm_simt_flags INTERFACE -Werror)
endif()
if(CSRNORM_SANITIZE)
  target_compile_options(csrnorm_simt_flags INTERFACE -fsanitize=${CSRNORM_SANITIZE} -fno-sanitize-recover=all
                                                      -fno-omit-frame-pointer)
  target_link_options(csrnorm_simt_flags INTERFACE -fsanitize=${CSRNORM_SANITIZE})
endif()

add_library(csrnorm_simt STATIC EXCLUDE_FROM_ALL
  ${csrnorm_simt}/simt_scheduler.cpp ${csrnorm_simt}/simt_collectives.cpp ${csrnorm_simt}/simt_memory.cpp
  ${csrnorm_simt}/simt_runtime.cpp ${csrnorm_simt}/simt_streams.cpp)
target_include_directories(csrnorm_simt SYSTEM PRIVATE ${BOOST_CONTEXT_INCLUDE_DIR})
target_link_libraries(csrnorm_simt PUBLIC csrnorm_simt_flags PRIVATE ${BOOST_CONTEXT_LIBRARY})

# simt_spare_thrust(FILE...): Thrust binds references to null pointers on purpose; files that include it are compiled
# without the check for that.
function(simt_spare_thrust)
  if(NOT CSRNORM_SANITIZE)
    return()
  endif()
  foreach(file ${ARGN})
    file(STRINGS ${file} includes REGEX "^#include <thrust/")
    if(includes)
      set_property(SOURCE ${file} APPEND PROPERTY COMPILE_OPTIONS -fno-sanitize=null)
    endif()
  endforeach()
endfunction()

# csrnorm_cuda_host(): the library csrnorm_cuda_host, all of csrnorm with the CUDA backend on the shim. No target
# where src/cuda has no sources.
function(csrnorm_cuda_host)
  file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cuda/*.cu)
  # Whether a value is a small count is asked by converting it and back: a GPU converts what no int holds to the nearest
  # one, and whatever a host makes of it is not the value either.
  if(CSRNORM_SANITIZE)
    set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/cuda/cuda_columns.cu APPEND PROPERTY
      COMPILE_OPTIONS -fno-sanitize=float-cast-overflow)
  endif()
  if(NOT cuda_sources)
    message(STATUS "Tests of the variant cuda-host are left out: no sources in src/cuda")
    return()
  endif()
  # The C sources once more, since those that choose a backend know whether there is one.
  get_target_property(sources csrnorm_objects SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.c$")
  list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/src/)
  get_target_property(definitions csrnorm_objects COMPILE_DEFINITIONS)
  list(FILTER definitions EXCLUDE REGEX "^(CSRNORM_WITH_CUDA|CSRN_BUILD_CUDA)")
  add_library(csrnorm_cuda_host_core OBJECT EXCLUDE_FROM_ALL ${sources})
  target_compile_definitions(csrnorm_cuda_host_core PRIVATE ${definitions} CSRNORM_WITH_CUDA=1
    CSRN_BUILD_CUDA="CUDA on the host, for tests")
  target_include_directories(csrnorm_cuda_host_core PRIVATE
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/cpu)
  target_link_libraries(csrnorm_cuda_host_core PRIVATE csrnorm_flags OpenMP::OpenMP_C)

  set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX)
  simt_spare_thrust(${cuda_sources})
  add_library(csrnorm_cuda_host STATIC EXCLUDE_FROM_ALL ${cuda_sources} $<TARGET_OBJECTS:csrnorm_cuda_host_core>)
  get_property(isas GLOBAL PROPERTY CSRNORM_ISAS)
  foreach(isa ${isas})
    target_sources(csrnorm_cuda_host PRIVATE $<TARGET_OBJECTS:csrnorm_kernels_${isa}>)
  endforeach()
  target_compile_definitions(csrnorm_cuda_host PRIVATE CSRNORM_WITH_CUDA=1)
  if(CSRNORM_SANITIZE) # many kernels: a third less to compile
    target_compile_options(csrnorm_cuda_host PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<CONFIG:Debug>>>:-O1>)
  endif()
  target_include_directories(csrnorm_cuda_host PUBLIC ${PROJECT_SOURCE_DIR}/include
    PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/src/cuda)
  target_link_libraries(csrnorm_cuda_host PRIVATE csrnorm_simt OpenMP::OpenMP_C m)
endfunction()

# csrnorm_cuda_host_test(NAME LABEL): NAME.cuda-host, from the objects of the program test_NAME.
function(csrnorm_cuda_host_test name label)
  add_executable(test_${name}_cuda_host $<TARGET_OBJECTS:test_${name}>)
  target_link_libraries(test_${name}_cuda_host PRIVATE csrnorm_test_parts csrnorm_cuda_host)
  csrnorm_test(${name}.cuda-host ${label} test_${name}_cuda_host cuda "")
  # On a GPU of one multiprocessor, where loops over the grid go round, with little shared memory and with threads that
  # run in another order; in brief, since there is the same once more.
  if(name MATCHES "^(axis_sum|column_sum|exclusion|normalize|median)$" AND NOT CSRNORM_SANITIZE)
    csrnorm_test(${name}.cuda-host-small ${label} test_${name}_cuda_host cuda "")
    set_property(TEST ${name}.cuda-host-small APPEND PROPERTY ENVIRONMENT CSRN_SIMT_MULTIPROCESSORS=1 CSRN_SIMT_SHARED_KIB=64
      CSRN_SIMT_ORDER=backward CSRNORM_TEST_BRIEF=1)
  endif()
endfunction()
