// From manifest and shards to row tables; everything a shard claims is checked here.
#include "stream/source_index.h"

#include <algorithm>

#include "core/error.h"

namespace microdit::stream {
namespace {

std::string latents_column(const StreamConfig& config) {
  return fmt::format("latents_{}", config.size);
}

[[noreturn]] void broken(const store::ShardReader& shard, const std::string& what) {
  core::user_error("{}: {}; run `doctor verify {}` and make the shard again", shard.path().string(), what,
                   shard.path().parent_path().string());
}

std::int64_t fact(const core::Json& facts, const std::string& key, const std::filesystem::path& folder) {
  if (!facts.contains(key) || !facts[key].is_number_integer() || facts[key].get<std::int64_t>() <= 0)
    core::user_error("{}: its facts lack `{}`; it is not a latents folder", folder.string(), key);
  return facts[key].get<std::int64_t>();
}

// Which caption source ids are wanted; empty = all.
std::vector<bool> wanted_sources(const core::Json& facts, const StreamConfig& config,
                                 const std::filesystem::path& folder) {
  if (config.caption_sources.empty()) return {};
  std::vector<std::string> names;
  if (facts.contains("caption_sources")) names = facts["caption_sources"].get<std::vector<std::string>>();
  std::vector<bool> wanted(names.size(), false);
  for (const std::string& name : config.caption_sources) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      core::user_error("caption_sources: `{}` is none of {}'s ({})", name, folder.string(),
                       fmt::join(names, ", "));
    wanted[static_cast<std::size_t>(found - names.begin())] = true;
  }
  return wanted;
}

RowTable row_table(const store::ShardReader& shard, const std::string& name,
                   const std::vector<std::int64_t>& row_shape, bool verify) {
  const store::ColumnInfo& info = shard.column(name);
  if (info.dtype != core::DType::f16 || info.shape.size() != row_shape.size() + 1 ||
      !std::equal(row_shape.begin(), row_shape.end(), info.shape.begin() + 1))
    broken(shard, fmt::format("column `{}` is not f16 [n, {}] as the folder's facts say", name,
                              fmt::join(row_shape, ", ")));
  RowTable table{name, info.offset, info.row_bytes(), {}};
  if (verify) {
    table.hashes = shard.read_as<std::uint64_t>(store::row_hash_name(name));
    if (static_cast<std::int64_t>(table.hashes.size()) != info.rows())
      broken(shard, fmt::format("`{}` and its checksums differ in rows", name));
  }
  return table;
}

void read_choices(const store::ShardReader& shard, const std::vector<bool>& wanted, ShardIndex& index) {
  const auto offsets = shard.read_as<std::int64_t>("caption_offsets");
  const auto text_rows = shard.read_as<std::int32_t>("caption_rows");
  const auto sources = shard.read_as<std::uint8_t>("caption_source");
  const std::int64_t num_text = shard.column("text").rows();
  if (sources.size() != text_rows.size()) broken(shard, "`caption_rows` and `caption_source` differ in rows");
  if (static_cast<std::int64_t>(offsets.size()) != shard.column(index.latents.column).rows() + 1)
    broken(shard, "`caption_offsets` does not fit the latents");
  index.choice_offsets = {0};
  for (const std::uint32_t row : index.rows) {
    const std::int64_t begin = offsets[row], end = offsets[row + 1];
    if (begin < 0 || end < begin || end > static_cast<std::int64_t>(text_rows.size()))
      broken(shard, fmt::format("sample {}: `caption_offsets` leaves its column", row));
    for (std::size_t entry = static_cast<std::size_t>(begin); entry < static_cast<std::size_t>(end);
         ++entry) {
      if (text_rows[entry] < 0 || text_rows[entry] >= num_text)
        broken(shard, fmt::format("sample {}: `caption_rows` leaves its column", row));
      if (wanted.empty() || (sources[entry] < wanted.size() && wanted[sources[entry]]))
        index.choices.push_back(text_rows[entry]);
    }
    index.choice_offsets.push_back(static_cast<std::uint32_t>(index.choices.size()));
  }
}

}  // namespace

const ShardIndex& SourceIndex::shard_of(std::int64_t index) const {
  const auto after =
      std::upper_bound(shards.begin(), shards.end(), index,
                       [](std::int64_t i, const ShardIndex& shard) { return i < shard.first; });
  return *(after - 1);
}

SourceIndex read_index(const SourceConfig& source, const StreamConfig& config) {
  const store::Manifest manifest = store::Manifest::read(source.folder);
  SourceIndex index;
  index.facts = manifest.facts;
  const std::int64_t channels = fact(index.facts, "channels", source.folder);
  const std::int64_t side = config.size / fact(index.facts, "downscale", source.folder);
  const std::int64_t length = fact(index.facts, "text_length", source.folder);
  const std::int64_t width = fact(index.facts, "text_width", source.folder);
  const core::Json sizes = index.facts.value("sizes", core::Json::array());
  if (std::find(sizes.begin(), sizes.end(), core::Json(config.size)) == sizes.end())
    core::user_error("{}: has no latents of size {} (it has {}); run precompute with that size",
                     source.folder.string(), config.size, sizes.dump());
  const std::vector<bool> wanted = wanted_sources(index.facts, config, source.folder);
  const std::uint8_t split = config.split == "held_out" ? 1 : 0;

  for (const store::ShardEntry& entry : manifest.shards()) {
    const store::ShardReader shard(source.folder / entry.file);
    ShardIndex one;
    one.path = shard.path();
    one.latents = row_table(shard, latents_column(config), {channels, side, side}, config.verify);
    one.text = row_table(shard, "text", {length, width}, config.verify);
    const auto splits = shard.read_as<std::uint8_t>("split");
    if (static_cast<std::int64_t>(splits.size()) != shard.column(one.latents.column).rows() ||
        static_cast<std::int64_t>(splits.size()) != entry.rows)
      broken(shard, fmt::format("its columns do not have the {} rows that its record says", entry.rows));
    for (std::size_t row = 0; row < splits.size(); ++row)
      if (splits[row] == split) one.rows.push_back(static_cast<std::uint32_t>(row));
    if (one.rows.empty()) continue;
    read_choices(shard, wanted, one);
    for (std::size_t i = 0; i + 1 < one.choice_offsets.size(); ++i)
      index.num_without_caption += one.choice_offsets[i] == one.choice_offsets[i + 1];
    one.first = index.num_samples;
    index.num_samples += static_cast<std::int64_t>(one.rows.size());
    index.shards.push_back(std::move(one));
  }
  return index;
}

StreamFacts agree(const std::vector<SourceIndex>& sources, const StreamConfig& config) {
  const core::Json& first = sources[0].facts;
  for (std::size_t i = 1; i < sources.size(); ++i)
    for (const std::string key :
         {"channels", "downscale", "text_length", "text_width", "codec", "text_encoder"}) {
      core::Json one = first.value(key, core::Json()), other = sources[i].facts.value(key, core::Json());
      for (core::Json* side : {&one, &other})
        if (side->is_object()) side->erase("folder");  // where the encoder lay is a hint
      if (one != other)
        core::user_error("{} and {} cannot be mixed: `{}` is {} in the first and {} in the second",
                         config.sources[0].folder.string(), config.sources[i].folder.string(), key,
                         one.dump(), other.dump());
    }
  StreamFacts facts;
  facts.channels = first["channels"].get<std::int64_t>();
  facts.latent_size = config.size / first["downscale"].get<std::int64_t>();
  facts.text_length = first["text_length"].get<std::int64_t>();
  facts.text_width = first["text_width"].get<std::int64_t>();
  facts.facts = first;
  return facts;
}

}  // namespace microdit::stream
