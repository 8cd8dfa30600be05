# microdit_library(NAME [TORCH] [EDGES lib...] [PUBLIC target...] [PRIVATE target...])
# The static target microdit_NAME of src/NAME/**.cpp. EDGES are the only libraries it may include.

# One precompiled torch header for every target that uses torch.
add_library(microdit_torch_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cpp)
target_link_libraries(microdit_torch_pch PRIVATE microdit_torch microdit_flags Threads::Threads)
target_precompile_headers(microdit_torch_pch PRIVATE
                           <torch/csrc/autograd/custom_function.h> <torch/nn/module.h> <torch/types.h> <torch/utils.h>)

file(STRINGS ${MICRODIT_TORCH_ROOT}/include/torch/headeronly/version.h _torch_version REGEX "define TORCH_VERSION_[MP]|TORCH_ABI_VERSION")
file(WRITE ${CMAKE_BINARY_DIR}/CMakeFiles/microdit_torch_pch.dir/cmake_pch.hxx.gch.sum
     "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} ${CMAKE_BUILD_TYPE} ${CMAKE_CXX_FLAGS} ${MICRODIT_SANITIZE} ${_torch_version}")

add_library(microdit_torch_fmt STATIC ${CMAKE_SOURCE_DIR}/cmake/torch_fmt.cpp)
target_link_libraries(microdit_torch_fmt PRIVATE microdit_torch)

function(microdit_use_torch target)
  target_link_libraries(${target} PRIVATE microdit_torch)
  target_precompile_headers(${target} REUSE_FROM microdit_torch_pch)
endfunction()

function(microdit_library name)
  cmake_parse_arguments(LIB "TORCH" "" "EDGES;PUBLIC;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  if(MICRODIT_WITH_CUDA)
    file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cu)
  else()
    # The CUDA side of a seam is left out; its host function then says so.
    list(FILTER sources EXCLUDE REGEX "_cuda\\.cpp$|/nccl[^/]*\\.cpp$")
  endif()
  set(target microdit_${name})
  if(NOT sources)
    file(WRITE ${CMAKE_BINARY_DIR}/empty_${name}.cpp "")
    set(sources ${CMAKE_BINARY_DIR}/empty_${name}.cpp)
  endif()
  add_library(${target} STATIC ${sources} ${cuda_sources})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE microdit_flags PUBLIC Threads::Threads ${LIB_PUBLIC} PRIVATE ${LIB_PRIVATE})
  if(MICRODIT_WITH_CUDA)
    set(cuda_includes)
    foreach(dir ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_INCLUDE})
      list(APPEND cuda_includes -isystem${dir})
    endforeach()
    # Only what mentions CUDA is told of it, so that all else compiles to the same bytes with and without (ccache).
    foreach(source ${sources})
      file(STRINGS ${source} mentions REGEX "MICRODIT_WITH_CUDA|cuda_runtime|c10/cuda|nccl" LIMIT_COUNT 1)
      if(mentions)
        set_source_files_properties(${source} PROPERTIES COMPILE_DEFINITIONS MICRODIT_WITH_CUDA
                                    COMPILE_OPTIONS "${cuda_includes}")
      endif()
    endforeach()
  endif()
  foreach(edge ${LIB_EDGES})
    target_link_libraries(${target} PUBLIC microdit_${edge})
  endforeach()
  if(LIB_TORCH)
    target_link_libraries(${target} PUBLIC microdit_torch microdit_torch_fmt)
    microdit_use_torch(${target})
  endif()
endfunction()
