// The index of a latents folder, from its records' notes, its shards and the index before.
#include <functional>
#include <map>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "store/file_notes.h"
#include "store/latent_index.h"
#include "store/manifest_head.h"
#include "store/manifest_text.h"

namespace microdit::store {
namespace {

namespace fs = std::filesystem;

/// A pair of files with the same rows.
struct Pair {
  const Record* images = nullptr;
  const Record* text = nullptr;
};

core::Json samples_of(const Record& record) {
  return record.details.value("inputs", core::Json::object()).value("samples_sha256", core::Json(""));
}

std::uint64_t head_of(const std::string& sha256) {
  return sha256.size() < 16 ? 0 : std::stoull(sha256.substr(0, 16), nullptr, 16);
}

std::map<std::string, Pair> pairs_of(const Manifest& manifest, const fs::path& folder) {
  std::map<std::string, Pair> pairs;
  for (const Record& record : manifest.records) {
    const bool images = record.item.ends_with(".images");
    if (!images && !record.item.ends_with(".text")) continue;
    if (record.shards.size() != 1 || record.shards[0].file != record.item + ".h5")
      core::user_error("{}: item {} should have one shard {}.h5; remove its record and run precompute again",
                       folder.string(), record.item, record.item);
    Pair& pair = pairs[record.item.substr(0, record.item.rfind('.'))];
    (images ? pair.images : pair.text) = &record;
  }
  for (auto it = pairs.begin(); it != pairs.end();) {
    const Pair& pair = it->second;
    if (pair.images && pair.text) {
      if (pair.images->shards[0].rows != pair.text->shards[0].rows ||
          samples_of(*pair.images) != samples_of(*pair.text))
        core::user_error(
            "{}: {} and {} were made from different samples; remove both and their records and run "
            "precompute again",
            folder.string(), pair.images->shards[0].file, pair.text->shards[0].file);
      ++it;
      continue;
    }
    core::log_warn("{}: {} has {} only; training leaves it out", folder.string(), it->first,
                   pair.images ? "pictures" : "captions");
    it = pairs.erase(it);
  }
  return pairs;
}

/// The notes of a record, as they are at hand; empty = the shard has to be opened.
using NotesOf = std::function<std::string(const Record&)>;

class ShardIndexer {
 public:
  ShardIndexer(const fs::path& folder, const NotesOf& notes_of, LatentIndex& index)
      : folder_(folder), notes_of_(notes_of), index_(index) {}

  IndexedShard read(const std::string& item, const Pair& pair) {
    IndexedShard shard;
    shard.item = item;
    shard.rows = pair.images->shards[0].rows;
    const FileNotes images = notes(*pair.images, LatentFile::images);
    const FileNotes text = notes(*pair.text, LatentFile::text);
    if (index_.columns.empty()) {
      index_.columns = images.columns;
      index_.columns.insert(index_.columns.end(), text.columns.begin(), text.columns.end());
    }
    add(*pair.images, LatentFile::images, images, shard);
    add(*pair.text, LatentFile::text, text, shard);
    shard.counts = images.counts;
    shard.classed = images.classed;
    shard.captioned = text.counts;
    return shard;
  }

 private:
  [[noreturn]] void broken(const Record& record, std::string_view what) const {
    core::user_error("{}: {}; remove it and its record and run precompute again",
                     (folder_ / record.shards[0].file).string(), what);
  }

  FileNotes notes(const Record& record, LatentFile which) const {
    if (auto known = notes_from_text(notes_of_(record), which, index_)) return std::move(*known);
    return look_at(folder_ / record.shards[0].file, which, index_);
  }

  void add(const Record& record, LatentFile which, const FileNotes& notes, IndexedShard& shard) const {
    const ShardEntry& entry = record.shards[0];
    if (notes.rows != entry.rows)
      broken(record, fmt::format("its {} has {} rows, its record says {}",
                                 which == LatentFile::images ? "`width`" : "`caption_offsets`", notes.rows,
                                 entry.rows));
    shard.file_bytes[static_cast<std::size_t>(which)] = entry.bytes;
    shard.file_sha[static_cast<std::size_t>(which)] = head_of(entry.sha256);
    std::size_t at = 0;
    for (const IndexedColumn& column : index_.columns) {
      if (column.file != which) continue;
      if (at == notes.columns.size() || notes.columns[at].name != column.name)
        broken(record, fmt::format("has other columns than the folder's first shard (`{}`)", column.name));
      if (notes.columns[at].dtype != column.dtype || notes.columns[at].row_shape != column.row_shape)
        broken(record, fmt::format("`{}` has another shape than in the folder's first shard", column.name));
      shard.places.push_back(notes.places[at++]);
    }
    if (at != notes.columns.size())
      broken(record,
             fmt::format("has other columns than the folder's first shard (`{}`)", notes.columns[at].name));
  }

  const fs::path& folder_;
  const NotesOf& notes_of_;
  LatentIndex& index_;
};

bool knows(const IndexedShard& shard, const Pair& pair) {
  const ShardEntry* entries[2] = {&pair.images->shards[0], &pair.text->shards[0]};
  for (std::size_t i = 0; i < 2; ++i)
    if (shard.file_sha[i] != head_of(entries[i]->sha256) || shard.file_bytes[i] != entries[i]->bytes ||
        shard.rows != entries[i]->rows)
      return false;
  return true;
}

/// The newest index that the folder has, if it can be read and is of the same settings.
std::optional<LatentIndex> present_index(const fs::path& folder, const LatentIndex& wanted) {
  if (!fs::exists(folder / kIndexFile)) return std::nullopt;
  try {
    LatentIndex found =
        parse_latent_index(core::read_text(folder / kIndexFile), (folder / kIndexFile).string());
    if (found.sizes == wanted.sizes && found.bounds == wanted.bounds && found.splits == wanted.splits &&
        found.caption_sources == wanted.caption_sources && !found.lacks_class_counts())
      return found;
  } catch (const core::UserError& damaged) {
    core::log_warn("{}", damaged.what());
  }
  return std::nullopt;
}

bool write_index(const fs::path& folder, const Manifest& manifest, const NotesOf& notes_of,
                 const core::StopFlag& stop) {
  LatentIndex index = start_index(manifest.facts, folder.string());
  index.manifest_sha256 = manifest.sha256;
  index.generation = manifest.generation;
  const std::optional<LatentIndex> before = present_index(folder, index);
  std::map<std::string, const IndexedShard*> known;
  if (before) {
    index.columns = before->columns;
    for (const IndexedShard& shard : before->shards) known[shard.item] = &shard;
  }
  ShardIndexer indexer(folder, notes_of, index);
  for (const auto& [item, pair] : pairs_of(manifest, folder)) {
    if (stop.requested()) return false;
    const auto found = known.find(item);
    index.shards.push_back(found != known.end() && knows(*found->second, pair) ? *found->second
                                                                               : indexer.read(item, pair));
  }
  index.counts_classes = index.column(LatentFile::images, "class") >= 0;
  const std::string bytes = to_bytes(index);
  core::atomic_write(folder / index_name(index.generation), bytes);
  core::atomic_write(folder / kIndexFile, bytes);
  return true;
}

/// From records/, whose record may be newer than the manifest.
std::string notes_in_records(const fs::path& folder, const Record& listed) {
  const fs::path file = folder / kRecordsFolder / (listed.item + ".json");
  try {
    const Record record = record_from_text(core::read_text(file), file.string());
    if (manifest_line(record) == manifest_line(listed)) return record.notes;
  } catch (const core::UserError&) {  // the shard itself says the same
  }
  return "";
}

}  // namespace

std::string index_notes(const fs::path& file, const core::Json& facts) {
  const LatentFile which =
      file.filename().string().ends_with(".images.h5") ? LatentFile::images : LatentFile::text;
  const LatentIndex settings = start_index(facts, file.parent_path().string());
  return notes_text(core::read_back([&] { return look_at(file, which, settings); }), settings);
}

bool write_latent_index(const fs::path& folder, const Manifest& manifest, const core::StopFlag& stop) {
  return write_index(
      folder, manifest, [](const Record& record) { return record.notes; }, stop);
}

bool mend_latent_index(const fs::path& folder, const core::StopFlag& stop) {
  const fs::path newest = folder / kManifestFile;
  if (!fs::exists(newest)) return true;
  const ManifestHead head = read_manifest_head(core::read_text(newest), newest.string());
  const fs::path file = folder / index_name(head.generation);
  try {
    if (fs::exists(file)) {
      const LatentIndex index = parse_latent_index(core::read_text(file), file.string());
      if (index.manifest_sha256 == head.sha256 && !index.lacks_class_counts()) return true;
    }
  } catch (const core::UserError& damaged) {
    core::log_warn("{}", damaged.what());
  }
  const Manifest manifest = Manifest::read(folder);
  const auto notes_of = [&](const Record& record) { return notes_in_records(folder, record); };
  if (!write_index(folder, manifest, notes_of, stop)) return false;
  core::log_info("{}: written anew", file.string());
  return true;
}

}  // namespace microdit::store
