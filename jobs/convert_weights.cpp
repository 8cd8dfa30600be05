// File to file: .pt and its kin <-> safetensors.
#include "convert_weights.h"

#include <algorithm>

#include "checkpoint/checkpoint.h"
#include "core/error.h"
#include "core/log.h"
#include "core/torch_writer.h"
#include "core/weights_names.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;

core::Shapes shapes_of(const core::WeightsFile& file, const std::map<std::string, std::string>& names) {
  core::Shapes shapes;
  for (const auto& [name, stored] : names) shapes.emplace(name, file.info(stored).shape);
  return shapes;
}

core::Shapes shapes_of_checkpoint(const fs::path& target) {
  const bool is_one = fs::exists(target / "manifest.json");
  auto newest = is_one
                    ? std::nullopt
                    : checkpoint::open_latest(
                          fs::is_directory(target / "checkpoints") ? target / "checkpoints" : target, false);
  if (!is_one && !newest) core::user_error("convert: target={}: no checkpoint in it", target.string());
  const checkpoint::Reader reader = is_one ? checkpoint::Reader(target, false) : std::move(*newest);
  core::Shapes shapes;
  for (const auto& [stored, shape] : reader.tensors())
    for (const std::string_view group : {"weights/", "buffers/"})
      if (stored.starts_with(group)) shapes.emplace(stored.substr(group.size()), shape);
  return shapes;
}

}  // namespace

bool is_weights_name(const fs::path& file) {
  const std::string kind = file.extension().string();
  return kind == ".safetensors" || kind == ".pt" || kind == ".pth" || kind == ".bin" || kind == ".ckpt";
}

std::map<std::string, std::string> chosen_names(const core::WeightsFile& file, const std::string& names) {
  std::vector<std::string> all;
  for (const auto& [name, info] : file.tensors()) all.push_back(name);
  for (const auto& [name, why] : file.unreadable()) all.push_back(name);
  if (all.empty()) core::user_error("convert: --input {}: no tensor in it", file.path().string());
  std::map<std::string, std::string> chosen;
  if (names == "network") {
    const core::NetworkNames network = core::network_names(all);
    if (!network.others.empty())
      core::log_info("{}: {} tensors are no part of the network and left out ({}, ...)", file.path().string(),
                     network.others.size(), network.others.front());
    chosen = network.stored;
  } else {
    for (const std::string& name : all) chosen.emplace(name, name);
  }
  for (const auto& [name, stored] : chosen) file.info(stored);
  return chosen;
}

void check_target(const core::Shapes& have, const fs::path& input, const fs::path& target,
                  const std::string& names) {
  if (target.empty()) return;
  core::Shapes wanted;
  if (fs::is_directory(target)) {
    wanted = shapes_of_checkpoint(target);
  } else {
    const core::WeightsFile file(target);
    wanted = shapes_of(file, chosen_names(file, names));
  }
  if (const std::string report = core::key_report(have, wanted); !report.empty())
    core::user_error("convert: --input {} does not fit target={}: {}", input.string(), target.string(),
                     report);
  core::log_info("{}: all {} names and shapes are those of {}", input.string(), have.size(), target.string());
}

void write_weights(const fs::path& output, const std::map<std::string, core::TensorInfo>& tensors,
                   const core::TensorSource& read, std::map<std::string, std::string> metadata,
                   const std::map<std::string, std::string>& aliases) {
  if (output.extension() != ".safetensors" && is_weights_name(output)) {
    core::write_torch_file(output, tensors, read, aliases);
    return;
  }
  for (const auto& [name, kept] : aliases) metadata[name] = kept;
  metadata["format"] = "pt";
  core::write_safetensors(output, tensors, read, metadata);
}

void convert_weights(const fs::path& input, const fs::path& output, const std::string& names,
                     const fs::path& target) {
  const core::WeightsFile file(input);
  const std::map<std::string, std::string> chosen = chosen_names(file, names);
  check_target(shapes_of(file, chosen), input, target, names);
  std::map<std::string, core::TensorInfo> tensors;
  std::map<std::string, std::string> aliases, first;  // first: the name that elements are written under
  for (const auto& [name, stored] : chosen) {
    const auto alias = file.aliases().find(stored);
    const auto [kept, is_new] =
        first.try_emplace(alias == file.aliases().end() ? stored : alias->second, name);
    if (is_new)
      tensors.emplace(name, file.info(stored));
    else
      aliases.emplace(name, kept->second);
  }
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : file.metadata())
    if (!file.aliases().contains(key)) metadata.emplace(key, value);
  write_weights(
      output, tensors,
      [&](const std::string& name, std::span<std::byte> out) { file.read(chosen.at(name), out); }, metadata,
      aliases);
  for (const auto& [name, kept] : aliases)
    core::log_info("{}: '{}' shares the elements of '{}'", input.string(), name, kept);
  core::log_info("{} -> {}: {} tensors, {} shared names", input.string(), output.string(), tensors.size(),
                 aliases.size());
}

}  // namespace microdit::jobs
