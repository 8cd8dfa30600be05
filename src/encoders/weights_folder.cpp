// Finding and reading config.json and safetensors files of a model folder.
#include "encoders/weights_folder.h"

#include <set>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "encoders/weights_hash.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

struct WeightFiles {
  std::vector<fs::path> files;
  core::Json weight_map;  ///< name -> file, when sharded
};

WeightFiles read_index(const fs::path& folder, const fs::path& index) {
  const core::Json json = core::read_json(index);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    core::user_error("{}: no \"weight_map\" object; the file is not a safetensors index", index.string());
  std::set<std::string> names;
  for (const auto& [name, file] : json["weight_map"].items()) {
    if (!file.is_string() || fs::path(file.get<std::string>()).has_parent_path())
      core::user_error("{}: \"{}\" must name a file of the same folder", index.string(), name);
    names.insert(file.get<std::string>());
  }
  WeightFiles found{{}, json["weight_map"]};
  for (const std::string& name : names) found.files.push_back(folder / name);
  return found;
}

WeightFiles find_files(const fs::path& folder, std::string_view stem) {
  for (const char* variant : {"", ".fp16"}) {
    const fs::path one = folder / fmt::format("{}{}.safetensors", stem, variant);
    if (fs::exists(one)) return {{one}, nullptr};
    const fs::path index = folder / fmt::format("{}.safetensors.index{}.json", stem, variant);
    if (fs::exists(index)) return read_index(folder, index);
  }
  for (const char* pickled : {"diffusion_pytorch_model.bin", "pytorch_model.bin", "model.pt", "model.ckpt"}) {
    if (fs::exists(folder / pickled)) {
      core::user_error(
          "{}: holds only {}, a PyTorch file; it must hold {}.safetensors: take the repository's safetensors "
          "file, or save "
          "its tensors with safetensors.torch.save_file",
          folder.string(), pickled, stem);
    }
  }
  core::user_error(
      "{}: no {}.safetensors (nor .fp16.safetensors, nor .safetensors.index.json) in it; put the model's "
      "safetensors file there",
      folder.string(), stem);
}

/// The value of `key`, or null when it is absent or null; `fits` tells whether the type is right.
template <class Fits>
const core::Json* find(const core::Json& config, std::string_view key, const fs::path& file, const char* kind,
                       Fits fits) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return nullptr;
  if (!fits(*found)) core::user_error("{}: {} is {}, expected {}", file.string(), key, found->dump(), kind);
  return &*found;
}

}  // namespace

core::Json read_folder_config(const fs::path& folder) {
  if (!fs::is_directory(folder))
    core::user_error("{}: no such folder; it must hold config.json and the model's safetensors file",
                     folder.string());
  if (!fs::exists(folder / "config.json") && fs::exists(folder / "model_index.json")) {
    core::user_error(
        "{}: is the folder of a whole pipeline; name the model's own folder in it (a codec: {}, a text "
        "encoder: {})",
        folder.string(), (folder / "vae").string(), (folder / "text_encoder").string());
  }
  core::Json config = core::read_json(folder / "config.json");
  if (!config.is_object()) core::user_error("{}: not a JSON object", (folder / "config.json").string());
  return config;
}

nn::StateDict read_folder_weights(const fs::path& folder, std::string_view stem) {
  const WeightFiles found = find_files(folder, stem);
  nn::StateDict all;
  for (const fs::path& file : found.files)
    for (auto& [name, tensor] : nn::load_tensors(file)) {
      if (!all.emplace(name, std::move(tensor)).second)
        core::user_error("{}: tensor {} is already in another file of the set", file.string(), name);
    }
  if (!found.weight_map.is_null())
    for (const auto& [name, file] : found.weight_map.items())
      if (!all.contains(name))
        core::user_error("{}: tensor {} that the index names is not in it",
                         (folder / file.get<std::string>()).string(), name);
  return all;
}

void load_folder_weights(const fs::path& folder, std::string_view stem, const Slots& slots,
                         const std::function<std::string(std::string_view)>& slot_of) {
  const std::vector<fs::path> paths = find_files(folder, stem).files;
  const std::vector<core::SafetensorsFile> files(paths.begin(), paths.end());
  nn::Differences differences;
  std::map<std::string, std::pair<const core::SafetensorsFile*, std::string>>
      found;  // slot -> file, stored name
  for (const core::SafetensorsFile& file : files)
    for (const auto& [stored, info] : file.tensors()) {
      const std::string slot = slot_of(stored);
      if (slot.empty()) continue;
      if (const auto place = slots.find(slot); place == slots.end())
        differences.extra(stored);
      else if (place->second.sizes() != at::IntArrayRef(info.shape))
        differences.misshapen(stored, info.shape, place->second.sizes());
      found.emplace(slot, std::pair(&file, stored));
    }
  for (const auto& [slot, place] : slots)
    if (!found.contains(slot)) differences.missing(slot);
  differences.throw_if_any(folder.string());
  const torch::NoGradGuard no_grad;
  for (const auto& [slot, place] : slots) {
    const auto& [file, stored] = found.at(slot);
    torch::Tensor(place).copy_(nn::load_tensor(*file, stored));
  }
}

std::string folder_weights_sha256(const fs::path& folder, std::string_view stem) {
  const WeightFiles found = find_files(folder, stem);
  if (found.files.size() == 1) return weights_sha256(found.files.front());
  std::string list;
  for (const fs::path& file : found.files)
    list += weights_sha256(file) + "  " + file.filename().string() + "\n";
  return core::sha256(std::as_bytes(std::span(list)));
}

std::int64_t config_integer(const core::Json& config, std::string_view key, std::int64_t fallback,
                            const fs::path& file) {
  const auto* value =
      find(config, key, file, "an integer", [](const core::Json& v) { return v.is_number_integer(); });
  return value ? value->get<std::int64_t>() : fallback;
}

double config_number(const core::Json& config, std::string_view key, double fallback, const fs::path& file) {
  const auto* value = find(config, key, file, "a number", [](const core::Json& v) { return v.is_number(); });
  return value ? value->get<double>() : fallback;
}

bool config_flag(const core::Json& config, std::string_view key, bool fallback, const fs::path& file) {
  const auto* value =
      find(config, key, file, "true or false", [](const core::Json& v) { return v.is_boolean(); });
  return value ? value->get<bool>() : fallback;
}

std::string config_text(const core::Json& config, std::string_view key, std::string_view fallback,
                        const fs::path& file) {
  const auto* value = find(config, key, file, "a string", [](const core::Json& v) { return v.is_string(); });
  return value ? value->get<std::string>() : std::string(fallback);
}

std::int64_t config_count(const core::Json& config, std::string_view key, const fs::path& file,
                          std::int64_t fallback) {
  constexpr std::int64_t kMax = std::int64_t{1} << 20;
  const std::int64_t value = config_integer(config, key, fallback, file);
  if (value < 1 || value > kMax)
    core::user_error("{}: {} is {}; it must be from 1 to {}", file.string(), key,
                     config.contains(key) ? config[std::string(key)].dump() : "missing", kMax);
  return value;
}

void config_only(const core::Json& config, std::string_view key, std::string_view only,
                 const fs::path& file) {
  const std::string value = config_text(config, key, only, file);
  if (value != only)
    core::user_error("{}: {} is \"{}\"; only \"{}\" is supported", file.string(), key, value, only);
}

}  // namespace microdit::encoders
