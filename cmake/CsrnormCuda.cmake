# The CUDA backend: built where a CUDA compiler is found (CSRNORM_CUDA=AUTO) or wanted (ON). Sets
#   csrnorm_with_cuda            whether it is built
#   csrnorm_cuda_architectures   for what GPUs, as CMake names them
#   csrnorm_cuda_text            what csrn_build_info() says of it
#   csrnorm_cuda_state           what the summary says of it
# A file, not a function: a language is enabled for the folder that does so and those below.
set(csrnorm_cuda_minimum 12.0)
set(csrnorm_cuda_portable 75-virtual 90)
set(CSRNORM_CUDA_ARCHITECTURES "" CACHE STRING
  "GPUs to compile for, as in CMAKE_CUDA_ARCHITECTURES; empty: those of this machine, without any ${csrnorm_cuda_portable}")
set(csrnorm_with_cuda OFF)
set(csrnorm_cuda_text "no CUDA")
set(csrnorm_cuda_state "no: CSRNORM_CUDA is OFF")

if(NOT CSRNORM_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "CSRNORM_CUDA is \"${CSRNORM_CUDA}\"; expected AUTO, ON or OFF")
endif()
if(CSRNORM_CUDA STREQUAL "OFF")
  return()
endif()

# The compiler: CUDACXX or CMAKE_CUDA_COMPILER, else nvcc on the PATH or where NVIDIA's packages install it. An
# earlier configure may not have found it.
if(NOT CMAKE_CUDA_COMPILER)
  unset(CMAKE_CUDA_COMPILER CACHE)
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CSRNORM_NVCC nvcc PATHS ENV CUDA_PATH ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES bin)
  mark_as_advanced(CSRNORM_NVCC)
  if(CSRNORM_NVCC)
    set(ENV{CUDACXX} ${CSRNORM_NVCC})
  endif()
endif()
if(CMAKE_CUDA_COMPILER OR DEFINED ENV{CUDACXX})
  include(CheckLanguage)
  check_language(CUDA)
  set(csrnorm_cuda_state "no: the CUDA compiler compiles nothing; it needs a C++ compiler that it supports (g++)")
else()
  set(csrnorm_cuda_state "no: no CUDA compiler was found")
endif()
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  find_package(CUDAToolkit QUIET)
  if(NOT CMAKE_CUDA_COMPILER_ID STREQUAL "NVIDIA" OR CMAKE_CUDA_COMPILER_VERSION VERSION_LESS csrnorm_cuda_minimum)
    set(csrnorm_cuda_state "no: ${CMAKE_CUDA_COMPILER} is ${CMAKE_CUDA_COMPILER_ID} ${CMAKE_CUDA_COMPILER_VERSION}")
  elseif(NOT TARGET CUDA::cudart_static)
    set(csrnorm_cuda_state "no: no libcudart_static.a for ${CMAKE_CUDA_COMPILER}")
  else()
    set(csrnorm_with_cuda ON)
  endif()
endif()
if(NOT csrnorm_with_cuda)
  if(CSRNORM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CSRNORM_CUDA is ON, but the CUDA backend cannot be built.\n  ${csrnorm_cuda_state}\n"
      "It needs nvcc and libcudart_static.a ${csrnorm_cuda_minimum} or newer and a C++ compiler: NVIDIA's packages "
      "cuda-nvcc and cuda-cudart-dev (or cuda-toolkit), and g++. nvcc is looked for on the PATH and in "
      "/usr/local/cuda; CUDACXX=/path/to/nvcc names another.\nOr build for the CPU alone: -DCSRNORM_CUDA=OFF")
  endif()
  return()
endif()

# For what GPUs: code for one runs on those of the same major version with the same or a higher minor one; PTX is
# compiled by the driver, at first use, for any GPU from the one named on.
set(csrnorm_cuda_architectures ${CSRNORM_CUDA_ARCHITECTURES})
if(NOT csrnorm_cuda_architectures)
  find_program(CSRNORM_NVIDIA_SMI nvidia-smi)
  mark_as_advanced(CSRNORM_NVIDIA_SMI)
  if(CSRNORM_NVIDIA_SMI)
    execute_process(COMMAND ${CSRNORM_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
      OUTPUT_VARIABLE csrnorm_gpus ERROR_QUIET)
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE csrnorm_known ERROR_QUIET)
    string(REGEX MATCHALL "[0-9]+\\.[0-9]" csrnorm_gpus "${csrnorm_gpus}")
    foreach(gpu ${csrnorm_gpus})
      string(REPLACE "." "" gpu ${gpu})
      if(csrnorm_known MATCHES "compute_${gpu}[^0-9]")
        list(APPEND csrnorm_cuda_architectures ${gpu})
      endif()
    endforeach()
    list(REMOVE_DUPLICATES csrnorm_cuda_architectures)
  endif()
endif()
if(NOT csrnorm_cuda_architectures)
  set(csrnorm_cuda_architectures ${csrnorm_cuda_portable})
endif()

string(REGEX MATCH "^[0-9]+\\.[0-9]+" csrnorm_cuda_text ${CMAKE_CUDA_COMPILER_VERSION})
string(PREPEND csrnorm_cuda_text "CUDA ")
string(APPEND csrnorm_cuda_text " for")
foreach(kind sm_ compute_)
  foreach(architecture ${csrnorm_cuda_architectures})
    string(REGEX REPLACE "-.*" "" number ${architecture})
    if(architecture MATCHES "^[a-z]" AND kind STREQUAL "sm_")
      string(APPEND csrnorm_cuda_text " ${architecture}") # CMake's "native", "all" or "all-major"
    elseif((kind STREQUAL "sm_" AND NOT architecture MATCHES "-virtual")
        OR (kind STREQUAL "compute_" AND NOT architecture MATCHES "-real|^[a-z]"))
      string(APPEND csrnorm_cuda_text " ${kind}${number}")
    endif()
  endforeach()
endforeach()
set(csrnorm_cuda_state "${csrnorm_cuda_text}, ${CMAKE_CUDA_COMPILER}")
