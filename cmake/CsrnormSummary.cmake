# The end of a configure: what will be built, how, and with what.
function(csrnorm_summary)
  if(NOT PROJECT_IS_TOP_LEVEL)
    return()
  endif()
  set(libraries "")
  foreach(kind SHARED STATIC)
    if(CSRNORM_BUILD_${kind})
      string(TOLOWER ${kind} name)
      list(APPEND libraries ${name})
    endif()
  endforeach()
  list(JOIN libraries ", " libraries)
  set(build_type ${CMAKE_BUILD_TYPE})
  if(csrnorm_multi_config)
    list(JOIN CMAKE_CONFIGURATION_TYPES ", " build_type)
  endif()
  get_property(isas GLOBAL PROPERTY CSRNORM_ISAS)
  list(JOIN isas ", " isas)
  set(command_line no)
  if(CSRNORM_BUILD_CLI)
    set(command_line "yes, with HDF5 ${HDF5_VERSION}, libzip ${LIBZIP_VERSION}, zlib ${ZLIB_VERSION_STRING}")
  endif()
  set(sanitizers none)
  if(CSRNORM_SANITIZE)
    set(sanitizers ${CSRNORM_SANITIZE})
  endif()
  set(tests no)
  if(CSRNORM_BUILD_TESTS)
    set(tests yes)
  endif()
  message(STATUS "csrnorm ${PROJECT_VERSION}
     compiler           ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}, OpenMP ${OpenMP_C_VERSION}
     build type         ${build_type}
     libraries          ${libraries}
     instruction sets   ${isas}
     CUDA backend       ${csrnorm_cuda_state}
     command line       ${command_line}
     tests              ${tests}
     sanitizers         ${sanitizers}
     warnings           errors: ${CSRNORM_WERROR}
     install prefix     ${CMAKE_INSTALL_PREFIX}")
endfunction()
