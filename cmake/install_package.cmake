# cmake --install, component dev: what a project outside the tree builds programs of its own from, found by
# find_package(microdit) (docs/extending.md): public headers, our libraries, the programs' own objects.

# Public: what a network, its keys and a noise schedule need, and nothing that those do not include.
set(_headers core/config.h core/error.h core/json.h core/log.h
             nn/attention.h nn/feed_forward.h nn/linear.h nn/modulation.h nn/patch.h nn/position.h nn/timestep.h
             models/check_condition.h models/denoiser.h models/denoiser_kind.h models/drawn.h models/text_conditioner.h models/unet_config.h
             diffusion/noise_schedule.h)
foreach(header ${_headers})
  cmake_path(GET header PARENT_PATH _folder)
  install(FILES src/${header} DESTINATION include/microdit/${_folder} COMPONENT dev)
endforeach()

# Each before what it stands on, as the linker wants archives. All but lives, which no program of torch knows.
set(_libraries job explain train score eval ingest stream tables checkpoint encoders models diffusion nn image store text comm core torch_fmt)
foreach(library ${_libraries})
  install(TARGETS microdit_${library} ARCHIVE DESTINATION lib/microdit COMPONENT dev)
endforeach()

# The programs that build networks or paths. Those of a user's are linked from the same objects.
set(MICRODIT_EXTENSIBLE_JOBS train generate evaluate score explain convert doctor probe)
foreach(job ${MICRODIT_EXTENSIBLE_JOBS})
  install(FILES $<TARGET_OBJECTS:job_${job}> DESTINATION lib/microdit/${job} COMPONENT dev)
endforeach()

include(cmake/package/torch_version.cmake)
microdit_torch_version(${MICRODIT_TORCH_ROOT} MICRODIT_TORCH_VERSION)
include(CMakePackageConfigHelpers)
configure_file(cmake/package/microditConfig.cmake.in ${CMAKE_BINARY_DIR}/package/microditConfig.cmake @ONLY)
# Objects and headers of one version belong together: no other will do.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/microditConfigVersion.cmake VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/microditConfig.cmake ${CMAKE_BINARY_DIR}/package/microditConfigVersion.cmake
              cmake/package/microdit_programs.cmake cmake/package/torch_version.cmake cmake/package/own.cpp.in
        DESTINATION lib/cmake/microdit COMPONENT dev)
install(DIRECTORY examples DESTINATION . COMPONENT dev)
