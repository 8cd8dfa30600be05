// Settings of micro_diffusion's training as ours.
#pragma once

#include <filesystem>

namespace microdit::jobs {

/// A YAML file of SonyResearch/micro_diffusion (configs/res_*.yaml: Hydra with Composer's times and class names; interpolations within the
/// file are followed) -> a file for train that says the same, and as comments what it does not say. UserError, with file, line and key: a
/// value that has no equal here (another optimizer, clipping, time unit), no such file at all.
void convert_config(const std::filesystem::path& input, const std::filesystem::path& output);

}  // namespace microdit::jobs
