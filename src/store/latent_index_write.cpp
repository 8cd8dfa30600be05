// The index of a latents folder, from its shards.
#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "store/latent_index.h"
#include "store/manifest_text.h"
#include "store/shard.h"

namespace microdit::store {
namespace {

namespace fs = std::filesystem;

// Shorter sides that a training may ask for (`min_side`).
const std::vector<std::int64_t> kBounds = {0,   64,  128, 192, 256,  320,  384,  448,
                                           512, 640, 768, 896, 1024, 1280, 1536, 2048};
constexpr std::int64_t kSplits = 2;            // train, held_out
constexpr const char* kSampleHashes = "xxh3";  // read by `doctor verify` alone

/// A pair of files with the same rows.
struct Pair {
  const ShardEntry* images = nullptr;
  const ShardEntry* text = nullptr;
  core::Json inputs[2];
};

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
    (images ? pair.images : pair.text) = &record.shards[0];
    pair.inputs[images ? 0 : 1] = record.details.value("inputs", core::Json());
  }
  for (auto it = pairs.begin(); it != pairs.end();) {
    const Pair& pair = it->second;
    if (pair.images && pair.text) {
      if (pair.images->rows != pair.text->rows ||
          pair.inputs[0].value("samples_sha256", "") != pair.inputs[1].value("samples_sha256", ""))
        core::user_error(
            "{}: {} and {} were made from different samples; remove both and their records and run "
            "precompute again",
            folder.string(), pair.images->file, pair.text->file);
      ++it;
      continue;
    }
    core::log_warn("{}: {} has {} only; training leaves it out", folder.string(), it->first,
                   pair.images ? "pictures" : "captions");
    it = pairs.erase(it);
  }
  return pairs;
}

class ShardIndexer {
 public:
  ShardIndexer(const fs::path& folder, LatentIndex& index) : folder_(folder), index_(index) {}

  IndexedShard read(const std::string& item, const Pair& pair) {
    IndexedShard shard;
    shard.item = item;
    shard.rows = pair.images->rows;
    const ShardReader files[2] = {ShardReader(folder_ / pair.images->file),
                                  ShardReader(folder_ / pair.text->file)};
    const ShardEntry* entries[2] = {pair.images, pair.text};
    for (std::size_t i = 0; i < 2; ++i) {
      shard.file_bytes[i] = entries[i]->bytes;
      shard.file_sha[i] = head_of(entries[i]->sha256);
    }
    if (index_.columns.empty()) index_.columns = columns_of(files);
    for (const IndexedColumn& column : index_.columns) shard.places.push_back(place_of(column, files));
    if (const std::vector<IndexedColumn> own = columns_of(files); own.size() != index_.columns.size())
      broken(files[0], "has other columns than the folder's first shard");
    count_rows(files[0], shard);
    count_captions(files[1], shard);
    return shard;
  }

 private:
  [[noreturn]] static void broken(const ShardReader& file, std::string_view what) {
    core::user_error("{}: {}; remove it and its record and run precompute again", file.path().string(), what);
  }

  static bool has_row_hashes(const ShardReader& file, const std::string& column) {
    return file.has(row_hash_name(column));
  }

  static std::vector<IndexedColumn> columns_of(const ShardReader (&files)[2]) {
    std::vector<IndexedColumn> columns;
    for (std::size_t i = 0; i < 2; ++i)
      for (const auto& [name, info] : files[i].columns()) {
        if (name == kSampleHashes) continue;
        columns.push_back({static_cast<LatentFile>(i), name, info.dtype,
                           std::vector<std::int64_t>(info.shape.begin() + 1, info.shape.end()),
                           !has_row_hashes(files[i], name)});
      }
    return columns;
  }

  static ColumnPlace place_of(const IndexedColumn& column, const ShardReader (&files)[2]) {
    const ShardReader& file = files[static_cast<std::size_t>(column.file)];
    const ColumnInfo& info = file.column(column.name);
    if (info.dtype != column.dtype || !std::equal(info.shape.begin() + 1, info.shape.end(),
                                                  column.row_shape.begin(), column.row_shape.end()))
      broken(file, fmt::format("`{}` has another shape than in the folder's first shard", column.name));
    ColumnPlace place{info.rows(), info.offset, 0};
    if (column.has_hash) {
      const auto recorded = file.recorded_hash(column.name);
      place.hash = recorded ? *recorded : core::xxh3_64(file.read(column.name));
    }
    return place;
  }

  void count_rows(const ShardReader& file, IndexedShard& shard) const {
    const auto width = file.read_as<std::int32_t>("width"), height = file.read_as<std::int32_t>("height");
    const auto split = file.read_as<std::uint8_t>("split");
    const auto rows = static_cast<std::size_t>(shard.rows);
    if (width.size() != rows || height.size() != rows || split.size() != rows)
      broken(file, fmt::format("its columns do not have the {} rows that its record says", rows));
    for (const std::int64_t size : index_.sizes) {
      const std::string column = fmt::format("latents_{}", size);
      const auto places = file.read_as<std::int32_t>(column + "_row");
      if (places.size() != rows) broken(file, fmt::format("`{}_row` has {} rows", column, places.size()));
      std::vector<std::uint32_t> counts(kSplits * index_.bounds.size(), 0);
      for (std::size_t row = 0; row < rows; ++row) {
        if (places[row] < 0) continue;
        if (places[row] >= file.column(column).rows())
          broken(file, fmt::format("row {} of `{}_row` leaves its column", row, column));
        if (split[row] >= kSplits) broken(file, fmt::format("row {} is of split {}", row, split[row]));
        const auto after = std::upper_bound(index_.bounds.begin(), index_.bounds.end(),
                                            std::max(0, std::min(width[row], height[row])));
        ++counts[split[row] * index_.bounds.size() +
                 static_cast<std::size_t>(after - index_.bounds.begin() - 1)];
      }
      shard.counts.insert(shard.counts.end(), counts.begin(), counts.end());
    }
  }

  void count_captions(const ShardReader& file, IndexedShard& shard) const {
    const auto offsets = file.read_as<std::int64_t>("caption_offsets");
    const auto sources = file.read_as<std::uint8_t>("caption_source");
    if (static_cast<std::int64_t>(offsets.size()) != shard.rows + 1)
      broken(file, fmt::format("`caption_offsets` has {} rows for {} samples", offsets.size(), shard.rows));
    shard.captioned.assign(index_.caption_sources.size(), 0);
    for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
      if (offsets[row] < 0 || offsets[row + 1] < offsets[row] ||
          offsets[row + 1] > static_cast<std::int64_t>(sources.size()))
        broken(file, fmt::format("row {} of `caption_offsets` leaves its column", row));
      std::vector<bool> seen(shard.captioned.size(), false);
      for (std::int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
        const std::uint8_t source = sources[static_cast<std::size_t>(i)];
        if (source >= seen.size())
          broken(file, fmt::format("row {} has a caption of source {}", row, source));
        if (!seen[source]) ++shard.captioned[source];
        seen[source] = true;
      }
    }
  }

  const fs::path& folder_;
  LatentIndex& index_;
};

/// The newest index that the folder has, if it can be read and is of the same settings.
std::optional<LatentIndex> present_index(const fs::path& folder, const LatentIndex& wanted) {
  if (!fs::exists(folder / kIndexFile)) return std::nullopt;
  try {
    LatentIndex found =
        parse_latent_index(core::read_text(folder / kIndexFile), (folder / kIndexFile).string());
    if (found.sizes == wanted.sizes && found.bounds == wanted.bounds && found.splits == wanted.splits &&
        found.caption_sources == wanted.caption_sources)
      return found;
  } catch (const core::UserError& damaged) {
    core::log_warn("{}", damaged.what());
  }
  return std::nullopt;
}

LatentIndex start_index(const Manifest& manifest, const fs::path& folder) {
  LatentIndex index;
  index.manifest_sha256 = manifest.sha256;
  index.generation = manifest.generation;
  try {
    index.sizes = manifest.facts.at("sizes").get<std::vector<std::int64_t>>();
    index.caption_sources = manifest.facts.at("caption_sources").get<std::vector<std::string>>();
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: its facts lack sizes or caption_sources ({}); it is no latents folder",
                     folder.string(), wrong.what());
  }
  index.bounds = kBounds;
  index.splits = kSplits;
  return index;
}

}  // namespace

void write_latent_index(const fs::path& folder, const Manifest& manifest) {
  LatentIndex index = start_index(manifest, folder);
  const std::optional<LatentIndex> before = present_index(folder, index);
  std::map<std::string, const IndexedShard*> known;
  if (before) {
    index.columns = before->columns;
    for (const IndexedShard& shard : before->shards) known[shard.item] = &shard;
  }
  ShardIndexer indexer(folder, index);
  for (const auto& [item, pair] : pairs_of(manifest, folder)) {
    const auto found = known.find(item);
    if (found != known.end() && found->second->file_sha[0] == head_of(pair.images->sha256) &&
        found->second->file_sha[1] == head_of(pair.text->sha256) &&
        found->second->rows == pair.images->rows && found->second->file_bytes[0] == pair.images->bytes &&
        found->second->file_bytes[1] == pair.text->bytes) {
      index.shards.push_back(*found->second);
    } else {
      index.shards.push_back(indexer.read(item, pair));
    }
  }
  const std::string bytes = to_bytes(index);
  core::atomic_write(folder / index_name(index.generation), bytes);
  core::atomic_write(folder / kIndexFile, bytes);
}

bool mend_latent_index(const fs::path& folder) {
  if (!fs::exists(folder / kManifestFile)) return false;
  const Manifest manifest = Manifest::read(folder);
  const fs::path file = folder / index_name(manifest.generation);
  try {
    if (fs::exists(file) &&
        parse_latent_index(core::read_text(file), file.string()).manifest_sha256 == manifest.sha256)
      return false;
  } catch (const core::UserError& damaged) {
    core::log_warn("{}", damaged.what());
  }
  write_latent_index(folder, manifest);
  core::log_info("{}: written anew", file.string());
  return true;
}

}  // namespace microdit::store
