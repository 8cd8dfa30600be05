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

/// Columns of an MDS folder; `{size}` stands for the picture's side in pixels.
struct MdsColumns {
  std::string latents = "latents_{size}";
  std::string text = "caption_latents";
  std::string caption = "caption";
  void fields(core::Fields& f);
};

/// What one source of a run is, and what it held when the run began: checked at every resume.
struct RunSource {
  std::string dataset;         ///< name under the data root, or a latents folder; or, without one ...
  std::string recipe;          ///< of its latents
  std::string mds;             ///< ... an MDS folder
  MdsColumns columns;          ///< of that
  std::int64_t synthetic = 0;  ///< ... or so many made-up samples
  std::int64_t min_side = 0;
  std::int64_t limit = 0;
  std::int64_t generation = 0;  ///< of the folder: a newer one beside it is not looked at
  std::string sha256;           ///< of its manifest (an MDS folder's index)
  std::int64_t rows = 0;        ///< samples, filtered
  void fields(core::Fields& f);
  std::string name() const;
  /// Whether it names the same data, whatever they hold.
  bool same_place(const RunSource& other) const;
};

struct RunFacts {
  std::string stage;      ///< "run": codecs have runs too, of other facts
  std::int64_t size = 0;  ///< picture side in pixels
  std::int64_t channels = 0;
  std::int64_t latent_size = 0;
  std::int64_t text_length = 0;
  std::int64_t text_width = 0;
  encoders::CodecFacts codec;  ///< without a kind where the data name none: such a run paints no pictures
  encoders::TextEncoderFacts text_encoder;
  std::vector<std::string> captions;  ///< sources it trains on, the first first
  std::vector<std::string> classes;   ///< names of the data's classes 0, 1, 2 ...; none where they have none
  std::vector<RunSource> data;
  std::int64_t shuffle_run = 1;  ///< neighbouring samples that stay together in the order
  models::DenoiserConfig model;
  diffusion::ObjectiveConfig objective;
  void fields(core::Fields& f);
};

/// UserError, with the file: no run, a run of another stage, a missing or wrong member.
RunFacts read_run_facts(const std::filesystem::path& run_folder);

}  // namespace microdit::eval
