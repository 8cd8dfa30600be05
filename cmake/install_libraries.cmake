# Run by cmake --install, with `programs`, `opened` and `folders` set: copies what the programs need beyond the base system,
# and gives them an rpath to it that is relative to themselves.
if(POLICY CMP0207)
  cmake_policy(SET CMP0207 NEW)  # paths are normalised before they are matched
endif()
set(prefix $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX})
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${programs} LIBRARIES ${opened}
  RESOLVED_DEPENDENCIES_VAR libraries UNRESOLVED_DEPENDENCIES_VAR missing CONFLICTING_DEPENDENCIES_PREFIX conflicting
  DIRECTORIES ${folders}
  PRE_EXCLUDE_REGEXES
    "^ld-linux" "^lib(c|m|dl|rt|pthread|util|resolv|mvec|gcc_s|stdc\\+\\+)\\.so"  # the base system
    "^lib(mpi|mpi_cxx|open-rte|open-pal|mpich|mpicxx|pmi)[^/]*\\.so"              # the system's launcher speaks to these
    "^lib(cuda|nvidia-[a-z]+)\\.so")                                              # the driver
if(missing)
  message(FATAL_ERROR "cannot install: libraries not found: ${missing}")
endif()
foreach(name ${conflicting_FILENAMES})  # one name in several folders: the first is what the programs load
  list(GET conflicting_${name} 0 first)
  list(APPEND libraries ${first})
endforeach()
file(INSTALL DESTINATION ${CMAKE_INSTALL_PREFIX}/lib TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN FILES ${libraries} ${opened})
foreach(program ${programs})
  get_filename_component(name ${program} NAME)
  file(RPATH_SET FILE ${prefix}/bin/${name} NEW_RPATH "$ORIGIN/../lib")
endforeach()
# The scripts and the README say build/bin.
file(MAKE_DIRECTORY ${prefix}/build ${prefix}/slurm/logs)
file(CREATE_LINK ../bin ${prefix}/build/bin SYMBOLIC)
