# Flags for our own code. Third-party headers are SYSTEM and stay quiet.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Programs are compiled as the libraries are, so that all share one precompiled header.
set(CMAKE_CXX_COMPILE_OPTIONS_PIE -fPIC)
find_program(CCACHE ccache)
if(CCACHE)
  # A precompiled header is seen by ccache only with these.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      # So that a second build folder finds the first one's objects: paths from here, and the precompiled header known
      # by what it is made of (library.cmake), because no two of them have the same bytes.
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_PCH_EXTSUM=true ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  # separate-code: without it mold 1.10 may begin the pages that become read-only one before the first that is mapped (where
  # code ends within a few bytes of a page's end and thread-local variables follow), and such a program cannot start:
  # "cannot apply additional memory protection after relocation".
  add_link_options(-fuse-ld=mold -Wl,-z,separate-code)
endif()

add_library(microdit_flags INTERFACE)
set(flags -Wall -Wextra -fno-math-errno -fpch-preprocess)
option(MICRODIT_WERROR "Warnings of our own C++ are errors (tests use it; a user's compiler may know other warnings)" OFF)
if(MICRODIT_WERROR)
  list(APPEND flags -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Guessed from optimised code; GCC 12 guesses wrong on std::string, and not in every folder: said, but not fatal.
    list(APPEND flags -Wno-error=array-bounds -Wno-error=maybe-uninitialized -Wno-error=restrict
         -Wno-error=stringop-overflow -Wno-error=stringop-overread)
  endif()
endif()
target_compile_options(microdit_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${flags}>")
if(MICRODIT_SANITIZE)
  add_compile_options(-fsanitize=${MICRODIT_SANITIZE} -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${MICRODIT_SANITIZE})
endif()
