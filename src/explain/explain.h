// explain: a page of pictures that show what diffusion does, from the library's own functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/config.h"
#include "core/stop_flag.h"
#include "eval/compute.h"

namespace microdit::explain {

struct ExplainConfig {
  std::string output = "explain";  ///< folder
  std::string picture;             ///< file; empty = a drawn one
  std::uint64_t seed = 2024;
  std::int64_t toy_steps = 3000;
  std::vector<std::int64_t> steps = {2, 4, 8, 16, 50};
  std::vector<double> guidance = {0, 1, 2, 4, 8};
  std::string run;                   ///< run folder; empty = none
  std::vector<std::string> prompts;  ///< what it paints, or classes; none = what it painted while it trained
  std::int64_t step = -1;            ///< of its checkpoint; -1 = the newest that verifies
  std::string weights = "auto";
  eval::ComputeOptions compute{};
  void fields(core::Fields& f);
};

/// Makes the folder `output`: index.html with all pictures inside, the same pictures as PNG files, explain.json with the numbers.
/// It appears whole or not at all, and over nothing but an empty folder; one that the same settings made is left as it is. The same
/// settings give the same bytes (on one machine: its fonts). By one process. UserError, core::Stopped.
int explain(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop);

/// Checks settings, picture, run and folder, says what would be made, and writes nothing.
int describe_explain(const ExplainConfig& config, comm::Communicator& comm, const core::StopFlag& stop);

}  // namespace microdit::explain
