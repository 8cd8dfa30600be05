// Reading shards; the HDF5 library itself is behind hdf5_file.h.
#include "store/shard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/hdf5_file.h"

namespace microdit::store {

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

ShardReader::ShardReader(const std::filesystem::path& path) : path_(path) {
  if (!core::input_bytes(path))
    core::user_error("{}: no such file; make its folder again, or copy the shard back", path.string());
  Hdf5Scan scan = scan_hdf5(path);
  columns_ = std::move(scan.columns);
  if (const auto found = scan.attributes.find(kShardAttributes); found != scan.attributes.end())
    attributes_ = core::parse_json(found->second, path.string() + ", attribute `microdit`");
  if (const auto found = scan.attributes.find(kShardColumnHashes); found != scan.attributes.end()) {
    const core::Json hashes =
        core::parse_json(found->second, path.string() + ", attribute `microdit_columns`");
    for (const auto& [name, value] : hashes.items())
      if (value.is_string()) column_hashes_[name] = value.get<std::string>();
  }
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) core::input_error(errno, "{}: cannot be opened", path.string());
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
  return found == column_hashes_.end() ? std::nullopt : core::from_hex(found->second);
}

std::uint64_t ShardReader::fingerprint() const {
  const std::string text = core::Json(column_hashes_).dump();
  return core::xxh3_64(std::as_bytes(std::span(text)));
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
    if (got < 0) core::input_error(errno, "{}: cannot be read", path_.string());
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
