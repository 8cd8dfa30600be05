// generate: prompts -> PNG files with their settings inside, a manifest, a captioned grid.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/config.h"
#include "core/stop_flag.h"
#include "eval/picture_notes.h"
#include "eval/prompts.h"
#include "eval/trained_run.h"

namespace microdit::eval {

struct GenerateConfig {
  std::int64_t num_images = 4;  ///< per prompt
  std::uint64_t seed = 2024;    ///< image i of the whole list uses seed + i (modulo 2^64)
  std::string negative;         ///< negative prompt; empty = the model's null condition
  std::string class_name;       ///< of a model of text and classes: of all pictures; empty = none
  std::string out;              ///< folder; empty = RUN/images/NNN-<first prompt>
  bool save_latents = false;    ///< also latents.safetensors
  bool metadata = true;         ///< pictures say how they were made
  std::string layout = "flat";  ///< flat | geneval, see eval/layout.h
  std::int64_t trajectory =
      0;  ///< also NNNNNN_trajectory.png: so many states from the noise to the picture; 0 = none
  RunOptions run{.batch_size = 8, .sampler = {.steps = 30}};
  std::optional<PictureNotes> repeated;  ///< the picture of --from-image; no key
  std::vector<std::string> given = {};   ///< keys that were read; no key
  void fields(core::Fields& f);
  /// The keys that are not given as the picture's notes have them: its bits again, on a machine that computes alike.
  GenerateConfig repeating(const PictureNotes& notes) const;
  bool is_given(std::string_view key) const;
};

/// Image i is a function of (run, prompt, its seed, settings): not of ranks, nor of which images were there
/// already. A call has a folder of its own; the same call again goes on in it, pictures that are there are
/// kept. kDone, or kRequeueMe after a stop.
int generate(const std::string& run, const PromptList& list, const GenerateConfig& config,
             comm::Communicator& comm, const core::StopFlag& stop);

/// Checks run, encoders, prompts and folder, says what it will need, and writes nothing.
int describe_generate(const std::string& run, const PromptList& list, const GenerateConfig& config,
                      comm::Communicator& comm);

}  // namespace microdit::eval
