// Sample hashes from memory or from a file, by the same rule.
#include "store/sample_hash.h"

#include <algorithm>
#include <functional>
#include <map>

#include "core/error.h"
#include "core/hash.h"

namespace microdit::store {
namespace {

constexpr std::uint64_t kBlockBytes = 4 << 20;

// Where columns come from. `copy` returns rows [begin, begin + count).
struct ColumnSource {
  std::function<ColumnInfo(const std::string&)> info;
  std::function<std::vector<std::byte>(const std::string&, std::int64_t begin, std::int64_t count)> copy;
  std::function<void(const std::string& what)> broken;  // does not return
  /// Hashes of the rows of a column where they are known already, else null.
  std::function<const std::vector<std::uint64_t>*(const std::string&)> known_hashes{};
};

template <class T>
std::vector<T> values(const ColumnSource& source, const std::string& name) {
  const std::int64_t rows = source.info(name).rows();
  const std::vector<std::byte> bytes = source.copy(name, 0, rows);
  if (bytes.size() != static_cast<std::size_t>(rows) * sizeof(T))
    source.broken(fmt::format("column `{}` has another element type than its role needs", name));
  std::vector<T> out(static_cast<std::size_t>(rows));
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(out.data()));
  return out;
}

std::vector<std::uint64_t> row_hashes(const ColumnSource& source, const std::string& name) {
  if (source.known_hashes)
    if (const std::vector<std::uint64_t>* known = source.known_hashes(name)) return *known;
  const ColumnInfo info = source.info(name);
  const std::uint64_t row_bytes = info.row_bytes();
  const std::int64_t step = static_cast<std::int64_t>(
      std::max<std::uint64_t>(1, kBlockBytes / std::max<std::uint64_t>(row_bytes, 1)));
  std::vector<std::uint64_t> hashes;
  for (std::int64_t begin = 0; begin < info.rows(); begin += step) {
    const std::int64_t count = std::min(step, info.rows() - begin);
    const std::vector<std::byte> block = source.copy(name, begin, count);
    for (std::int64_t row = 0; row < count; ++row)
      hashes.push_back(
          core::xxh3_64(std::span(block).subspan(static_cast<std::uint64_t>(row) * row_bytes, row_bytes)));
  }
  return hashes;
}

// offsets[i] .. offsets[i + 1] of every sample, checked against the column they point into.
std::vector<std::int64_t> checked_offsets(const ColumnSource& source, const std::string& name,
                                          std::int64_t total) {
  std::vector<std::int64_t> offsets = values<std::int64_t>(source, name);
  if (offsets.empty()) source.broken(fmt::format("column `{}` is empty", name));
  for (std::size_t i = 0; i < offsets.size(); ++i)
    if (offsets[i] < 0 || offsets[i] > total || (i > 0 && offsets[i] < offsets[i - 1]))
      source.broken(fmt::format("sample {}: `{}` leaves its column", i > 0 ? i - 1 : 0, name));
  return offsets;
}

std::vector<std::uint64_t> range_hashes(const ColumnSource& source, const std::string& name) {
  const ColumnInfo info = source.info(name);
  const auto offsets = checked_offsets(source, name + "_offsets", info.rows());
  std::vector<std::uint64_t> hashes;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    hashes.push_back(core::xxh3_64(source.copy(name, offsets[i], offsets[i + 1] - offsets[i])));
  return hashes;
}

using Pieces = std::vector<std::vector<std::uint64_t>>;  // one list of piece hashes per sample

void add_pieces(const ColumnSource& source, Pieces& pieces, const std::vector<std::uint64_t>& hashes,
                const std::string& name) {
  if (pieces.empty()) pieces.resize(hashes.size());
  if (pieces.size() != hashes.size())
    source.broken(fmt::format("column `{}` means {} samples, others {}", name, hashes.size(), pieces.size()));
  for (std::size_t i = 0; i < hashes.size(); ++i) pieces[i].push_back(hashes[i]);
}

// Rows of a column that not every sample has one of.
void add_optional(const ColumnSource& source, Pieces& pieces, const std::string& name) {
  const auto rows = values<std::int32_t>(source, name + "_row");
  const std::vector<std::uint64_t> hashes = row_hashes(source, name);
  if (pieces.empty()) pieces.resize(rows.size());
  if (pieces.size() != rows.size())
    source.broken(
        fmt::format("column `{}_row` means {} samples, others {}", name, rows.size(), pieces.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < -1 || rows[i] >= static_cast<std::int64_t>(hashes.size()))
      source.broken(fmt::format("sample {}: `{}_row` leaves its column", i, name));
    if (rows[i] >= 0) pieces[i].push_back(hashes[static_cast<std::size_t>(rows[i])]);
  }
}

void add_shared(const ColumnSource& source, Pieces& pieces, const SampleLayout& layout) {
  const auto index = values<std::int32_t>(source, layout.via_index);
  const auto offsets = checked_offsets(source, layout.via_offsets, static_cast<std::int64_t>(index.size()));
  if (pieces.empty()) pieces.resize(offsets.size() - 1);
  if (offsets.size() != pieces.size() + 1)
    source.broken(fmt::format("column `{}` has {} rows for {} samples", layout.via_offsets, offsets.size(),
                              pieces.size()));
  std::vector<std::vector<std::uint64_t>> shared;
  for (const std::string& name : layout.shared) shared.push_back(row_hashes(source, name));
  for (std::size_t sample = 0; sample < pieces.size(); ++sample) {
    for (std::int64_t entry = offsets[sample]; entry < offsets[sample + 1]; ++entry) {
      const std::int64_t row = index[static_cast<std::size_t>(entry)];
      for (const auto& hashes : shared) {
        if (row < 0 || row >= static_cast<std::int64_t>(hashes.size()))
          source.broken(fmt::format("sample {}: `{}` leaves its column", sample, layout.via_index));
        pieces[sample].push_back(hashes[static_cast<std::size_t>(row)]);
      }
    }
  }
}

ColumnSource columns_of(const ShardReader& shard) {
  ColumnSource source;
  source.info = [&](const std::string& name) { return shard.column(name); };
  source.copy = [&](const std::string& name, std::int64_t begin, std::int64_t count) {
    std::vector<std::byte> bytes(static_cast<std::uint64_t>(count) * shard.column(name).row_bytes());
    shard.copy_rows(name, begin, count, bytes);
    return bytes;
  };
  source.broken = [&](const std::string& what) { core::user_error("{}: {}", shard.path().string(), what); };
  return source;
}

std::vector<std::uint64_t> hash_all(const ColumnSource& source, const SampleLayout& layout) {
  Pieces pieces;
  for (const std::string& name : layout.fixed) add_pieces(source, pieces, row_hashes(source, name), name);
  for (const std::string& name : layout.variable)
    add_pieces(source, pieces, range_hashes(source, name), name);
  for (const std::string& name : layout.optional) add_optional(source, pieces, name);
  if (!layout.via_index.empty()) add_shared(source, pieces, layout);
  std::vector<std::uint64_t> hashes;
  for (const auto& list : pieces) hashes.push_back(core::xxh3_64(std::as_bytes(std::span(list))));
  return hashes;
}

// Bytes [begin, begin + count) of a column that lies in pieces; `ends` are where they end, filled at the first call.
std::vector<std::byte> copy_pieces(const Column& column, std::vector<std::int64_t>& ends, std::int64_t begin,
                                   std::int64_t count) {
  if (ends.empty()) {
    std::int64_t end = 0;
    for (const auto piece : column.pieces) ends.push_back(end += static_cast<std::int64_t>(piece.size()));
  }
  std::vector<std::byte> bytes;
  bytes.reserve(static_cast<std::size_t>(count));
  auto at = std::upper_bound(ends.begin(), ends.end(), begin);
  while (static_cast<std::int64_t>(bytes.size()) < count) {
    const auto piece = column.pieces[static_cast<std::size_t>(at - ends.begin())];
    const std::int64_t start =
        begin + static_cast<std::int64_t>(bytes.size()) - (*at - static_cast<std::int64_t>(piece.size()));
    const auto part = piece.subspan(static_cast<std::size_t>(start));
    const std::size_t want = static_cast<std::size_t>(count) - bytes.size();
    bytes.insert(bytes.end(), part.begin(),
                 part.begin() + static_cast<std::ptrdiff_t>(std::min(want, part.size())));
    ++at;
  }
  return bytes;
}

}  // namespace

core::Json to_json(const SampleLayout& layout) {
  core::Json json = {{"fixed", layout.fixed}, {"variable", layout.variable}};
  if (!layout.optional.empty()) json["optional"] = layout.optional;
  if (!layout.via_index.empty()) {
    json["via_offsets"] = layout.via_offsets;
    json["via_index"] = layout.via_index;
    json["shared"] = layout.shared;
  }
  return json;
}

SampleLayout layout_from_json(const core::Json& json) {
  try {
    SampleLayout layout;
    layout.fixed = json.at("fixed").get<std::vector<std::string>>();
    layout.variable = json.at("variable").get<std::vector<std::string>>();
    if (json.contains("optional")) layout.optional = json["optional"].get<std::vector<std::string>>();
    layout.via_offsets = json.value("via_offsets", "");
    layout.via_index = json.value("via_index", "");
    if (json.contains("shared")) layout.shared = json["shared"].get<std::vector<std::string>>();
    return layout;
  } catch (const core::Json::exception& wrong) {
    core::user_error("attribute `layout` of a shard is not a sample layout ({}); make the shard again",
                     wrong.what());
  }
}

std::vector<std::uint64_t> hash_samples(const ShardContents& contents, const SampleLayout& layout) {
  const auto find = [&](const std::string& name) -> const Column& {
    const auto found = std::find_if(contents.columns.begin(), contents.columns.end(),
                                    [&](const Column& column) { return column.name == name; });
    core::check(found != contents.columns.end(), "layout names column `{}`, which is not there", name);
    return *found;
  };
  std::map<std::string, std::vector<std::int64_t>> ends;
  ColumnSource source;
  source.info = [&](const std::string& name) { return ColumnInfo{find(name).dtype, find(name).shape, 0}; };
  source.copy = [&](const std::string& name, std::int64_t begin, std::int64_t count) {
    const Column& column = find(name);
    core::check(!column.written, "column `{}` is in the file already", name);
    if (!column.pieces.empty()) return copy_pieces(column, ends[name], begin, count);
    const std::uint64_t row_bytes = source.info(name).row_bytes();
    const auto part = std::span(column.bytes)
                          .subspan(static_cast<std::uint64_t>(begin) * row_bytes,
                                   static_cast<std::uint64_t>(count) * row_bytes);
    return std::vector<std::byte>(part.begin(), part.end());
  };
  source.broken = [](const std::string& what) { core::check(false, "shard contents: {}", what); };
  source.known_hashes = [&](const std::string& name) {
    const Column& column = find(name);
    return column.written ? &column.written->row_hashes : nullptr;
  };
  return hash_all(source, layout);
}

std::vector<std::uint64_t> hash_samples(const ShardReader& shard, const SampleLayout& layout) {
  return hash_all(columns_of(shard), layout);
}

std::uint64_t hash_sample(const ShardReader& shard, const SampleLayout& layout, std::int64_t sample) {
  // Rows of the columns that have some per sample, as if it were the only one.
  std::map<std::string, std::int64_t> rows;
  for (const std::string& name : layout.fixed) rows[name] = 1;
  for (const std::string& name : layout.variable) rows[name + "_offsets"] = 2;
  for (const std::string& name : layout.optional) rows[name + "_row"] = 1;
  if (!layout.via_index.empty()) rows[layout.via_offsets] = 2;
  ColumnSource source = columns_of(shard);
  source.info = [&](const std::string& name) {
    ColumnInfo info = shard.column(name);
    if (rows.contains(name)) info.shape.at(0) = rows[name];
    return info;
  };
  source.copy = [&, whole = source.copy](const std::string& name, std::int64_t begin, std::int64_t count) {
    return whole(name, rows.contains(name) ? sample + begin : begin, count);
  };
  return hash_all(source, layout).at(0);
}

std::vector<std::int64_t> damaged_samples(const ShardReader& shard) {
  std::vector<std::int64_t> damaged;
  if (!shard.attributes().contains("layout") || !shard.has("xxh3")) return damaged;
  const auto now = hash_samples(shard, layout_from_json(shard.attributes()["layout"]));
  std::vector<std::uint64_t> recorded(static_cast<std::size_t>(shard.column("xxh3").rows()));
  shard.copy_rows("xxh3", 0, shard.column("xxh3").rows(), std::as_writable_bytes(std::span(recorded)));
  for (std::size_t i = 0; i < now.size(); ++i)
    if (i >= recorded.size() || recorded[i] != now[i]) damaged.push_back(static_cast<std::int64_t>(i));
  return damaged;
}

}  // namespace microdit::store
