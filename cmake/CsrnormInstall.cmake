# Installing: header, libraries, the package for find_package(csrnorm) and csrnorm.pc. All of it is relocatable: the
# installed tree may be moved as a whole. The shared and the static library are exported apart, because a user of the
# shared one needs no OpenMP on his machine's path of packages.
include(CMakePackageConfigHelpers)
set(csrnorm_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/csrnorm)

foreach(kind shared static)
  string(TOUPPER ${kind} upper)
  if(CSRNORM_BUILD_${upper})
    set(target csrnorm)
    if(kind STREQUAL "static")
      set(target csrnorm_static)
    endif()
    install(TARGETS ${target} EXPORT csrnorm_${kind}
      LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development
      ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
    install(EXPORT csrnorm_${kind} NAMESPACE csrnorm:: FILE csrnorm-${kind}.cmake
      DESTINATION ${csrnorm_package_dir} COMPONENT development)
  endif()
endforeach()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/csrnorm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT development FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)

set(csrnorm_static_needs OpenMP)
if(csrnorm_with_cuda)
  string(APPEND csrnorm_static_needs " and the CUDA runtime ${CUDAToolkit_VERSION_MAJOR}")
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/csrnormConfig.cmake.in
  ${PROJECT_BINARY_DIR}/csrnormConfig.cmake INSTALL_DESTINATION ${csrnorm_package_dir}
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/csrnormConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/csrnormConfig.cmake ${PROJECT_BINARY_DIR}/csrnormConfigVersion.cmake
  DESTINATION ${csrnorm_package_dir} COMPONENT development)

# csrnorm.pc finds its prefix from where it lies itself.
set(csrnorm_pc_prefix ${CMAKE_INSTALL_PREFIX})
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  file(RELATIVE_PATH csrnorm_pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" csrnorm_pc_up "${csrnorm_pc_up}")
  set(csrnorm_pc_prefix "\${pcfiledir}/${csrnorm_pc_up}")
endif()
foreach(directory LIBDIR INCLUDEDIR)
  set(csrnorm_pc_${directory} "\${prefix}/${CMAKE_INSTALL_${directory}}")
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${directory}}")
    set(csrnorm_pc_${directory} ${CMAKE_INSTALL_${directory}})
  endif()
endforeach()
list(TRANSFORM OpenMP_C_LIB_NAMES PREPEND -l OUTPUT_VARIABLE csrnorm_pc_private)
foreach(library ${OpenMP_C_LIB_NAMES}) # libomp may lie where only clang's own -fopenmp looks
  get_filename_component(directory "${OpenMP_${library}_LIBRARY}" DIRECTORY)
  if(directory AND NOT directory IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
    list(PREPEND csrnorm_pc_private -L${directory})
  endif()
endforeach()
list(REMOVE_DUPLICATES csrnorm_pc_private)
list(JOIN csrnorm_pc_private " " csrnorm_pc_private)
# Where the static CUDA runtime lies is a variable, so that a user may say where he has it:
# pkg-config --define-variable=cudalibdir=...
set(csrnorm_pc_cuda "")
if(csrnorm_with_cuda)
  get_filename_component(csrnorm_pc_cuda ${CUDA_cudart_static_LIBRARY} DIRECTORY)
  string(PREPEND csrnorm_pc_cuda "\ncudalibdir=")
  string(APPEND csrnorm_pc_private " -L\${cudalibdir} -lcudart_static -lpthread -ldl -lrt")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/csrnorm.pc.in ${PROJECT_BINARY_DIR}/csrnorm.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/csrnorm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
