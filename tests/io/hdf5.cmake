# Tests of the HDF5 formats: .h5ad and 10x .h5.
find_package(PkgConfig REQUIRED)
pkg_check_modules(HDF5_TEST REQUIRED IMPORTED_TARGET hdf5)
find_path(LZF_INCLUDE_DIR lzf.h PATH_SUFFIXES liblzf REQUIRED)
find_library(LZF_LIBRARY lzf REQUIRED)

add_library(csrnorm_hdf5_samples STATIC hdf5_samples.c)
target_include_directories(csrnorm_hdf5_samples PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} ${CMOCKA_INCLUDE_DIR} ${LZF_INCLUDE_DIR})
target_link_libraries(csrnorm_hdf5_samples PUBLIC csrnorm_io csrnorm_flags PkgConfig::HDF5_TEST ${CMOCKA_LIBRARIES}
                                                  ${LZF_LIBRARY} m)
foreach(topic read write 10x errors links copy)
  add_executable(test_hdf5_${topic} test_hdf5_${topic}.c)
  target_link_libraries(test_hdf5_${topic} PRIVATE csrnorm_hdf5_samples)
  csrnorm_test(io.hdf5.${topic} io test_hdf5_${topic})
endforeach()

foreach(topic stream stream_axis)
  add_executable(test_${topic} test_${topic}.c stream_samples.c pieces_device.c)
  target_link_libraries(test_${topic} PRIVATE csrnorm_hdf5_samples)
  csrnorm_test(io.${topic} io test_${topic})
endforeach()

# Faults of the system: the program's own read(), write() and the like take the place of the C library's. The thread
# sanitizer wants these for itself, and what is shared between threads is the same with faults and without.
if(NOT CSRNORM_SANITIZE STREQUAL "thread")
  add_executable(test_io_faults test_io_faults.c faults.c)
  target_link_libraries(test_io_faults PRIVATE csrnorm_hdf5_samples ${CMAKE_DL_LIBS})
  csrnorm_test(io.faults io test_io_faults)
endif()

# About what else is in a file, which one thread copies.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND AND TARGET csrnorm_cli AND NOT CSRNORM_SANITIZE STREQUAL "thread")
  csrnorm_test(io.h5ad.anndata io ${Python3_EXECUTABLE} -W ignore ${CMAKE_CURRENT_SOURCE_DIR}/test_h5ad.py
    $<TARGET_FILE:csrnorm_cli>)
endif()
