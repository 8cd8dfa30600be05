// Statistics of many pictures, made in parts by whoever is there.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "core/json.h"
#include "core/stop_flag.h"
#include "score/moments.h"

namespace microdit::score {

/// What is to be gathered. A part is a fixed range of the list, so its sums depend on nothing but its pictures and the network;
/// parts are added in their order. So the result has the same bits however many tasks and ranks worked, and a kill loses at
/// most the parts that were in work.
struct GatherPlan {
  std::string what;        ///< "1000 pictures of FOLDER", for messages
  std::int64_t count = 0;  ///< pictures
  std::int64_t dims = 0;
  std::int64_t part_size = 1000, batch_size = 50;
  std::filesystem::path folder;  ///< of these statistics alone: parts, then statistics.npz in their place
  core::Json about;              ///< all that the sums depend on
  /// Features fp32 [last - first, dims] of pictures first to last - 1.
  std::function<torch::Tensor(std::int64_t first, std::int64_t last)> features;
  torch::Device device = torch::kCPU;  ///< where they come
  bool keep_features = false;          ///< also features-PART.npz, which stay when the parts go
};

/// Where the plan's result lies when it is there.
std::filesystem::path statistics_file(const GatherPlan& plan);
/// The features of all pictures, fp64 [count, dims], of a plan that keeps them and is gathered. UserError: damaged, missing.
torch::Tensor read_features(const GatherPlan& plan);

struct Gathered {
  bool stopped = false;
  std::int64_t missing = 0;              ///< parts that are other tasks' work
  std::optional<Statistics> statistics;  ///< when all are there
};
/// Makes this process's share of the parts that are not there yet; when none is missing then, merges them. Collective.
Gathered gather(const GatherPlan& plan, const comm::Share& share, comm::Communicator& comm,
                const core::StopFlag& stop);

}  // namespace microdit::score
