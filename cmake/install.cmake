# cmake --install build --prefix DIR: a folder that may be moved: programs, their libraries, job scripts, configs (component runtime),
# and what find_package(microdit) needs (component dev, install_package.cmake).
# cmake --build build --target tarball: the component runtime as build/microdit-VERSION-SYSTEM.tar.gz.
# For systems like the one that built it: the C and C++ run-time, MPI and the GPU's driver stay the system's.

set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # the tests need not be built
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME runtime)
get_property(_targets DIRECTORY jobs PROPERTY BUILDSYSTEM_TARGETS)
set(_programs "")
set(_static "")
foreach(target ${_targets})
  get_target_property(_type ${target} TYPE)
  if(_type STREQUAL "EXECUTABLE")
    string(REGEX REPLACE "^job_" "" _name ${target})
    get_target_property(_link ${target} LINK_OPTIONS)
    if("-static" IN_LIST _link)
      list(APPEND _static ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${_name})
      continue()
    endif()
    list(APPEND _programs ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/${_name})
    # Room for the installed rpath, which takes this one's place; an rpath, as a runpath would not serve the libraries' own needs.
    target_link_options(${target} PRIVATE "-Wl,-rpath,$ORIGIN/../lib" -Wl,--disable-new-dtags)
  endif()
endforeach()

install(PROGRAMS ${_programs} ${_static} DESTINATION bin)
install(DIRECTORY slurm configs assets DESTINATION . USE_SOURCE_PERMISSIONS
        PATTERN "*.out" EXCLUDE PATTERN ".microdit_sha256.json" EXCLUDE PATTERN "pipeline-*.txt" EXCLUDE PATTERN "lives" EXCLUDE)
install(PROGRAMS scripts/local_slurm.sh DESTINATION scripts)
install(FILES README.md LICENSE CHANGELOG.md DESTINATION .)
install(DIRECTORY docs DESTINATION . FILES_MATCHING PATTERN "*.md" PATTERN "gpu_check" EXCLUDE)

# Libraries that torch opens by name while it runs.
set(_opened "")
if(MICRODIT_WITH_CUDA)
  file(GLOB _opened ${MICRODIT_TORCH_ROOT}/lib/libtorch_cuda_linalg.so ${MICRODIT_TORCH_ROOT}/lib/libcaffe2_nvrtc.so)
  foreach(dir ${_nvidia} ${CUDAToolkit_LIBRARY_DIR} ${MICRODIT_CUDA_LIBRARY_PATH})
    file(GLOB _more ${dir}/libcudnn_*.so.* ${dir}/libnvrtc-builtins.so.* ${dir}/libnvrtc.so.* ${dir}/libnvJitLink.so.*)
    list(APPEND _opened ${_more})
  endforeach()
endif()
install(CODE "
  set(programs \"${_programs}\")
  set(opened \"${_opened}\")
  set(folders \"${MICRODIT_TORCH_ROOT}/lib;${_nvidia};${CUDAToolkit_LIBRARY_DIR};${MICRODIT_CUDA_LIBRARY_PATH};${MICRODIT_ARROW_LIBRARY_PATH}\")" COMPONENT runtime)
install(SCRIPT ${CMAKE_SOURCE_DIR}/cmake/install_libraries.cmake COMPONENT runtime)
include(cmake/install_package.cmake)

set(_package microdit-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
if(MICRODIT_WITH_CUDA)
  string(APPEND _package -cuda)
endif()
add_custom_target(tarball
  COMMAND ${CMAKE_COMMAND} -E rm -rf tarball
  COMMAND ${CMAKE_COMMAND} --install ${CMAKE_BINARY_DIR} --component runtime --prefix tarball/${_package}
  COMMAND ${CMAKE_COMMAND} -E chdir tarball ${CMAKE_COMMAND} -E tar czf ../${_package}.tar.gz ${_package}
  COMMAND ${CMAKE_COMMAND} -E rm -rf tarball
  COMMAND ${CMAKE_COMMAND} -E echo "${CMAKE_BINARY_DIR}/${_package}.tar.gz"
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR} VERBATIM)
add_dependencies(tarball jobs)
