// Stage folders: facts first, one record per finished item, manifest.jsonl last.
#include "store/manifest.h"

#include <algorithm>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "store/manifest_text.h"

namespace microdit::store {
namespace {

// Where an encoder's weights lay: a hint for who looks for them, no setting.
constexpr std::string_view kHint = "folder";

// The first place where two JSON values differ, as "a.b" and both values; empty when only the key order does.
std::string first_difference(const core::Json& there, const core::Json& now, const std::string& at) {
  if (there.is_object() && now.is_object()) {
    std::set<std::string> keys;
    for (const auto& [key, value] : there.items()) keys.insert(key);
    for (const auto& [key, value] : now.items()) keys.insert(key);
    for (const std::string& key : keys) {
      if (key == kHint) continue;
      const std::string deeper = at.empty() ? key : at + "." + key;
      if (!there.contains(key))
        return fmt::format("`{}` is absent there and {} now", deeper, now[key].dump());
      if (!now.contains(key))
        return fmt::format("`{}` is {} there and absent now", deeper, there[key].dump());
      if (std::string found = first_difference(there[key], now[key], deeper); !found.empty()) return found;
    }
    return "";
  }
  return there == now ? "" : fmt::format("`{}` is {} there and {} now", at, there.dump(), now.dump());
}

void check_facts(const std::filesystem::path& folder, const core::Json& facts) {
  const std::filesystem::path file = folder / kFactsFile;
  const std::string difference = first_difference(core::read_json(file), facts, "");
  if (difference.empty()) return;
  core::user_error("{} was made with other settings: {}; choose another folder, or remove this one",
                   folder.string(), difference);
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name[0] != '.' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

std::filesystem::path record_path(const std::filesystem::path& folder, const std::string& item) {
  core::check(is_plain_name(item), "work item `{}` is no plain file name", item);
  return folder / kRecordsFolder / (item + ".json");
}

/// The command that fills a stage folder, told from where it lies (data root/KIND/NAME).
std::string who_makes(const std::filesystem::path& folder) {
  const std::string kind = folder.parent_path().filename().string();
  const char* stage = kind == "raw"       ? "download"
                      : kind == "samples" ? "clean"
                      : kind == "latents" ? "precompute"
                                          : nullptr;
  if (stage == nullptr) return "run the stage that makes it";
  return fmt::format(
      "{} makes it: build/bin/{} (or sbatch slurm/{}.sbatch) --config configs/datasets/{}.yaml", stage, stage,
      stage, folder.filename().string());
}

}  // namespace

StageFolder::StageFolder(std::filesystem::path folder, const core::Json& facts, std::int64_t num_items)
    : folder_(std::move(folder)), facts_(facts), num_items_(num_items) {
  core::check(num_items > 0, "{}: {} work items", folder_.string(), num_items);
  std::filesystem::create_directories(folder_ / kRecordsFolder);
  if (!std::filesystem::exists(folder_ / kFactsFile))
    core::atomic_write(folder_ / kFactsFile, facts_text(facts_));
  check_facts(folder_, facts_);
  facts_ = core::read_json(folder_ / kFactsFile);  // hints stay as they were first written
}

bool StageFolder::done(const std::string& item) const {
  const std::filesystem::path file = record_path(folder_, item);
  if (!std::filesystem::exists(file)) return false;
  try {
    for (const ShardEntry& shard : record_from_text(core::read_text(file), file.string()).shards) {
      std::error_code missing;
      const std::uint64_t bytes = std::filesystem::file_size(folder_ / shard.file, missing);
      if (!missing && bytes == shard.bytes) continue;
      core::log_warn("{}: missing or of another size than its record says; {} is made again",
                     (folder_ / shard.file).string(), item);
      return false;
    }
    return true;
  } catch (const core::UserError& wrong) {
    core::log_warn("{}; {} is made again", wrong.what(), item);
    return false;
  }
}

void StageFolder::commit(const Record& record) {
  check_facts(folder_, facts_);  // two first slots with different settings: the one that lost stops here
  core::atomic_write(record_path(folder_, record.item), record_text(record, num_items_));
  core::report_progress(record.item);
}

bool StageFolder::finish_if_complete() {
  const std::vector<std::string> items = record_names(folder_);
  const std::int64_t found = static_cast<std::int64_t>(items.size());
  if (found > num_items_)
    core::user_error("{}: {} items are recorded, this run has {}; choose another folder, or remove this one",
                     folder_.string(), found, num_items_);
  if (found < num_items_) return false;
  const std::string text = manifest_text(folder_, facts_, items);
  const std::filesystem::path file = folder_ / kManifestFile;
  if (!std::filesystem::exists(file) || core::read_text(file) != text) core::atomic_write(file, text);
  return true;
}

Manifest Manifest::read(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder))
    core::user_error("{}: no such folder; {}", folder.string(), who_makes(folder));
  if (!std::filesystem::exists(folder / kManifestFile)) {
    const std::vector<std::string> items = record_names(folder);
    std::string total = "an unknown number";
    if (!items.empty()) total = std::to_string(items_of_record(folder, items.front()));
    core::user_error("{}: not complete, {} of {} items are done; {}", folder.string(), items.size(), total,
                     who_makes(folder));
  }
  Manifest manifest =
      parse_manifest(core::read_text(folder / kManifestFile), (folder / kManifestFile).string());
  manifest.folder = folder;
  return manifest;
}

std::vector<ShardEntry> Manifest::shards() const {
  std::vector<ShardEntry> all;
  for (const Record& record : records) all.insert(all.end(), record.shards.begin(), record.shards.end());
  return all;
}

}  // namespace microdit::store
