// Finding damage in a stage folder, and whose it is.
#include <algorithm>
#include <optional>
#include <set>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/manifest.h"
#include "store/manifest_text.h"
#include "store/sample_hash.h"
#include "store/shard.h"

namespace microdit::store {
namespace {

constexpr std::size_t kMaxListed = 20;  // damaged samples that are named one by one

// The damaged sample's name, if the shard carries names and this one's can be read.
std::string key_of(const ShardReader& shard, std::int64_t sample) {
  if (!shard.has("key") || !shard.has("key_offsets")) return "";
  const ColumnInfo& offsets = shard.column("key_offsets");
  if (offsets.dtype != core::DType::i64 || sample + 1 >= offsets.rows()) return "";
  std::int64_t range[2];
  shard.copy_rows("key_offsets", sample, 2, std::as_writable_bytes(std::span(range)));
  if (range[0] < 0 || range[1] < range[0] || range[1] > shard.column("key").rows()) return "";
  std::string key(static_cast<std::size_t>(range[1] - range[0]), '\0');
  shard.copy_rows("key", range[0], range[1] - range[0], std::as_writable_bytes(std::span(key)));
  for (char& c : key)
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  return fmt::format(" (`{}`)", key);
}

std::string damaged_columns(const ShardReader& shard) {
  std::string names;
  for (const auto& [name, info] : shard.columns()) {
    std::vector<std::byte> bytes(static_cast<std::uint64_t>(info.rows()) * info.row_bytes());
    shard.copy_rows(name, 0, info.rows(), bytes);
    if (!shard.matches(name, core::xxh3_64(bytes)))
      names += fmt::format("{}`{}`", names.empty() ? "" : ", ", name);
  }
  return names;
}

// The file's SHA-256 is wrong: which samples does that concern?
void examine(const std::filesystem::path& file, std::vector<Damage>& damage) {
  const std::string name = file.filename().string();
  try {
    const ShardReader shard(file);
    const std::vector<std::int64_t> samples = damaged_samples(shard);
    for (std::size_t i = 0; i < std::min(samples.size(), kMaxListed); ++i)
      damage.push_back({name, fmt::format("sample {}{} does not match its checksum", samples[i],
                                          key_of(shard, samples[i]))});
    if (samples.size() > kMaxListed)
      damage.push_back({name, fmt::format("and {} more samples", samples.size() - kMaxListed)});
    if (!samples.empty()) return;
    const std::string columns = damaged_columns(shard);
    damage.push_back({name, columns.empty()
                                ? "SHA-256 differs, outside the samples (structure of the file)"
                                : fmt::format("SHA-256 differs, outside the samples: {}", columns)});
  } catch (const core::UserError& broken) {
    damage.push_back({name, fmt::format("SHA-256 differs; {}", broken.what())});
  }
}

void verify_shard(const std::filesystem::path& folder, const Record& record, const ShardEntry& shard,
                  std::vector<Damage>& damage) {
  const std::filesystem::path file = folder / shard.file;
  const std::optional<std::uint64_t> bytes = core::input_bytes(file);
  if (!bytes) {
    if (removed_on_purpose(folder, record.item).empty()) damage.push_back({shard.file, "missing"});
  } else if (*bytes != shard.bytes) {
    damage.push_back({shard.file, fmt::format("has {} bytes, its record says {}", *bytes, shard.bytes)});
  } else if (core::sha256_file(file) != shard.sha256) {
    examine(file, damage);
  }
}

// Compares a small text file with what it has to be.
void verify_text(const std::filesystem::path& folder, const std::string& name, const std::string& expected,
                 std::vector<Damage>& damage) {
  if (!std::filesystem::is_regular_file(folder / name)) {
    damage.push_back({name, "missing"});
  } else if (core::read_text(folder / name) != expected) {
    damage.push_back({name, "differs from what manifest.jsonl says"});
  }
}

// A record's notes stand nowhere else; their own checksum speaks for them.
void verify_record(const std::filesystem::path& folder, Record record, std::vector<Damage>& damage) {
  const std::string name = fmt::format("{}/{}.json", kRecordsFolder, record.item);
  try {
    if (std::filesystem::is_regular_file(folder / name))
      record.notes = record_from_text(core::read_text(folder / name), name).notes;
  } catch (const core::UserError&) {  // said below
  }
  verify_text(folder, name, record_text(record), damage);
}

void verify_generations(const std::filesystem::path& folder, std::vector<Damage>& damage) {
  const std::vector<std::int64_t> all = generations(folder);
  for (const std::int64_t generation : all) {
    const std::string name = manifest_file(generation);
    try {
      parse_manifest(core::read_text(folder / name), name);
    } catch (const core::UserError& broken) {
      damage.push_back({name, broken.what()});
    }
  }
  const bool closed = std::filesystem::exists(folder / kManifestFile);
  if (closed && all.empty()) damage.push_back({kManifestFile, "no manifest.N.jsonl lies beside it"});
  if (!closed || all.empty() || !damage.empty()) return;
  verify_text(folder, kManifestFile, core::read_text(folder / manifest_file(all.back())), damage);
}

// One record that the manifest does not hold: of a dataset that grows, or nothing of ours.
std::optional<Record> read_record(const std::filesystem::path& folder, const std::string& item,
                                  std::vector<Damage>& damage) {
  const std::string name = fmt::format("{}/{}.json", kRecordsFolder, item);
  try {
    return record_from_text(core::read_text(folder / name), name);
  } catch (const core::UserError& broken) {
    damage.push_back({name, broken.what()});
    return std::nullopt;
  }
}

// What can be known of the records: from manifest.jsonl, and one by one what is newer than it.
std::vector<Record> verified_records(const std::filesystem::path& folder, std::vector<Damage>& damage) {
  verify_generations(folder, damage);
  std::vector<Record> records;
  std::set<std::string> known;
  if (std::filesystem::exists(folder / kManifestFile)) {
    try {
      const Manifest manifest = Manifest::read(folder);
      verify_text(folder, kFactsFile, facts_text(manifest.facts), damage);
      for (const Record& record : manifest.records) {
        known.insert(record.item);
        verify_record(folder, record, damage);
      }
      records = manifest.records;
    } catch (const core::UserError& broken) {
      damage.push_back({kManifestFile, broken.what()});
    }
  }
  try {
    core::read_json(folder / kFactsFile);
  } catch (const core::UserError& broken) {
    damage.push_back({kFactsFile, broken.what()});
  }
  for (const std::string& item : record_names(folder).items) {
    if (known.contains(item)) continue;
    if (auto record = read_record(folder, item, damage)) records.push_back(std::move(*record));
  }
  return records;
}

// Shards of an item that is half done; no damage yet.
std::set<std::string> parts(const std::filesystem::path& folder) {
  std::set<std::string> files;
  for (const std::string& name : record_names(folder).parts)
    files.insert(name.substr(0, name.size() - kPartEnding.size()) + ".h5");
  return files;
}

}  // namespace

std::vector<Damage> verify(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) core::user_error("{}: no such folder", folder.string());
  if (!std::filesystem::exists(folder / kFactsFile) && !std::filesystem::exists(folder / kManifestFile))
    core::user_error("{}: no stage folder (neither facts.json nor manifest.jsonl is there)", folder.string());
  std::vector<Damage> damage;
  const std::vector<Record> records = verified_records(folder, damage);
  std::set<std::string> known;
  for (const Record& record : records)
    for (const ShardEntry& shard : record.shards) {
      known.insert(shard.file);
      verify_shard(folder, record, shard, damage);
    }
  // A shard without a record is work in progress, unless everything is said to be done.
  known.merge(parts(folder));
  const bool complete = std::filesystem::exists(folder / kManifestFile);
  std::set<std::string> extra;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".h5" && entry.path().filename().string()[0] != '.' &&
        !known.contains(entry.path().filename().string()))
      extra.insert(entry.path().filename().string());
  if (complete)
    for (const std::string& name : extra) damage.push_back({name, "not in manifest.jsonl"});
  return damage;
}

}  // namespace microdit::store
