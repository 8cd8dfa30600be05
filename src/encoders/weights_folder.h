// A folder of the Python ecosystem: config.json beside its weights: safetensors or PyTorch's, whole or sharded.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "nn/state_dict.h"

namespace microdit::encoders {

/// folder/config.json. UserError when folder or file is missing.
core::Json read_folder_config(const std::filesystem::path& folder);

/// A tensor's name -> where it goes.
using Slots = std::map<std::string, torch::Tensor>;
/// Copies the tensors of the weights in the folder to `slots`, one at a time, each converted to its slot dtype; a 1x1 convolution
/// fills a matrix. The files: <stem>.safetensors, else those of <stem>.safetensors.index.json, else the same of the variant .fp16;
/// else what PyTorch wrote: <stem>.bin (`model` is then called pytorch_model), .pt, .pth, .ckpt and <stem>.bin.index.json.
/// `slot_of` gives the slot of a name in the files (without `state_dict.` and `module.`), or "": never read. UserError when no file
/// is there, or names a tensor of a slot that is of no floating type; it lists slots that nothing fills, names without a slot and other
/// shapes. Throws core::Stopped when `stop` is seen between two tensors.
void load_folder_weights(const std::filesystem::path& folder, std::string_view stem, const Slots& slots,
                         const std::function<std::string(std::string_view)>& slot_of,
                         const core::StopFlag& stop = core::StopFlag());

/// The same checks of names, element types and shapes; `slots` may be on the device meta, and nothing is read into them.
void check_folder_weights(const std::filesystem::path& folder, std::string_view stem, const Slots& slots,
                          const std::function<std::string(std::string_view)>& slot_of);

/// How many values the folder's weights hold, of all tensors.
double folder_weights_values(const std::filesystem::path& folder, std::string_view stem);

/// SHA-256 of the one file, or of the list of its files' SHA-256 lines in name order when sharded. Throws
/// core::Stopped when `stop` is seen.
std::string folder_weights_sha256(const std::filesystem::path& folder, std::string_view stem,
                                  const core::StopFlag& stop = core::StopFlag());

/// config[key], or `fallback` when absent or null. UserError names the file when the type is wrong.
std::int64_t config_integer(const core::Json& config, std::string_view key, std::int64_t fallback,
                            const std::filesystem::path& file);
double config_number(const core::Json& config, std::string_view key, double fallback,
                     const std::filesystem::path& file);
bool config_flag(const core::Json& config, std::string_view key, bool fallback,
                 const std::filesystem::path& file);
std::string config_text(const core::Json& config, std::string_view key, std::string_view fallback,
                        const std::filesystem::path& file);
/// A size of a network: 1 to kLargestCount. UserError: another value, or absent (without a positive fallback).
inline constexpr std::int64_t kLargestCount = std::int64_t{1} << 20, kMostLayers = 512;
std::int64_t config_count(const core::Json& config, std::string_view key, const std::filesystem::path& file,
                          std::int64_t fallback = 0, std::int64_t most = kLargestCount);
/// What a norm adds: more than 0, at most 1.
double config_eps(const core::Json& config, std::string_view key, double fallback,
                  const std::filesystem::path& file);
/// UserError when config[key] is there and is not `only`.
void config_only(const core::Json& config, std::string_view key, std::string_view only,
                 const std::filesystem::path& file);

}  // namespace microdit::encoders
