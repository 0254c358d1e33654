# The tests with the label `lint`: formatting, clang-tidy and shellcheck. Versions of the clang tools differ in what
# they want, so one version counts; where it is missing, the test is skipped and says so. In a build with a sanitizer
# all tests have its name as a label instead: asan or tsan.
if(CSRNORM_SANITIZE)
  set(csrnorm_sanitizer_label asan)
  if(CSRNORM_SANITIZE STREQUAL "thread")
    set(csrnorm_sanitizer_label tsan)
  endif()
  set_directory_properties(PROPERTIES LABELS ${csrnorm_sanitizer_label})
  return()
endif()
if(NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
  return()
endif()

set(csrnorm_lint_version 14)
find_program(BASH_PROGRAM bash REQUIRED)

# csrnorm_lint(NAME ARGUMENT...): scripts/lint with these arguments.
function(csrnorm_lint name)
  add_test(NAME lint.${name} COMMAND ${BASH_PROGRAM} ${PROJECT_SOURCE_DIR}/scripts/lint ${ARGN})
  set_tests_properties(lint.${name} PROPERTIES LABELS lint SKIP_RETURN_CODE 77 TIMEOUT 600
    ENVIRONMENT "LINT_VERSION=${csrnorm_lint_version}")
endfunction()

csrnorm_lint(format format)
csrnorm_lint(shell shell)
if(CMAKE_EXPORT_COMPILE_COMMANDS)
  cmake_host_system_information(RESULT csrnorm_processors QUERY NUMBER_OF_LOGICAL_CORES)
  foreach(folder src src/cpu src/io cli tests)
    string(REPLACE "/" "_" name ${folder})
    csrnorm_lint(tidy_${name} tidy ${PROJECT_BINARY_DIR} ${folder})
    set_tests_properties(lint.tidy_${name} PROPERTIES PROCESSORS ${csrnorm_processors})
  endforeach()
endif()
