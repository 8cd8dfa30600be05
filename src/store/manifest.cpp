// Stage folders: facts first, one record per finished item, a manifest per closing.
#include "store/manifest.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/later_facts.h"
#include "core/log.h"
#include "core/progress.h"
#include "store/manifest_text.h"

namespace microdit::store {
namespace {

namespace fs = std::filesystem;

/// The stage that fills a stage folder, told from where it lies (data root/KIND/NAME or KIND/NAME/RECIPE), and the
/// dataset's name; empty elsewhere.
std::pair<std::string, std::string> stage_of(const fs::path& folder) {
  fs::path name = folder;
  for (int up = 0; up < 2 && name.has_parent_path(); ++up, name = name.parent_path()) {
    const std::string kind = name.parent_path().filename().string();
    const char* stage = kind == "raw"       ? "download"
                        : kind == "samples" ? "clean"
                        : kind == "latents" ? "precompute"
                                            : nullptr;
    if (stage != nullptr) return {stage, name.filename().string()};
  }
  return {};
}

std::string who_makes(const fs::path& folder) {
  const auto [stage, name] = stage_of(folder);
  if (stage.empty()) return "run the stage that makes it";
  const fs::path shipped = fs::path("configs/datasets") / (name + ".yaml");
  return fmt::format(
      "{} makes it: build/bin/{} (or sbatch slurm/{}.sbatch) --config {}", stage, stage, stage,
      fs::exists(shipped) ? shipped.string() : "ENTRY.yaml (the entry whose name is " + name + ")");
}

void check_format(const fs::path& folder, const core::Json& facts) {
  std::int64_t format = 1;
  if (facts.is_object() && facts.contains("format") && facts["format"].is_number_integer())
    format = facts["format"].get<std::int64_t>();
  if (format == kFormat) return;
  const auto [stage, name] = stage_of(folder);
  core::user_error("{}: written by {} microdit (format {}); remove it and run {} again", folder.string(),
                   format < kFormat ? "an older" : "a newer", format,
                   stage.empty() ? "the stage that makes it" : stage);
}

void check_facts(const fs::path& folder, const core::Json& facts) {
  core::Json there = core::read_json(folder / kFactsFile), now = facts;
  check_format(folder, there);
  core::forget_unshared(there, now);
  const std::string difference = first_difference(there, now);
  if (difference.empty()) return;
  const bool encoder = difference.starts_with("`text_encoder.") || difference.starts_with("`codec.");
  const char* or_rules = difference.starts_with("`algorithms.") ? " or another microdit's rules" : "";
  core::user_error("{} was made with other settings{}: {}; {}choose another folder, or remove this one",
                   folder.string(), or_rules, difference,
                   encoder ? "put the encoder's former files back, " : "");
}

/// Names of classes behind those that are there change no number of any sample: the folder takes them, where nothing else differs.
void take_new_classes(const fs::path& folder, const core::Json& facts) {
  core::Json there = core::read_json(folder / kFactsFile);
  for (const char* place : {"/record/classes", "/classes"}) {
    const core::Json::json_pointer at(place);
    if (!there.contains(at) || !facts.contains(at) || !there[at].is_array() || there[at].empty()) continue;
    const core::Json &before = there[at], &now = facts[at];
    if (now.is_array() && now.size() > before.size() && std::equal(before.begin(), before.end(), now.begin()))
      there[at] = now;
  }
  core::Json grown = there, now = facts;
  core::forget_unshared(grown, now);
  if (there != core::read_json(folder / kFactsFile) && first_difference(grown, now).empty())
    core::atomic_write(folder / kFactsFile, facts_text(there));
}

fs::path in_records(const fs::path& folder, const std::string& item, std::string_view ending) {
  core::check(is_plain_name(item), "work item `{}` is no plain file name", item);
  // "x.failed" would share its record with the failure of "x".
  if ((item + ".json").ends_with(kFailedEnding) || (item + ".json").ends_with(kPartEnding))
    core::user_error("{}: '{}' cannot be the name of a work item: give the file another name (list_file)",
                     folder.string(), item);
  return folder / kRecordsFolder / (item + std::string(ending));
}

// Publishes a file that must not be there yet. False: another slot was faster.
bool publish_new(const fs::path& file, std::string_view text) {
  const fs::path aside = core::temporary_path(file);
  core::atomic_write(aside, text);
  const int failed = ::link(aside.c_str(), file.c_str()) == 0 ? 0 : errno;
  std::error_code ignored;
  if (failed != 0 && failed != EEXIST) {  // a file system without hard links
    core::publish(aside, file);
    return true;
  }
  fs::remove(aside, ignored);
  core::sync_folder(file.parent_path());
  return failed == 0;
}

std::string other_inputs(const fs::path& folder, const Item& item, const core::Json& there) {
  return fmt::format(
      "{}: `{}` was made from {}, now it would be made from {}; to make it again: rm {} - then run the same "
      "command; or choose another folder",
      folder.string(), item.name, there.dump(), item.inputs.dump(),
      (folder / kRecordsFolder / (item.name + ".json")).string());
}

core::Json inputs_of(const Record& record) {
  return record.details.is_object() ? record.details.value("inputs", core::Json::object())
                                    : core::Json::object();
}

}  // namespace

StageFolder::StageFolder(fs::path folder, const core::Json& facts)
    : folder_(std::move(folder)), facts_(facts) {
  facts_["format"] = kFormat;
  fs::create_directories(folder_ / kRecordsFolder);
  if (!fs::exists(folder_ / kFactsFile)) core::atomic_write(folder_ / kFactsFile, facts_text(facts_));
  take_new_classes(folder_, facts_);
  check_facts(folder_, facts_);
  facts_ = core::read_json(folder_ / kFactsFile);  // hints stay as they were first written
}

std::optional<Record> StageFolder::find_any(const std::string& item) const {
  if (!core::input_bytes(in_records(folder_, item, ".json"))) return std::nullopt;
  return read_record(item);
}

std::optional<Record> StageFolder::read_record(const std::string& item) const {
  const fs::path file = in_records(folder_, item, ".json");
  try {
    Record record = record_from_text(core::read_text(file), file.string());
    for (const ShardEntry& shard : record.shards) {
      const std::optional<std::uint64_t> bytes = core::input_bytes(folder_ / shard.file);
      if (bytes == shard.bytes) continue;
      if (!bytes && !removed_on_purpose(folder_, item).empty()) continue;
      core::log_warn("{}: missing or of another size than its record says; {} is made again",
                     (folder_ / shard.file).string(), item);
      return std::nullopt;
    }
    return record;
  } catch (const core::UserError& wrong) {
    core::log_warn("{}; {} is made again", wrong.what(), item);
    return std::nullopt;
  }
}

std::optional<Record> StageFolder::find(const Item& item) const {
  std::optional<Record> record = find_any(item.name);
  if (record && inputs_of(*record) != item.inputs)
    core::user_error("{}", other_inputs(folder_, item, inputs_of(*record)));
  return record;
}

void StageFolder::commit(const Item& item, Record record) {
  core::Json details = {{"inputs", item.inputs}};
  for (auto& [key, value] : record.details.items()) details[key] = std::move(value);
  details["inputs"] = item.inputs;
  record.details = std::move(details);
  commit(record);
}

void StageFolder::commit(const Record& record) {
  check_facts(folder_, facts_);  // two first slots with different settings: the one that lost stops here
  core::atomic_write(in_records(folder_, record.item, ".json"), record_text(record));
  std::error_code ignored;
  for (const std::string_view ending : {kFailedEnding, kGoneEnding})
    fs::remove(in_records(folder_, record.item, ending), ignored);
  core::report_progress(record.item);
}

void StageFolder::fail(const FailedItem& failed) {
  core::atomic_write(in_records(folder_, failed.item, kFailedEnding), failed_text(failed));
}

std::optional<FailedItem> StageFolder::failure(const std::string& item) const {
  const fs::path file = in_records(folder_, item, kFailedEnding);
  if (!fs::exists(file)) return std::nullopt;
  try {
    return failed_from_text(core::read_text(file), item, file.string());
  } catch (const core::UserError& wrong) {
    core::log_warn("{}; {} is tried anew", wrong.what(), item);
    return std::nullopt;
  }
}

std::optional<Standing> StageFolder::survey(const std::vector<Item>& items, const core::StopFlag& stop,
                                            const std::function<void(const Record&)>& on_done) const {
  const RecordNames names = record_names(folder_);
  const std::set<std::string> recorded(names.items.begin(), names.items.end());
  const std::set<std::string> failures(names.failed.begin(), names.failed.end());
  std::vector<const Item*> sorted;
  for (const Item& item : items) sorted.push_back(&item);
  std::ranges::sort(sorted, {}, [](const Item* item) -> const std::string& { return item->name; });
  Standing standing;
  const auto not_done = [&](const std::string& item) {
    const auto failed = failures.contains(item) ? failure(item) : std::nullopt;
    if (failed && !failed->again)
      standing.failed.push_back(*failed);
    else
      standing.pending.push_back(item);
  };
  std::set<std::string> expected;
  for (const Item* item : sorted) {
    if (stop.requested()) return std::nullopt;
    core::check(expected.insert(item->name).second, "work item `{}` is listed twice", item->name);
    if (!recorded.contains(item->name)) not_done(item->name);
  }
  std::ranges::set_difference(recorded, expected, std::back_inserter(standing.unknown));
  if (!standing.pending.empty()) return standing;
  for (const Item* item : sorted) {
    if (stop.requested()) return std::nullopt;
    if (!recorded.contains(item->name)) continue;
    const std::optional<Record> record = read_record(item->name);
    if (!record) {
      not_done(item->name);
    } else if (inputs_of(*record) != item->inputs) {
      standing.refused.push_back(other_inputs(folder_, *item, inputs_of(*record)));
    } else {
      standing.lines += manifest_line(*record);
      if (!record->notes.empty()) standing.notes[record->item] = record->notes;
      ++standing.done;
      on_done(*record);
    }
  }
  std::ranges::sort(standing.failed, {}, &FailedItem::item);
  return standing;
}

Standing StageFolder::survey() const {
  std::vector<Item> items;
  for (const std::string& name : record_names(folder_).items) {
    const std::optional<Record> record = find_any(name);
    items.push_back({name, record ? inputs_of(*record) : core::Json::object()});
  }
  return *survey(items, core::StopFlag());
}

std::optional<std::int64_t> StageFolder::close(const Standing& standing,
                                               const std::function<bool(const Manifest&)>& before_visible) {
  core::check(standing.pending.empty(), "{} is closed without {} items", folder_.string(),
              standing.pending.size());
  for (;;) {
    const std::vector<std::int64_t> present = generations(folder_);
    std::int64_t generation = present.empty() ? 0 : present.back();
    std::string text = manifest_text(facts_, generation, standing);
    if (generation == 0 || core::read_text(folder_ / manifest_file(generation)) != text) {
      text = manifest_text(facts_, ++generation, standing);
      Manifest manifest = parse_manifest(text, (folder_ / manifest_file(generation)).string());
      manifest.folder = folder_;
      for (Record& record : manifest.records)
        if (const auto found = standing.notes.find(record.item); found != standing.notes.end())
          record.notes = found->second;
      if (!before_visible(manifest)) return std::nullopt;
      if (!publish_new(folder_ / manifest_file(generation), text)) continue;
    }
    const fs::path newest = folder_ / kManifestFile;
    if (!fs::exists(newest) || core::read_text(newest) != text) core::atomic_write(newest, text);
    // Another slot may have closed the folder with more in it meanwhile: its copy must be the one that stays.
    if (generations(folder_).back() == generation) return generation;
  }
}

Manifest Manifest::read(const fs::path& folder, std::int64_t generation) {
  if (!fs::is_directory(folder))
    core::user_error("{}: no such folder; {}", folder.string(), who_makes(folder));
  const fs::path file = folder / (generation == 0 ? kManifestFile : manifest_file(generation));
  if (!fs::exists(file)) {
    if (fs::exists(folder / kFactsFile)) check_format(folder, core::read_json(folder / kFactsFile));
    const RecordNames names = record_names(folder);
    std::string failed;
    if (!names.failed.empty())
      failed = fmt::format(", {} failed (records/{}{} says why)", names.failed.size(), names.failed.front(),
                           kFailedEnding);
    core::user_error("{}: {} is not there; {} items are done{}; {}", folder.string(),
                     file.filename().string(), names.items.size(), failed, who_makes(folder));
  }
  Manifest manifest = parse_manifest(core::read_text(file), file.string());
  check_format(folder, manifest.facts);
  manifest.folder = folder;
  return manifest;
}

std::vector<ShardEntry> Manifest::shards() const {
  std::vector<ShardEntry> all;
  for (const Record& record : records) all.insert(all.end(), record.shards.begin(), record.shards.end());
  return all;
}

void remove_shards(const fs::path& folder, const std::string& item) {
  const fs::path file = in_records(folder, item, ".json"), gone = in_records(folder, item, kGoneEnding);
  const Record record = record_from_text(core::read_text(file), file.string());
  if (!core::input_bytes(gone)) core::atomic_write(gone, std::string_view());
  for (const ShardEntry& shard : record.shards) fs::remove(folder / shard.file);
}

std::string removed_on_purpose(const fs::path& folder, const std::string& item) {
  const fs::path gone = in_records(folder, item, kGoneEnding);
  return core::input_bytes(gone) ? gone.string() : "";
}

}  // namespace microdit::store
