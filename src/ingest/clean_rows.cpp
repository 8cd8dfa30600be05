// Columns of a samples shard: image (or where it lies), width, height, split, key, caption.<source>.
#include "ingest/clean_rows.h"

#include <numeric>
#include <utility>

#include "core/hash.h"
#include "core/seed.h"
#include "store/sample_hash.h"
#include "store/shard_writer.h"

namespace microdit::ingest {
namespace {

std::uint64_t hash_of(std::string_view text) {
  return core::xxh3_64(std::as_bytes(std::span(text)));
}

/// Which side of the split a group falls on: a function of its name and the seed alone.
std::uint8_t split_of(const SplitSection& splits, const std::string& group) {
  core::CounterRng rng(static_cast<std::uint64_t>(splits.seed), core::Purpose::split, hash_of(group));
  return rng.uniform() < splits.held_out ? 1 : 0;
}

/// Neighbours in an archive are often alike; readers that take runs of rows want them apart.
void shuffle(std::vector<KeptRecord>& rows, const std::string& file) {
  core::CounterRng rng(hash_of(file), core::Purpose::row_order);
  for (std::size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[rng.below(i)]);
}

template <class T, class Value>
store::Column column_of(const std::string& name, core::DType dtype, const std::vector<KeptRecord>& rows,
                        const Value& value) {
  std::vector<T> values;
  values.reserve(rows.size());
  for (const KeptRecord& row : rows) values.push_back(static_cast<T>(value(row)));
  return store::make_column(name, dtype, values);
}

template <class Value>
void add_texts(store::ShardContents& contents, store::SampleLayout& layout, const std::string& name,
               const std::vector<KeptRecord>& rows, const Value& value) {
  std::vector<std::span<const std::byte>> pieces;
  pieces.reserve(rows.size());
  for (const KeptRecord& row : rows) pieces.push_back(std::as_bytes(std::span(value(row))));
  store::add_byte_rows(contents, name, std::move(pieces));
  layout.variable.push_back(name);
}

}  // namespace

void CleanRows::add(KeptRecord&& record) {
  record.image_bytes = record.record.image.size();
  if (entry_.images == "reference") {
    record.image_hash = core::xxh3_64(record.record.image);
    record.record.image = {};
  }
  payload_ += record.record.image.size();
  for (const auto& caption : record.record.captions) payload_ += caption.size();
  rows_.push_back(std::move(record));
}

void CleanRows::add_pictures(store::ShardContents& contents, store::SampleLayout& layout) const {
  using core::DType;
  if (entry_.images != "reference")
    return add_texts(contents, layout, "image", rows_,
                     [](const KeptRecord& row) { return std::span(row.record.image); });
  contents.columns.push_back(column_of<std::uint32_t>("image_file", DType::u32, rows_,
                                                      [](const auto& row) { return row.record.image_file; }));
  contents.columns.push_back(column_of<std::uint64_t>(
      "image_offset", DType::u64, rows_, [](const auto& row) { return row.record.image_offset; }));
  contents.columns.push_back(column_of<std::uint64_t>("image_length", DType::u64, rows_,
                                                      [](const auto& row) { return row.image_bytes; }));
  contents.columns.push_back(column_of<std::uint64_t>(store::row_hash_name("image"), DType::u64, rows_,
                                                      [](const auto& row) { return row.image_hash; }));
  for (const char* column : {"image_file", "image_offset", "image_length", "image_xxh3"})
    layout.fixed.push_back(column);
  contents.attributes["image_folder"] = "../../raw/" + entry_.folder_name();
  contents.attributes["image_files"] = files_;
}

std::optional<store::ShardEntry> CleanRows::write(const std::filesystem::path& path,
                                                  const core::Json& attributes, const core::StopFlag& stop) {
  using core::DType;
  shuffle(rows_, path.filename().string());
  store::ShardContents contents;
  store::SampleLayout layout;
  layout.fixed = {"width", "height", "split"};
  add_pictures(contents, layout);
  contents.columns.push_back(
      column_of<std::int32_t>("width", DType::i32, rows_, [](const auto& row) { return row.width; }));
  contents.columns.push_back(
      column_of<std::int32_t>("height", DType::i32, rows_, [](const auto& row) { return row.height; }));
  contents.columns.push_back(column_of<std::uint8_t>("split", DType::u8, rows_, [&](const auto& row) {
    return row.record.held_out ? 1 : split_of(entry_.splits, row.record.group);
  }));
  add_texts(contents, layout, "key", rows_,
            [](const KeptRecord& row) -> const std::string& { return row.record.key; });
  const std::vector<std::string> sources = entry_.caption_sources();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    add_texts(contents, layout, "caption." + sources[i], rows_,
              [i](const KeptRecord& row) -> const std::string& { return row.record.captions[i]; });
  }
  const std::vector<std::string> columns = entry_.kept_columns();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string name = "column." + columns[i];
    contents.columns.push_back(
        column_of<double>(name, DType::f64, rows_, [i](const auto& row) { return row.record.columns[i]; }));
    layout.fixed.push_back(name);
  }
  contents.sample_hashes = store::hash_samples(contents, layout);
  contents.attributes.update({{"stage", "samples"},
                              {"format", store::kFormat},
                              {"dataset", entry_.name},
                              {"caption_sources", sources},
                              {"layout", store::to_json(layout)}});
  contents.attributes.update(attributes);
  const std::optional<std::string> sha256 = store::ShardWriter(path).finish(contents, stop);
  if (!sha256) return std::nullopt;
  const std::int64_t rows = count();
  rows_ = {};
  payload_ = 0;
  return store::ShardEntry{path.filename().string(), rows, std::filesystem::file_size(path), *sha256};
}

}  // namespace microdit::ingest
