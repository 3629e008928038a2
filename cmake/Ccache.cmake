# SPDX-License-Identifier: Apache-2.0
# Compiles through ccache where it is installed; one cache serves several clones.
find_program(VMSRS_CCACHE ccache)
if(VMSRS_CCACHE)
  foreach(language C CXX)
    set(CMAKE_${language}_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=true ${VMSRS_CCACHE})
  endforeach()
endif()
