// The demonstration's net as the benchmarks build it: the preset's file, with the shapes its data would give.
#pragma once

#include "models/denoiser.h"

namespace microdit::bench {

struct ModelFile {
  models::DenoiserConfig model;
  void fields(core::Fields& f) { f.section("model", model); }
};

inline models::DenoiserConfig demonstration_model(const char* path) {
  models::DenoiserConfig config = core::load<ModelFile>(path).model;
  config.input_size = 8;
  config.in_channels = 4;
  config.caption_channels = 384;
  return config;
}

}  // namespace microdit::bench
