// Weights are fetched aside and renamed once every file is there and checked: who reads weights/NAME never sees a part.
#include "ingest/weights_place.h"

#include <algorithm>
#include <system_error>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/shell_line.h"
#include "ingest/address.h"
#include "ingest/progress.h"
#include "store/manifest.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

/// The files that are missing, or of another size than was fetched.
std::vector<std::string> lost_files(const store::Manifest& manifest) {
  std::vector<std::string> lost;
  for (const store::ShardEntry& shard : manifest.shards()) {
    std::error_code missing;
    const std::uintmax_t bytes = fs::file_size(manifest.folder / shard.file, missing);
    if (missing && core::is_fault(missing.value()))
      core::input_error(missing.value(), "{}", (manifest.folder / shard.file).string());
    if (missing || bytes != shard.bytes) lost.push_back(shard.file);
  }
  return lost;
}

bool is_there(const fs::path& place) {
  std::error_code missing;
  const bool there = fs::exists(place, missing);
  if (missing && core::is_fault(missing.value())) core::input_error(missing.value(), "{}", place.string());
  if (!there && fs::is_symlink(place))
    core::user_error("{}: is a link to {}, which is not there: mend it, or remove it: {}", place.string(),
                     fs::read_symlink(place).string(), core::shell_line({"rm", place.string()}));
  return there;
}

/// Whether a folder that download did not make holds a network. An empty one is removed where `prepare`.
bool is_foreign_network(const fs::path& place, bool prepare) {
  bool config = false, weights = false, anything = false;
  for (const fs::directory_entry& file : fs::recursive_directory_iterator(place)) {
    const std::string name = file.path().filename().string(), kind = file.path().extension().string();
    anything = true;
    config |= name == "config.json" || name == "open_clip_config.json";
    weights |= kind == ".safetensors" || kind == ".bin" || kind == ".pt" || kind == ".pth" || kind == ".ckpt";
  }
  if (!anything) {
    if (prepare) fs::remove(place);
    return false;
  }
  if (!config || !weights)
    core::user_error(
        "{}: is there and holds no network (a config.json and weights), and download did not make it; to "
        "fetch it: {}",
        place.string(), core::shell_line({"mv", place.string(), place.string() + ".other"}));
  core::log_warn(
      "download: {} is there, but download did not make it: it stays as it is, unchecked. To fetch it: move "
      "it away first",
      place.string());
  return true;
}

void demand_source(const CatalogueEntry& entry, const store::Manifest& manifest) {
  const std::string place = manifest.folder.string(), anew = core::shell_line({"rm", "-r", place});
  const core::Json wanted = facts_of_weights(entry)["source"],
                   from = manifest.facts.value("source", core::Json());
  if (from != wanted)
    core::user_error(
        "{}: was fetched from {}, the entry says {}: give the entry another name, or fetch it anew: {}",
        place, from.dump(), wanted.dump(), anew);
  for (const store::ShardEntry& shard : manifest.shards())
    if (const auto known = entry.source.sha256.find(shard.file);
        known != entry.source.sha256.end() && known->second != shard.sha256)
      core::user_error("{}: {} has SHA-256 {}, the entry's source.sha256 says {}; fetch it anew: {}", place,
                       shard.file, shard.sha256, known->second, anew);
}

}  // namespace

core::Json facts_of_weights(const CatalogueEntry& entry) {
  const SourceSection& source = entry.source;
  core::Json from = {{"hub", source.hub}, {"pattern", source.pattern}};
  if (source.hub.empty()) {
    from = core::Json::object();
    for (const std::string& url : source.urls)
      from["urls"].push_back(url.starts_with("file://") ? fs::path(url).filename().string() : shown(url));
    for (const auto& [key, value] :
         {std::pair("folder", source.folder), std::pair("list_file", source.list_file)})
      if (!value.empty()) from[key] = value;
    if (!source.pattern.empty()) from["pattern"] = source.pattern;
  }
  return {{"stage", "weights"}, {"format", store::kFormat}, {"dataset", entry.name}, {"source", from}};
}

bool weights_are_there(const CatalogueEntry& entry, bool prepare) {
  const fs::path place = entry.weights_folder();
  if (!is_there(place)) return false;
  if (!fs::exists(place / "manifest.jsonl")) return is_foreign_network(place, prepare);
  const store::Manifest manifest = store::Manifest::read(place);
  demand_source(entry, manifest);
  const std::vector<std::string> lost = lost_files(manifest);
  if (lost.empty()) {
    double bytes = 0;
    for (const store::ShardEntry& shard : manifest.shards()) bytes += static_cast<double>(shard.bytes);
    core::log_info("download: {} is there already: {} files, {} (doctor verify {} reads them all)",
                   place.string(), manifest.records.size(), readable(bytes, "B"), place.string());
    return true;
  }
  core::log_warn("download: {}: {} is missing or of another size: it is fetched again", place.string(),
                 lost.front());
  if (!prepare) return false;
  std::error_code failed;
  fs::rename(place, entry.raw_folder(), failed);
  if (failed)
    core::user_error(
        "{}: cannot become {}, where it would be made whole ({}); where nothing is fetched there just now: "
        "{}",
        place.string(), entry.raw_folder().string(), failed.message(),
        core::shell_line({"rm", "-r", entry.raw_folder().string()}));
  return false;
}

bool are_placed(const CatalogueEntry& entry) {
  std::error_code missing;
  if (!fs::exists(entry.weights_folder() / "manifest.jsonl", missing)) return false;
  const store::Manifest manifest = store::Manifest::read(entry.weights_folder());
  return lost_files(manifest).empty();
}

void place_weights(const CatalogueEntry& entry) {
  const fs::path folder = entry.raw_folder(), place = entry.weights_folder();
  core::check(fs::exists(folder / "manifest.jsonl"), "{}: is not closed", folder.string());
  std::error_code failed;
  fs::rename(folder, place, failed);
  if (failed)
    core::user_error("{}: cannot become {} ({}): did another download or cp put it there just now?",
                     folder.string(), place.string(), failed.message());
  core::sync_folder(place.parent_path());
  core::log_info("download: {} is there, whole and checked", place.string());
}

}  // namespace microdit::ingest
