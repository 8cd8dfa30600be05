// Bytes of a shard -> offsets, samples, values.
#include "stream/mds_shard.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"
#include "core/hash.h"
#include "core/named_hash.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kBlock = 1u << 20;

[[noreturn]] void wrong(const std::string& where, const std::string& what) {
  core::user_error("{}: {}", where, what);
}

[[noreturn]] void damaged(const std::string& file, const std::string& what) {
  core::user_error("{}: {}; the file is damaged or of another folder: copy it here again", file, what);
}

std::uint32_t u32_at(std::span<const std::byte> bytes, std::size_t index) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + index * 4, 4);
  return value;
}

void check_columns(const OpenFile& file, std::uint64_t begin, std::uint64_t end, const MdsColumns& columns) {
  const std::string where = fmt::format("{}: its header", file.name());
  if (end - begin > MdsLimits::kHeaderBytes)
    damaged(file.name(),
            fmt::format("its header has {} bytes, {} are the most", end - begin, MdsLimits::kHeaderBytes));
  std::string text(end - begin, '\0');
  file.read(begin, std::as_writable_bytes(std::span(text)));
  if (mds_columns(text, where) != columns)
    damaged(file.name(), "its header states other columns than index.json");
}

// ndarray[:dtype[:shape]] -> what the encoding's name says.
struct ArrayKind {
  std::string dtype;
  std::vector<std::int64_t> shape;
};

ArrayKind array_kind(const std::string& encoding, const std::string& where) {
  ArrayKind kind;
  const std::size_t first = encoding.find(':');
  if (first == encoding.npos) return kind;
  const std::size_t second = encoding.find(':', first + 1);
  kind.dtype = encoding.substr(first + 1, second == encoding.npos ? second : second - first - 1);
  if (second == encoding.npos) return kind;
  std::int64_t extent = 0;
  for (const char c : encoding.substr(second + 1) + ",") {
    if (c == ',' && extent > 0) {
      kind.shape.push_back(extent);
      extent = 0;
    } else if (c >= '0' && c <= '9' && extent < (1 << 24) && kind.shape.size() < 8) {
      extent = extent * 10 + (c - '0');
    } else {
      wrong(where, fmt::format("encoding `{}` states no shape", encoding));
    }
  }
  return kind;
}

std::string dtype_of_code(std::byte code, const std::string& where) {
  constexpr std::array<std::pair<int, const char*>, 11> kCodes = {{{8, "uint8"},
                                                                   {9, "int8"},
                                                                   {16, "uint16"},
                                                                   {17, "int16"},
                                                                   {18, "float16"},
                                                                   {32, "uint32"},
                                                                   {33, "int32"},
                                                                   {34, "float32"},
                                                                   {64, "uint64"},
                                                                   {65, "int64"},
                                                                   {66, "float64"}}};
  for (const auto& [known, name] : kCodes)
    if (known == std::to_integer<int>(code)) return name;
  wrong(where, fmt::format("its array has the unknown type {}", std::to_integer<int>(code)));
}

}  // namespace

std::vector<std::uint32_t> read_mds_offsets(const OpenFile& file, const MdsShard& shard,
                                            const MdsColumns& columns) {
  if (const std::uint64_t bytes = std::filesystem::file_size(file.name()); bytes != shard.raw.bytes)
    damaged(file.name(), fmt::format("has {} bytes, index.json says {}", bytes, shard.raw.bytes));
  const std::size_t count = static_cast<std::size_t>(shard.samples);
  const std::uint64_t table_bytes = 4 * (static_cast<std::uint64_t>(count) + 2);
  if (table_bytes > shard.raw.bytes)
    damaged(file.name(), fmt::format("{} samples do not fit its {} bytes", count, shard.raw.bytes));
  std::vector<std::uint32_t> table(count + 2);
  file.read(0, std::as_writable_bytes(std::span(table)));
  if (table[0] != count)
    damaged(file.name(), fmt::format("holds {} samples, index.json says {}", table[0], count));
  table.erase(table.begin());
  if (table.front() < table_bytes) damaged(file.name(), "its first sample begins inside its table");
  if (table.back() != shard.raw.bytes) damaged(file.name(), "its last sample does not end with the file");
  std::uint64_t least = 0;
  for (const MdsColumn& column : columns) least += column.size.value_or(4);
  for (std::size_t i = 0; i < count; ++i) {
    if (table[i + 1] < table[i] || table[i + 1] - table[i] < least)
      damaged(file.name(), fmt::format("sample {} has fewer than {} bytes", i, least));
    if (table[i + 1] - table[i] > MdsLimits::kSampleBytes)
      damaged(file.name(), fmt::format("sample {} has more than {} bytes", i, MdsLimits::kSampleBytes));
  }
  check_columns(file, table_bytes, table.front(), columns);
  return table;
}

std::vector<std::uint64_t> check_mds_shard(const OpenFile& file, const MdsFile& stated,
                                           std::span<const std::uint32_t> offsets) {
  std::vector<core::NamedHash> sums;
  for (const auto& [algorithm, hex] : stated.hashes) sums.emplace_back(algorithm);
  std::vector<std::byte> block(std::min<std::uint64_t>(kBlock, stated.bytes));
  std::vector<std::uint64_t> rows;
  std::optional<core::Xxh3> row;
  const std::uint64_t end = offsets.back();
  for (std::uint64_t at = 0; at < end;) {
    // A block ends where a sample does, so that no block belongs to two.
    const std::uint64_t border = at < offsets.front() ? offsets.front() : offsets[rows.size() + 1];
    const std::span<std::byte> part =
        std::span(block).first(std::min<std::uint64_t>(block.size(), border - at));
    file.read(at, part);
    for (core::NamedHash& sum : sums) sum.update(part);
    if (at >= offsets.front()) {
      if (!row) row.emplace();
      row->update(part);
    }
    at += part.size();
    if (row && at == border) {
      rows.push_back(row->digest());
      row.reset();
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (const std::string found = sums[i].hex_digest(); found != stated.hashes[i].second)
      damaged(file.name(), fmt::format("its {} is {}, index.json says {}", stated.hashes[i].first, found,
                                       stated.hashes[i].second));
  return rows;
}

std::vector<std::span<const std::byte>> split_mds_sample(std::span<const std::byte> sample,
                                                         const MdsColumns& columns,
                                                         const std::string& where) {
  std::size_t num_stated = 0;
  for (const MdsColumn& column : columns) num_stated += !column.size;
  std::vector<std::span<const std::byte>> values;
  values.reserve(columns.size());
  std::size_t at = num_stated * 4, stated = 0;
  if (at > sample.size()) wrong(where, "it ends inside its table of sizes");
  for (const MdsColumn& column : columns) {
    const std::size_t size = column.size ? *column.size : u32_at(sample, stated++);
    if (size > sample.size() - at)
      wrong(where,
            fmt::format("column `{}` of {} bytes leaves the sample of {}", column.name, size, sample.size()));
    values.push_back(sample.subspan(at, size));
    at += size;
  }
  if (at != sample.size())
    wrong(where, fmt::format("its columns have {} bytes, it has {}", at, sample.size()));
  return values;
}

MdsNumbers mds_numbers(std::span<const std::byte> value, const MdsColumn& column, const std::string& where) {
  const std::string here = fmt::format("{}: column `{}`", where, column.name);
  if (column.encoding == "bytes") return {"", {}, value};
  if (column.encoding != "ndarray" && !column.encoding.starts_with("ndarray:"))
    wrong(here,
          fmt::format("is encoded as `{}`; numbers are read from `bytes` and `ndarray`", column.encoding));
  ArrayKind kind = array_kind(column.encoding, here);
  const auto take = [&](std::size_t count) {
    if (count > value.size()) wrong(here, "ends inside its header");
    const auto taken = value.first(count);
    value = value.subspan(count);
    return taken;
  };
  if (kind.dtype.empty()) kind.dtype = dtype_of_code(take(1)[0], here);
  if (kind.shape.empty()) {
    const int byte = std::to_integer<int>(take(1)[0]);
    const std::size_t width = std::size_t{1} << (byte % 4);
    for (int axis = 0; axis < byte / 4; ++axis) {
      std::uint64_t extent = 0;
      std::memcpy(&extent, take(width).data(), width);
      if (extent == 0 || extent > MdsLimits::kSampleBytes)
        wrong(here, fmt::format("has an axis of {}", extent));
      kind.shape.push_back(static_cast<std::int64_t>(extent));
    }
  }
  return {kind.dtype, kind.shape, value};
}

}  // namespace microdit::stream
