# Installs the build tree BUILD to STAGED and moves the result to PREFIX.
file(REMOVE_RECURSE ${STAGED} ${PREFIX})
set(config "")
if(CONFIG)
  set(config --config ${CONFIG})
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${STAGED} ${config} COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${STAGED} ${PREFIX})
