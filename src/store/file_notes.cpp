// Columns counted once, and the counts as JSON.
#include "store/file_notes.h"

#include <algorithm>

#include "core/error.h"
#include "core/hash.h"
#include "store/shard.h"

namespace microdit::store {
namespace {

namespace fs = std::filesystem;

// Shorter sides that a training may ask for (`min_side`).
const std::vector<std::int64_t> kBounds = {0,   64,  128, 192, 256,  320,  384,  448,
                                           512, 640, 768, 896, 1024, 1280, 1536, 2048};
constexpr std::int64_t kSplits = 2;            // train, held_out
constexpr const char* kSampleHashes = "xxh3";  // read by `doctor verify` alone
constexpr const char* kClasses = "class";

[[noreturn]] void broken(const ShardReader& file, std::string_view what) {
  core::user_error("{}: {}; remove it and its record and run precompute again", file.path().string(), what);
}

void note_columns(const ShardReader& file, LatentFile which, FileNotes& notes) {
  for (const auto& [name, info] : file.columns()) {
    if (name == kSampleHashes) continue;
    const bool has_hash = !file.has(row_hash_name(name));
    notes.columns.push_back({which, name, info.dtype, {info.shape.begin() + 1, info.shape.end()}, has_hash});
    ColumnPlace place{info.rows(), info.offset, 0};
    if (has_hash) {
      const auto recorded = file.recorded_hash(name);
      place.hash = recorded ? *recorded : core::xxh3_64(file.read(name));
    }
    notes.places.push_back(place);
  }
}

void count_rows(const ShardReader& file, const LatentIndex& settings, FileNotes& notes) {
  const auto width = file.read_as<std::int32_t>("width"), height = file.read_as<std::int32_t>("height");
  const auto split = file.read_as<std::uint8_t>("split");
  const std::size_t rows = width.size();
  notes.rows = static_cast<std::int64_t>(rows);
  if (height.size() != rows || split.size() != rows)
    broken(file, fmt::format("`height` or `split` has not the {} rows of `width`", rows));
  const bool has_classes = file.has(kClasses);
  const auto classes = has_classes ? file.read_as<std::int32_t>(kClasses) : std::vector<std::int32_t>();
  if (has_classes && classes.size() != rows)
    broken(file, fmt::format("`{}` has not the {} rows of `width`", kClasses, rows));
  for (const std::int64_t size : settings.sizes) {
    const std::string column = fmt::format("latents_{}", size);
    const auto places = file.read_as<std::int32_t>(column + "_row");
    if (places.size() != rows) broken(file, fmt::format("`{}_row` has {} rows", column, places.size()));
    const std::int64_t there = file.column(column).rows();
    std::vector<std::uint32_t> counts(kSplits * settings.bounds.size(), 0), classed = counts;
    for (std::size_t row = 0; row < rows; ++row) {
      if (places[row] < 0) continue;
      if (places[row] >= there)
        broken(file, fmt::format("row {} of `{}_row` leaves its column", row, column));
      if (split[row] >= kSplits) broken(file, fmt::format("row {} is of split {}", row, split[row]));
      const auto after = std::upper_bound(settings.bounds.begin(), settings.bounds.end(),
                                          std::max(0, std::min(width[row], height[row])));
      const std::size_t place =
          split[row] * settings.bounds.size() + static_cast<std::size_t>(after - settings.bounds.begin() - 1);
      ++counts[place];
      if (has_classes && classes[row] >= 0) ++classed[place];
    }
    notes.counts.insert(notes.counts.end(), counts.begin(), counts.end());
    if (has_classes) notes.classed.insert(notes.classed.end(), classed.begin(), classed.end());
  }
}

void count_captions(const ShardReader& file, const LatentIndex& settings, FileNotes& notes) {
  const auto offsets = file.read_as<std::int64_t>("caption_offsets");
  const auto sources = file.read_as<std::uint8_t>("caption_source");
  notes.rows = static_cast<std::int64_t>(offsets.size()) - 1;
  notes.counts.assign(settings.caption_sources.size(), 0);
  for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
    if (offsets[row] < 0 || offsets[row + 1] < offsets[row] ||
        offsets[row + 1] > static_cast<std::int64_t>(sources.size()))
      broken(file, fmt::format("row {} of `caption_offsets` leaves its column", row));
    std::vector<bool> seen(notes.counts.size(), false);
    for (std::int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
      const std::uint8_t source = sources[static_cast<std::size_t>(i)];
      if (source >= seen.size()) broken(file, fmt::format("row {} has a caption of source {}", row, source));
      if (!seen[source]) ++notes.counts[source];
      seen[source] = true;
    }
  }
}

}  // namespace

LatentIndex start_index(const core::Json& facts, const std::string& origin) {
  LatentIndex index;
  try {
    index.sizes = facts.at("sizes").get<std::vector<std::int64_t>>();
    index.caption_sources = facts.at("caption_sources").get<std::vector<std::string>>();
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: its facts lack sizes or caption_sources ({}); it is no latents folder", origin,
                     wrong.what());
  }
  index.bounds = kBounds;
  index.splits = kSplits;
  return index;
}

FileNotes look_at(const fs::path& path, LatentFile which, const LatentIndex& settings) {
  const ShardReader file(path);
  FileNotes notes;
  note_columns(file, which, notes);
  if (which == LatentFile::images)
    count_rows(file, settings, notes);
  else
    count_captions(file, settings, notes);
  return notes;
}

std::string notes_text(const FileNotes& notes, const LatentIndex& settings) {
  core::Json columns = core::Json::object();
  for (std::size_t i = 0; i < notes.columns.size(); ++i) {
    const IndexedColumn& column = notes.columns[i];
    const ColumnPlace& place = notes.places[i];
    core::Json& said =
        columns[column.name] = {core::name_of(column.dtype), column.row_shape, place.rows, place.offset};
    if (column.has_hash) said.push_back(core::hex(place.hash));
  }
  core::Json json = {{"bounds", settings.bounds},
                     {"rows", notes.rows},
                     {"counts", notes.counts},
                     {"columns", std::move(columns)}};
  if (!notes.classed.empty()) json["classed"] = notes.classed;
  return json.dump();
}

std::optional<FileNotes> notes_from_text(const std::string& text, LatentFile which,
                                         const LatentIndex& settings) {
  if (text.empty()) return std::nullopt;
  try {
    const core::Json json = core::parse_json(text, "notes");
    if (json.at("bounds") != core::Json(settings.bounds)) return std::nullopt;
    FileNotes notes;
    notes.rows = json.at("rows").get<std::int64_t>();
    notes.counts = json.at("counts").get<std::vector<std::uint32_t>>();
    const std::size_t expected = which == LatentFile::images
                                     ? settings.sizes.size() * kSplits * settings.bounds.size()
                                     : settings.caption_sources.size();
    if (notes.counts.size() != expected) return std::nullopt;
    if (json.at("columns").contains(kClasses)) {  // notes of before there were these counts have none
      notes.classed = json.at("classed").get<std::vector<std::uint32_t>>();
      if (notes.classed.size() != expected) return std::nullopt;
    }
    for (const auto& [name, said] : json.at("columns").items()) {
      const bool has_hash = said.size() > 4;
      notes.columns.push_back({which, name, core::dtype_from_name(said.at(0).get<std::string>()),
                               said.at(1).get<std::vector<std::int64_t>>(), has_hash});
      const auto hash = has_hash ? core::from_hex(said.at(4).get<std::string>()) : 0;
      if (!hash) return std::nullopt;
      notes.places.push_back({said.at(2).get<std::int64_t>(), said.at(3).get<std::uint64_t>(), *hash});
    }
    return notes;
  } catch (const core::Json::exception&) {  // of another version
  } catch (const core::UserError&) {
  }
  return std::nullopt;
}

}  // namespace microdit::store
