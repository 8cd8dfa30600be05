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

}  // namespace

core::Json facts_of_weights(const CatalogueEntry& entry) {
  const SourceSection& source = entry.source;
  core::Json from = {{"hub", source.hub}, {"pattern", source.pattern}};
  if (source.hub.empty()) {
    from = core::Json::object();
    for (const std::string& url : source.urls)
      from["urls"].push_back(url.starts_with("file://") ? fs::path(url).filename().string() : shown(url));
    if (!source.pattern.empty()) from["pattern"] = source.pattern;
  }
  return {{"stage", "weights"}, {"format", store::kFormat}, {"dataset", entry.name}, {"source", from}};
}

bool weights_are_there(const CatalogueEntry& entry, bool prepare) {
  const fs::path place = entry.weights_folder();
  std::error_code missing;
  const bool there = fs::exists(place, missing);
  if (missing && core::is_fault(missing.value())) core::input_error(missing.value(), "{}", place.string());
  if (!there) return false;
  if (!fs::exists(place / "manifest.jsonl")) {
    core::log_warn(
        "download: {} is there, but download did not make it: it stays as it is, unchecked. To fetch it: "
        "move "
        "it "
        "away first",
        place.string());
    return true;
  }
  const store::Manifest manifest = store::Manifest::read(place);
  const core::Json wanted = facts_of_weights(entry)["source"],
                   from = manifest.facts.value("source", core::Json());
  if (from != wanted)
    core::user_error(
        "{}: was fetched from {}, the entry says {}: give the entry another name, or fetch it anew: {}",
        place.string(), from.dump(), wanted.dump(), core::shell_line({"rm", "-r", place.string()}));
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
  if (prepare) fs::rename(place, entry.raw_folder());
  return false;
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
