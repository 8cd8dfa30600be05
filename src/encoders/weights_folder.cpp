// Finding and reading config.json and the weights of a model folder.
#include "encoders/weights_folder.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "core/element_types.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/key_report.h"
#include "core/log.h"
#include "core/weights_file.h"
#include "encoders/fetch_command.h"
#include "encoders/weights_hash.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;
constexpr std::uintmax_t kLargestConfig = 4 << 20;  // bytes of config.json

using Files = std::vector<fs::path>;

Files read_index(const fs::path& folder, const fs::path& index) {
  const core::Json json = core::read_json(index);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    core::user_error("{}: no \"weight_map\" object; the file is no index of weights", index.string());
  std::set<std::string> names;
  for (const auto& [name, file] : json["weight_map"].items()) {
    if (!file.is_string() || fs::path(file.get<std::string>()).has_parent_path())
      core::user_error("{}: \"{}\" must name a file of the same folder", index.string(), name);
    names.insert(file.get<std::string>());
  }
  Files found;
  for (const std::string& name : names) {
    if (!fs::exists(folder / name))
      core::user_error("{}: no such file, but {} names it{}", (folder / name).string(), index.string(),
                       how_to_fetch(folder));
    found.push_back(folder / name);
  }
  return found;
}

/// transformers and open_clip call PyTorch's file of `model` pytorch_model.
std::string torch_stem(std::string_view stem) {
  std::string name(stem);
  const std::size_t at = name.find("model");
  if (at != name.npos && name.find("pytorch_model") == name.npos) name.insert(at, "pytorch_");
  return name;
}

/// UserError when it is a link that leads nowhere, as caches leave when only a part of them is copied.
bool is_there(const fs::path& file) {
  if (fs::exists(file)) return true;
  if (fs::is_symlink(file))
    core::user_error("{}: is a link to {}, which is not there: copy the file itself (cp -L)", file.string(),
                     fs::read_symlink(file).string());
  return false;
}

/// `<stem><variant><kind>` or its index.
std::optional<Files> find_kind(const fs::path& folder, const std::string& stem, std::string_view kind) {
  for (const char* variant : {"", ".fp16"}) {
    const fs::path one = folder / fmt::format("{}{}{}", stem, variant, kind);
    if (is_there(one)) return Files{one};
    const fs::path index = folder / fmt::format("{}{}.index{}.json", stem, kind, variant);
    if (is_there(index)) return read_index(folder, index);
  }
  return std::nullopt;
}

Files find_files(const fs::path& folder, std::string_view stem) {
  const std::string name(stem), torch_name = torch_stem(stem);
  if (auto found = find_kind(folder, name, ".safetensors")) return std::move(*found);
  for (const char* kind : {".bin", ".pt", ".pth", ".ckpt"})
    for (const std::string& file : {torch_name, name})
      if (auto found = find_kind(folder, file, kind)) return std::move(*found);
  core::user_error(
      "{}: no {}.safetensors in it (nor .fp16.safetensors, .safetensors.index.json, {}.bin, "
      "{}.bin.index.json, .pt, .ckpt); put "
      "the model's weights there{}",
      folder.string(), stem, torch_name, torch_name, how_to_fetch(folder));
}

/// UserError when a tensor that is needed holds integers: of a quantized network, whose scales lie beside it.
void demand_floating(const core::WeightsFile& file, const std::string& name) {
  const core::DType dtype = file.info(name).dtype;
  if (!core::is_floating(dtype))
    core::user_error(
        "{}: tensor '{}' is {}: quantized weights are not taken; fetch the model's F32, F16 or BF16 weights",
        file.path().string(), name, core::name_of(dtype));
}

/// The name without a checkpoint's `state_dict.` and DataParallel's `module.`.
std::string_view without_wrapper(std::string_view name) {
  for (const std::string_view prefix : {"state_dict.", "module."})
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  return name;
}

using SlotOf = std::function<std::string(std::string_view)>;
/// Slot -> the file and the name there.
using Sources = std::map<std::string, std::pair<const core::WeightsFile*, std::string>>;

std::vector<core::WeightsFile> open_files(const fs::path& folder, std::string_view stem) {
  const std::vector<fs::path> paths = find_files(folder, stem);
  return {paths.begin(), paths.end()};
}

/// A folder may hold several sets of weights: which one it is is said.
void log_files(const fs::path& folder, const std::vector<core::WeightsFile>& files) {
  std::set<std::string> read, beside;
  for (const core::WeightsFile& file : files) read.insert(file.path().filename().string());
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), kind = entry.path().extension().string();
    const bool is_weights =
        kind == ".safetensors" || kind == ".bin" || kind == ".pt" || kind == ".pth" || kind == ".ckpt";
    if (is_weights && !read.contains(name)) beside.insert(name);
  }
  core::log_info(
      "{}: weights from {}{}", folder.string(), fmt::join(read, ", "),
      beside.empty() ? "" : fmt::format(" (not from {}, which lies there, too)", fmt::join(beside, ", ")));
}

/// The shape [O, I] of a 1x1 convolution [O, I, 1, 1] where the slot is a matrix (old codecs' attention); else `shape` itself.
std::vector<std::int64_t> as_matrix(std::vector<std::int64_t> shape, const Slots& slots,
                                    const std::string& slot) {
  const auto place = slots.find(slot);
  if (shape.size() == 4 && shape[2] == 1 && shape[3] == 1 && place != slots.end() && place->second.dim() == 2)
    shape.resize(2);
  return shape;
}

/// Where each slot's tensor is. UserError when one is not there as it must be, or more are.
Sources match(const std::vector<core::WeightsFile>& files, const Slots& slots, const SlotOf& slot_of,
              const fs::path& folder) {
  core::Shapes have, wanted;
  Sources found;
  for (const core::WeightsFile& file : files)
    for (const auto& [stored, info] : file.tensors()) {
      const std::string slot = slot_of(without_wrapper(stored));
      if (slot.empty()) continue;
      if (const auto [at, is_new] = found.emplace(slot, std::pair(&file, stored)); !is_new) {
        if (at->second.first != &file && at->second.second == stored)
          core::user_error("{}: tensor {} is in two files of the set", folder.string(), stored);
        continue;
      }
      have.emplace(slot, as_matrix(info.shape, slots, slot));
    }
  for (const core::WeightsFile& file : files)
    for (const auto& [stored, why] : file.unreadable()) {
      const std::string slot = slot_of(without_wrapper(stored));
      if (slots.contains(slot) && !found.contains(slot)) file.info(stored);  // says why
    }
  for (const auto& [slot, from] : found)
    if (slots.contains(slot)) demand_floating(*from.first, from.second);
  for (const auto& [slot, place] : slots) wanted.emplace(slot, place.sizes().vec());
  core::demand_keys(have, wanted, folder.string());
  return found;
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
    core::user_error("{}: no such folder; it must hold config.json and the model's weights{}",
                     folder.string(), how_to_fetch(folder));
  if (!fs::exists(folder / "config.json") && fs::exists(folder / "model_index.json")) {
    core::user_error(
        "{}: is the folder of a whole pipeline; name the model's own folder in it (a codec: {}, a text "
        "encoder: {})",
        folder.string(), (folder / "vae").string(), (folder / "text_encoder").string());
  }
  if (!fs::exists(folder / "config.json"))
    core::user_error("{}: no such file; the folder of one model is wanted, as its publisher ships it{}",
                     (folder / "config.json").string(), how_to_fetch(folder));
  if (fs::file_size(folder / "config.json") > kLargestConfig)
    core::user_error("{}: larger than {} bytes: no network's config", (folder / "config.json").string(),
                     kLargestConfig);
  core::Json config = core::read_json(folder / "config.json");
  if (!config.is_object()) core::user_error("{}: not a JSON object", (folder / "config.json").string());
  return config;
}

void check_folder_weights(const fs::path& folder, std::string_view stem, const Slots& slots,
                          const SlotOf& slot_of) {
  match(open_files(folder, stem), slots, slot_of, folder);
}

void load_folder_weights(const fs::path& folder, std::string_view stem, const Slots& slots,
                         const SlotOf& slot_of, const core::StopFlag& stop) {
  const std::vector<core::WeightsFile> files = open_files(folder, stem);
  const Sources found = match(files, slots, slot_of, folder);
  log_files(folder, files);
  const torch::NoGradGuard no_grad;
  for (const auto& [slot, place] : slots) {
    if (stop.requested()) throw core::Stopped();
    const auto& [file, stored] = found.at(slot);
    torch::Tensor(place).copy_(nn::load_tensor(*file, stored).view(place.sizes()));
  }
}

double folder_weights_values(const fs::path& folder, std::string_view stem) {
  double values = 0;
  for (const core::WeightsFile& file : open_files(folder, stem))
    for (const auto& [name, info] : file.tensors()) {
      double of_one = 1;
      for (const std::int64_t extent : info.shape) of_one *= static_cast<double>(extent);
      values += of_one;
    }
  return values;
}

std::string folder_weights_sha256(const fs::path& folder, std::string_view stem, const core::StopFlag& stop) {
  const Files found = find_files(folder, stem);
  if (found.size() == 1) return weights_sha256(found.front(), stop);
  std::string list;
  for (const fs::path& file : found)
    list += weights_sha256(file, stop) + "  " + file.filename().string() + "\n";
  return core::sha256(std::as_bytes(std::span(list)));
}

std::int64_t config_integer(const core::Json& config, std::string_view key, std::int64_t fallback,
                            const fs::path& file) {
  const auto* value = find(config, key, file, "an integer of 64 bits", [](const core::Json& v) {
    return v.is_number_integer() &&
           (!v.is_number_unsigned() || v.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max());
  });
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
                          std::int64_t fallback, std::int64_t most) {
  const std::int64_t value = config_integer(config, key, fallback, file);
  if (value < 1 || value > most)
    core::user_error("{}: {} is {}; it must be from 1 to {}", file.string(), key,
                     config.contains(key) ? config[std::string(key)].dump() : "missing", most);
  return value;
}

double config_eps(const core::Json& config, std::string_view key, double fallback, const fs::path& file) {
  const double value = config_number(config, key, fallback, file);
  if (!(value > 0 && value <= 1))
    core::user_error("{}: {} is {}; it must be more than 0, and at most 1", file.string(), key, value);
  return value;
}

void config_only(const core::Json& config, std::string_view key, std::string_view only,
                 const fs::path& file) {
  const std::string value = config_text(config, key, only, file);
  if (value != only)
    core::user_error("{}: {} is \"{}\"; only \"{}\" is supported", file.string(), key, value, only);
}

}  // namespace microdit::encoders
