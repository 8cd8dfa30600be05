// convert's part that knows files of weights: from one format to the other, and what of a file is the network's.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/key_report.h"
#include "core/weights_file.h"

namespace microdit::jobs {

/// Whether a name is that of a file of weights: .safetensors, .pt, .pth, .bin, .ckpt.
bool is_weights_name(const std::filesystem::path& file);

/// The name to write -> the name in the file. `names`: stored (as they are), network (core/weights_names.h). UserError when a
/// tensor among them cannot be read, or there is none.
std::map<std::string, std::string> chosen_names(const core::WeightsFile& file, const std::string& names);

/// UserError with a report when `have` is not what `target` (a run, a checkpoint or a file of weights) holds; an empty target
/// wants nothing.
void check_target(const core::Shapes& have, const std::filesystem::path& input,
                  const std::filesystem::path& target, const std::string& names);

/// `tensors` to a file, in the format that its name says; aliases as the format has them.
void write_weights(const std::filesystem::path& output,
                   const std::map<std::string, core::TensorInfo>& tensors, const core::TensorSource& read,
                   std::map<std::string, std::string> metadata,
                   const std::map<std::string, std::string>& aliases = {});

/// File -> file.
void convert_weights(const std::filesystem::path& input, const std::filesystem::path& output,
                     const std::string& names, const std::filesystem::path& target);

}  // namespace microdit::jobs
