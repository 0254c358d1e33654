# Tests of what the formats share, and of MatrixMarket, .npz and vectors.
find_package(PkgConfig REQUIRED)
find_package(Python3 COMPONENTS Interpreter)
pkg_check_modules(LIBZIP_TEST REQUIRED IMPORTED_TARGET libzip zlib)

add_library(csrnorm_io_fixture STATIC io_fixture.c npz_sample.c)
target_include_directories(csrnorm_io_fixture PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} ${CMOCKA_INCLUDE_DIR})
target_link_libraries(csrnorm_io_fixture PUBLIC csrnorm_io csrnorm_flags PkgConfig::LIBZIP_TEST ${CMOCKA_LIBRARIES} m)

foreach(topic mtx mtx_errors mtx_threads npz npz_errors output roundtrip vector decimal allocation)
  add_executable(test_io_${topic} test_io_${topic}.c)
  target_link_libraries(test_io_${topic} PRIVATE csrnorm_io_fixture)
  csrnorm_test(io.${topic} io test_io_${topic})
endforeach()

# In pieces, .npz files too.
add_executable(test_npz_pieces test_npz_pieces.c pieces_device.c)
target_link_libraries(test_npz_pieces PRIVATE csrnorm_io_fixture)
csrnorm_test(io.npz_pieces io test_npz_pieces)

# Every allocation of the program goes through functions that can be told to fail.
target_link_options(test_io_allocation PRIVATE
  LINKER:--wrap=malloc LINKER:--wrap=calloc LINKER:--wrap=realloc LINKER:--wrap=strdup LINKER:--wrap=strndup)

# Against scipy's own readers and writers; skipped where Python has no scipy.
add_executable(io_copy io_copy.c)
target_link_libraries(io_copy PRIVATE csrnorm_io csrnorm_flags)
if(Python3_FOUND AND NOT CSRNORM_SANITIZE STREQUAL "thread") # io.mtx_threads has the threads in it
  csrnorm_test(io.scipy io ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/test_io_scipy.py $<TARGET_FILE:io_copy>)
endif()
