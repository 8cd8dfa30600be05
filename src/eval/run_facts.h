// facts.json of a run: all that generation and evaluation need beside the checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/config.h"
#include "diffusion/objective.h"
#include "encoders/encoder_facts.h"
#include "models/denoiser.h"

namespace microdit::eval {

struct RunFacts {
  std::string stage;      ///< "run": codecs have runs too, of other facts
  std::int64_t size = 0;  ///< picture side in pixels
  std::int64_t channels = 0;
  std::int64_t latent_size = 0;
  std::int64_t text_length = 0;
  std::int64_t text_width = 0;
  encoders::CodecFacts codec;
  encoders::TextEncoderFacts text_encoder;
  std::vector<std::string> captions;  ///< sources it trains on, the first first
  std::vector<std::string> datasets;  ///< names under the data root, or folders
  models::DenoiserConfig model;
  diffusion::ObjectiveConfig objective;
  void fields(core::Fields& f);
};

/// UserError, with the file: no run, a run of another stage, a missing or wrong member.
RunFacts read_run_facts(const std::filesystem::path& run_folder);

}  // namespace microdit::eval
