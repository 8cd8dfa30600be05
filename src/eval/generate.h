// generate: prompts -> PNG files with their settings inside, a manifest, a captioned grid.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/stop_flag.h"
#include "comm/communicator.h"
#include "eval/trained_run.h"

namespace microdit::eval {

struct GenerateConfig {
  std::int64_t num_images = 4;  ///< per prompt
  std::int64_t seed = 2024;     ///< image i of the whole list uses seed + i
  std::string out;              ///< folder; empty = RUN/images
  RunOptions run{.batch_size = 8, .sampler = {.steps = 30}};
  void fields(core::Fields& f);
};

/// One prompt per line; blank lines and lines that begin with '#' are skipped. UserError when missing or
/// empty.
std::vector<std::string> read_prompts(const std::string& file);

/// Image i is a function of (run, prompt, its seed, settings): not of ranks, nor of which images were there
/// already. Pictures that are there with the same settings are kept. kDone, or kRequeueMe after a stop.
int generate(const std::string& run, const std::vector<std::string>& prompts, const GenerateConfig& config,
             comm::Communicator& comm, const core::StopFlag& stop);

}  // namespace microdit::eval
