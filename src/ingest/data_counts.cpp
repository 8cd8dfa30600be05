// Columns are read whole, so each is checked against its checksum.
#include "ingest/data_counts.h"

#include <algorithm>
#include <span>

#include "core/error.h"

namespace microdit::ingest {
namespace {

using store::ShardReader;

template <class T>
std::vector<T> column(const ShardReader& shard, const std::string& name, std::int64_t rows) {
  std::vector<T> values = shard.read_as<T>(name);
  if (std::ssize(values) != rows)
    core::user_error("{}: column `{}` has {} rows, {} are expected", shard.path().string(), name,
                     values.size(), rows);
  return values;
}

/// Ascending from 0 or more, none beyond `end`.
std::vector<std::int64_t> offsets(const ShardReader& shard, const std::string& name, std::int64_t rows,
                                  std::int64_t end) {
  std::vector<std::int64_t> values = column<std::int64_t>(shard, name, rows + 1);
  if (values.front() < 0 || values.back() > end || !std::ranges::is_sorted(values))
    core::user_error("{}: `{}` leaves its column", shard.path().string(), name);
  return values;
}

std::int64_t characters(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

void count_pictures(const ShardReader& shard, std::int64_t rows, DataCounts& counts) {
  const auto width = column<std::int32_t>(shard, "width", rows),
             height = column<std::int32_t>(shard, "height", rows);
  counts.rows = rows;
  counts.side = side_histogram();
  counts.aspect = aspect_histogram();
  for (std::size_t row = 0; row < width.size(); ++row) {
    if (width[row] < 1 || height[row] < 1)
      core::user_error("{}: sample {} has {} x {} pixels", shard.path().string(), row, width[row],
                       height[row]);
    counts.side.add(std::min(width[row], height[row]));
    counts.aspect.add(static_cast<double>(width[row]) / height[row]);
    counts.widest = std::max<std::int64_t>(counts.widest, width[row]);
    counts.highest = std::max<std::int64_t>(counts.highest, height[row]);
  }
  for (const std::uint8_t split : column<std::uint8_t>(shard, "split", rows)) ++counts.splits[split];
}

template <class Map>
void add_to(Map& sum, const Map& other) {
  for (const auto& [key, count] : other) sum[key] += count;
}

}  // namespace

DataFacts DataFacts::from_json(const core::Json& facts, const std::filesystem::path& folder) {
  try {
    const std::string stage = facts.at("stage").get<std::string>();
    if (stage != "samples" && stage != "latents")
      core::user_error("{}: holds {}; name a folder of samples or of latents", folder.string(), stage);
    DataFacts out;
    out.kind = stage == "samples" ? DataKind::samples : DataKind::latents;
    out.caption_sources = facts.at("caption_sources").get<std::vector<std::string>>();
    out.split_names = facts.value("split_names", std::vector<std::string>{});
    if (out.kind == DataKind::samples) return out;
    out.sizes = facts.at("sizes").get<std::vector<std::int64_t>>();
    out.text_length = facts.at("text_length").get<std::int64_t>();
    return out;
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: its facts are not those of samples or latents ({}); make the folder again",
                     folder.string(), wrong.what());
  }
}

void DataCounts::merge(const DataCounts& other) {
  rows += other.rows;
  add_to(splits, other.splits);
  side.merge(other.side);
  aspect.merge(other.aspect);
  widest = std::max(widest, other.widest);
  highest = std::max(highest, other.highest);
  add_to(latents, other.latents);
  captioned_rows += other.captioned_rows;
  without_caption += other.without_caption;
  captions.resize(std::max(captions.size(), other.captions.size()));
  for (std::size_t i = 0; i < other.captions.size(); ++i) captions[i] += other.captions[i];
  length.merge(other.length);
  longest = std::max(longest, other.longest);
  for (const auto& [name, numbers] : other.columns) columns[name].merge(numbers);
}

DataCounts count_samples(const ShardReader& shard, std::int64_t rows, const DataFacts& facts) {
  DataCounts counts;
  count_pictures(shard, rows, counts);
  counts.length = character_histogram();
  std::vector<bool> captioned(static_cast<std::size_t>(rows), false);
  for (const std::string& source : facts.caption_sources) {
    const std::vector<std::string> texts = store::read_strings(shard, "caption." + source);
    if (std::ssize(texts) != rows)
      core::user_error("{}: `caption.{}` has {} rows, {} are expected", shard.path().string(), source,
                       texts.size(), rows);
    std::int64_t& of_source = counts.captions.emplace_back(0);
    for (std::size_t row = 0; row < texts.size(); ++row) {
      if (texts[row].empty()) continue;
      const std::int64_t length = characters(texts[row]);
      captioned[row] = true;
      ++of_source;
      counts.length.add(static_cast<double>(length));
      counts.longest = std::max(counts.longest, length);
    }
  }
  counts.captioned_rows = rows;
  counts.without_caption = std::ranges::count(captioned, false);
  constexpr std::string_view kColumn = "column.";
  for (const auto& [name, info] : shard.columns()) {
    if (!name.starts_with(kColumn)) continue;
    NumberCounts& numbers = counts.columns[name.substr(kColumn.size())];
    for (const double value : column<double>(shard, name, rows)) numbers.add(value);
  }
  return counts;
}

DataCounts count_images(const ShardReader& shard, std::int64_t rows, const DataFacts& facts) {
  DataCounts counts;
  count_pictures(shard, rows, counts);
  for (const std::int64_t size : facts.sizes) {
    const std::string name = fmt::format("latents_{}", size);
    const std::int64_t there = shard.column(name).rows();
    std::int64_t& of_size = counts.latents[size];
    for (const std::int32_t row : column<std::int32_t>(shard, name + "_row", rows)) {
      if (row >= there) core::user_error("{}: `{}_row` leaves its column", shard.path().string(), name);
      of_size += row >= 0;
    }
  }
  return counts;
}

DataCounts count_text(const ShardReader& shard, std::int64_t rows, const DataFacts& facts) {
  DataCounts counts;
  counts.length = token_histogram(facts.text_length);
  const auto lengths = shard.read_as<std::int32_t>("text_length");
  for (const std::int32_t length : lengths) {
    counts.length.add(length);
    counts.longest = std::max<std::int64_t>(counts.longest, length);
  }
  const auto texts =
      offsets(shard, "text_caption_offsets", std::ssize(lengths), shard.column("text_caption").rows());
  const auto entries = shard.read_as<std::int32_t>("caption_rows");
  const auto sources = column<std::uint8_t>(shard, "caption_source", std::ssize(entries));
  const auto owned = offsets(shard, "caption_offsets", rows, std::ssize(entries));
  counts.captioned_rows = rows;
  counts.captions.resize(facts.caption_sources.size());
  for (std::size_t sample = 0; sample + 1 < owned.size(); ++sample) {
    bool captioned = false;
    for (auto i = static_cast<std::size_t>(owned[sample]); i < static_cast<std::size_t>(owned[sample + 1]);
         ++i) {
      if (entries[i] < 0 || entries[i] >= std::ssize(lengths) || sources[i] >= counts.captions.size())
        core::user_error("{}: the captions of sample {} leave their columns", shard.path().string(), sample);
      const auto text = static_cast<std::size_t>(entries[i]);
      if (texts[text + 1] == texts[text]) continue;
      captioned = true;
      ++counts.captions[sources[i]];
    }
    counts.without_caption += !captioned;
  }
  return counts;
}

}  // namespace microdit::ingest
