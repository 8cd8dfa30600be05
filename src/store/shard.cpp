// Building and reading shards; the HDF5 library itself is behind hdf5_file.h.
#include "store/shard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <set>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/hdf5_file.h"
#include "store/sample_hash.h"

namespace microdit::store {
namespace {

constexpr const char* kAttributes = "microdit";            // the stage's own JSON
constexpr const char* kColumnHashes = "microdit_columns";  // {column: xxh3-64 of all its bytes, hex}
constexpr std::uint64_t kCompareBytes = 8 << 20;
constexpr std::uint64_t kMinHashedRow = 64;  // bytes; shorter rows are read whole and so checked by column

std::uint64_t bytes_of(const Column& column) {
  std::uint64_t bytes = core::size_of(column.dtype);
  for (const std::int64_t extent : column.shape) bytes *= static_cast<std::uint64_t>(extent);
  return bytes;
}

// Columns whose single rows are read by themselves get a hash per row beside them.
std::vector<Column> row_hash_columns(const ShardContents& contents) {
  std::vector<Column> added;
  if (!contents.attributes.contains("layout")) return added;
  const SampleLayout layout = layout_from_json(contents.attributes["layout"]);
  for (const Column& column : contents.columns) {
    const auto listed = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), column.name) != names.end();
    };
    const std::uint64_t rows = static_cast<std::uint64_t>(column.shape[0]);
    const std::uint64_t row_bytes = ColumnInfo{column.dtype, column.shape, 0}.row_bytes();
    if (row_bytes < kMinHashedRow ||
        !(listed(layout.fixed) || listed(layout.optional) || listed(layout.shared)))
      continue;
    std::vector<std::uint64_t> hashes(rows);
    for (std::uint64_t row = 0; row < rows; ++row)
      hashes[row] = core::xxh3_64(std::span(column.bytes).subspan(row * row_bytes, row_bytes));
    added.push_back(make_column(row_hash_name(column.name), core::DType::u64, hashes));
  }
  return added;
}

void check_columns(const std::vector<const Column*>& columns) {
  std::set<std::string> names;
  for (const Column* column : columns) {
    core::check(!column->name.empty() && column->name.find('/') == std::string::npos, "column name `{}`",
                column->name);
    core::check(names.insert(column->name).second, "column `{}` is given twice", column->name);
    core::check(!column->shape.empty(), "column `{}` has no rows axis", column->name);
    core::check(column->num_bytes() == bytes_of(*column), "column `{}` holds {} bytes, its shape means {}",
                column->name, column->num_bytes(), bytes_of(*column));
    core::check(column->pieces.empty() ||
                    (column->bytes.empty() && column->shape.size() == 1 && column->dtype == core::DType::u8),
                "column `{}` cannot come in pieces", column->name);
  }
}

// Rows from `begin` on hold just these bytes.
bool reads_back(const ShardReader& reader, const Column& column, std::int64_t begin,
                std::span<const std::byte> bytes) {
  const std::uint64_t row_bytes = std::max<std::uint64_t>(reader.column(column.name).row_bytes(), 1);
  const std::uint64_t step = std::max<std::uint64_t>(kCompareBytes / row_bytes, 1);
  std::vector<std::byte> block;
  while (!bytes.empty()) {
    const std::uint64_t rows = std::min(step, bytes.size() / row_bytes);
    block.resize(rows * row_bytes);
    reader.copy_rows(column.name, begin, static_cast<std::int64_t>(rows), block);
    if (std::memcmp(block.data(), bytes.data(), block.size()) != 0) return false;
    bytes = bytes.subspan(block.size());
    begin += static_cast<std::int64_t>(rows);
  }
  return true;
}

std::uint64_t hash_of(const Column& column) {
  if (column.pieces.empty()) return core::xxh3_64(column.bytes);
  core::Xxh3 hash;
  for (const std::span<const std::byte> piece : column.pieces) hash.update(piece);
  return hash.digest();
}

// What was written is what was meant: every byte of every column, and the sample hashes from the file itself.
void compare(const std::filesystem::path& path, const std::vector<const Column*>& columns,
             const ShardContents& contents) {
  const ShardReader reader(path);
  for (const Column* column : columns) {
    const ColumnInfo& info = reader.column(column->name);
    bool same = info.dtype == column->dtype && info.shape == column->shape;
    if (column->pieces.empty()) same = same && reads_back(reader, *column, 0, column->bytes);
    std::int64_t begin = 0;
    for (const std::span<const std::byte> piece : column->pieces) {
      same = same && reads_back(reader, *column, begin, piece);
      begin += static_cast<std::int64_t>(piece.size());
    }
    if (!same) core::system_error("{}: column `{}` reads back differently", path.string(), column->name);
  }
  if (!contents.sample_hashes.empty() && contents.attributes.contains("layout") &&
      hash_samples(reader, layout_from_json(contents.attributes["layout"])) != contents.sample_hashes)
    core::system_error("{}: its samples read back with other checksums than they had in memory",
                       path.string());
}

}  // namespace

std::uint64_t Column::num_bytes() const {
  std::uint64_t total = bytes.size();
  for (const std::span<const std::byte> piece : pieces) total += piece.size();
  return total;
}

std::uint64_t ColumnInfo::row_bytes() const {
  std::uint64_t bytes = core::size_of(dtype);
  for (std::size_t axis = 1; axis < shape.size(); ++axis) bytes *= static_cast<std::uint64_t>(shape[axis]);
  return bytes;
}

std::string row_hash_name(const std::string& column) {
  return column + "_xxh3";
}

std::string write_shard(const std::filesystem::path& path, const ShardContents& contents) {
  std::vector<Column> added = row_hash_columns(contents);
  if (!contents.sample_hashes.empty())
    added.push_back(make_column("xxh3", core::DType::u64, contents.sample_hashes));
  std::vector<const Column*> columns;
  for (const Column& column : contents.columns) columns.push_back(&column);
  for (const Column& column : added) columns.push_back(&column);
  check_columns(columns);
  core::Json hashes = core::Json::object();
  for (const Column* column : columns) hashes[column->name] = core::hex(hash_of(*column));

  const std::filesystem::path aside = core::temporary_path(path);
  try {
    write_hdf5(aside, columns, {{kAttributes, contents.attributes.dump()}, {kColumnHashes, hashes.dump()}});
    compare(aside, columns, contents);
    std::string sha256 = core::sha256_file(aside);
    core::publish(aside, path);
    return sha256;
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(aside, ignored);
    throw;
  }
}

ShardReader::ShardReader(const std::filesystem::path& path) : path_(path) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed))
    core::user_error("{}: no such file; make its folder again, or copy the shard back", path.string());
  Hdf5Scan scan = scan_hdf5(path);
  columns_ = std::move(scan.columns);
  if (const auto found = scan.attributes.find(kAttributes); found != scan.attributes.end())
    attributes_ = core::parse_json(found->second, path.string() + ", attribute `microdit`");
  if (const auto found = scan.attributes.find(kColumnHashes); found != scan.attributes.end()) {
    const core::Json hashes =
        core::parse_json(found->second, path.string() + ", attribute `microdit_columns`");
    for (const auto& [name, value] : hashes.items())
      if (value.is_string()) column_hashes_[name] = value.get<std::string>();
  }
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) core::errno_error(errno, "{}: cannot be opened", path.string());
}

ShardReader::~ShardReader() {
  if (fd_ >= 0) ::close(fd_);
}

ShardReader::ShardReader(ShardReader&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      columns_(std::move(other.columns_)),
      column_hashes_(std::move(other.column_hashes_)),
      attributes_(std::move(other.attributes_)) {}

const ColumnInfo& ShardReader::column(const std::string& name) const {
  const auto found = columns_.find(name);
  if (found == columns_.end()) {
    std::string names;
    for (const auto& [present, info] : columns_) names += (names.empty() ? "" : ", ") + present;
    core::user_error("{}: no column `{}` (it has {})", path_.string(), name, names);
  }
  return found->second;
}

std::vector<std::byte> ShardReader::read(const std::string& name, std::int64_t begin,
                                         std::int64_t count) const {
  return read_as<std::byte>(name, begin, count);
}

void ShardReader::check_rows(const std::string& name, std::int64_t begin, std::int64_t count,
                             std::size_t element) const {
  const ColumnInfo& info = column(name);
  core::check(begin >= 0 && count >= 0 && begin <= info.rows() - count,
              "{}: rows {}+{} of `{}`, which has {}", path_.string(), begin, count, name, info.rows());
  if (element != 1 && element != core::size_of(info.dtype))
    core::user_error("{}: column `{}` holds {} elements, {} bytes each were expected", path_.string(), name,
                     core::name_of(info.dtype), element);
}

void ShardReader::read_into(const std::string& name, std::int64_t begin, std::int64_t count,
                            std::span<std::byte> out) const {
  copy_rows(name, begin, count, out);
  if (count == column(name).rows() && !matches(name, core::xxh3_64(out)))
    core::user_error(
        "{}: column `{}` does not match its checksum; run `doctor verify {}` and make the shard again",
        path_.string(), name, path_.parent_path().string());
}

bool ShardReader::matches(const std::string& name, std::uint64_t hash) const {
  const auto found = column_hashes_.find(name);
  return found == column_hashes_.end() || found->second == core::hex(hash);
}

std::optional<std::uint64_t> ShardReader::recorded_hash(const std::string& name) const {
  const auto found = column_hashes_.find(name);
  std::uint64_t hash = 0;
  if (found == column_hashes_.end()) return std::nullopt;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hash, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return hash;
}

void ShardReader::copy_rows(const std::string& name, std::int64_t begin, std::int64_t count,
                            std::span<std::byte> out) const {
  const ColumnInfo& info = column(name);
  check_rows(name, begin, count, 1);
  core::check(out.size() == static_cast<std::uint64_t>(count) * info.row_bytes(),
              "{}: {} bytes for {} rows of `{}`", path_.string(), out.size(), count, name);
  std::uint64_t offset = info.offset + static_cast<std::uint64_t>(begin) * info.row_bytes();
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) core::errno_error(errno, "{}: cannot be read", path_.string());
    if (got == 0) core::user_error("{}: ends inside column `{}`; make the shard again", path_.string(), name);
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

void add_strings(ShardContents& contents, const std::string& name, std::span<const std::string> rows) {
  std::vector<std::int64_t> offsets = {0};
  Column text{name, core::DType::u8, {}, {}};
  for (const std::string& row : rows) {
    const auto bytes = std::as_bytes(std::span(row));
    text.bytes.insert(text.bytes.end(), bytes.begin(), bytes.end());
    offsets.push_back(static_cast<std::int64_t>(text.bytes.size()));
  }
  text.shape = {offsets.back()};
  contents.columns.push_back(make_column(name + "_offsets", core::DType::i64, offsets));
  contents.columns.push_back(std::move(text));
}

void add_byte_rows(ShardContents& contents, const std::string& name,
                   std::vector<std::span<const std::byte>> rows) {
  std::vector<std::int64_t> offsets = {0};
  for (const auto row : rows) offsets.push_back(offsets.back() + static_cast<std::int64_t>(row.size()));
  contents.columns.push_back(make_column(name + "_offsets", core::DType::i64, offsets));
  contents.columns.push_back({name, core::DType::u8, {offsets.back()}, {}, std::move(rows)});
}

std::vector<std::string> read_strings(const ShardReader& shard, const std::string& name) {
  const auto offsets = shard.read_as<std::int64_t>(name + "_offsets");
  const auto bytes = shard.read(name);
  std::vector<std::string> rows;
  for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
    if (offsets[row] < 0 || offsets[row + 1] < offsets[row] ||
        offsets[row + 1] > static_cast<std::int64_t>(bytes.size()))
      core::user_error("{}: row {} of `{}` runs outside its column; make the shard again",
                       shard.path().string(), row, name);
    rows.emplace_back(reinterpret_cast<const char*>(bytes.data()) + offsets[row],
                      static_cast<std::size_t>(offsets[row + 1] - offsets[row]));
  }
  return rows;
}

}  // namespace microdit::store
