# What a wheel of the Python package holds besides Python: the shared library under its plain name, beside the modules.
# OpenMP's runtime comes with it where it is gcc's, since a machine without a compiler may have none. It keeps its name,
# so that a process that has loaded the system's libgomp already goes on with that one instead of a second.
set_target_properties(csrnorm PROPERTIES VERSION "" SOVERSION "" NO_SONAME ON INSTALL_RPATH "$ORIGIN")
install(TARGETS csrnorm LIBRARY DESTINATION csrnorm COMPONENT python)

execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libgomp.so.1
  OUTPUT_VARIABLE csrnorm_gomp OUTPUT_STRIP_TRAILING_WHITESPACE)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND IS_ABSOLUTE "${csrnorm_gomp}")
  get_filename_component(csrnorm_gomp ${csrnorm_gomp} REALPATH)
  install(FILES ${csrnorm_gomp} DESTINATION csrnorm RENAME libgomp.so.1 COMPONENT python)
  install(FILES ${CMAKE_CURRENT_LIST_DIR}/libgomp.txt DESTINATION csrnorm RENAME libgomp.so.1.txt COMPONENT python)
else()
  message(WARNING "The OpenMP runtime is not put into the wheel: it works only where that is installed")
endif()
