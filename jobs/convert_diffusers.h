// convert format=diffusers: a run of a U-Net as a folder that diffusers loads.
#pragma once

#include <filesystem>

#include "eval/trained_run.h"

namespace microdit::jobs {

/// The run (or one of its checkpoints) `input`, opened with `options`, to the new folder `output`: model_index.json, unet/, scheduler/, of a codec vae/, of a text encoder that transformers has
/// text_encoder/ and tokenizer/, README.md, and where no pipeline of diffusers fits pipeline.py. Made aside, read back, renamed.
/// UserError: the folder is there, the network or sampler is none of diffusers', the encoders are not found.
void run_to_diffusers(const std::filesystem::path& input, const eval::RunOptions& options,
                      const std::filesystem::path& output, comm::Communicator& comm);

/// What convert_diffusers_card writes of it.
struct DiffusersFolder {
  std::string pipeline;  ///< the class that model_index.json names
  std::string name;      ///< of the run
  std::int64_t step = 0;
  std::string weights;  ///< ema | raw
  bool takes_text = false, has_text_encoder = false, takes_classes = false, has_null = false;
  bool is_own() const { return pipeline == "MicroditPipeline"; }
};
/// README.md: what it is, and the lines of Python that paint with it.
std::string diffusers_readme(const DiffusersFolder& folder, const eval::TrainedRun& run);
/// pipeline.py: the sampling loop as a pipeline of its own.
std::string diffusers_pipeline();

}  // namespace microdit::jobs
