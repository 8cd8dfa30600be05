// What evaluate measured of a run, for the report and for TensorBoard.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "image/plot.h"
#include "train/run_folder.h"

namespace microdit::train {

struct Evaluated {
  std::filesystem::path folder;
  core::Json metrics;
};

/// Of RUN/evaluation/NNN-*, the newest (`latest`) last; or RUN/metrics.json alone.
std::vector<Evaluated> read_evaluations(const RunFolder& run);

/// Held-out and trained loss over the steps that were evaluated; empty series left out.
std::vector<image::Series> loss_points(const std::vector<Evaluated>& evaluations);

/// The newest as a table with its pictures, the earlier ones in a line each.
std::string evaluations_html(const std::vector<Evaluated>& evaluations);

/// The newest into tensorboard/evaluation, at its checkpoint's step.
void record_evaluation(const RunFolder& run);

}  // namespace microdit::train
