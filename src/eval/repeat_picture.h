// generate --from-image: which run painted a picture, and whether it can paint it again.
#pragma once

#include <filesystem>
#include <string>

#include "eval/generate.h"

namespace microdit::eval {

/// A run's name as text, whatever bytes it has.
std::string run_name(const std::filesystem::path& folder);

/// The run that painted the picture `file`: a folder above it, else runs/NAME. UserError: neither is.
std::string run_of(const PictureNotes& notes, const std::filesystem::path& file);

/// UserError: other weights than the repeated picture's, unless another checkpoint is asked for (step=, weights=): then, and
/// where the run has another name or the suite another version, a line in the log.
void check_repeated(const GenerateConfig& config, const TrainedRun& run);

}  // namespace microdit::eval
