// Shards on their way to disk; the HDF5 library itself is behind hdf5_file.h.
#include "store/shard_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
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
    if (column.written) {
      added.push_back(make_column(row_hash_name(column.name), core::DType::u64, column.written->row_hashes));
      continue;
    }
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
    core::check(column->written || column->num_bytes() == bytes_of(*column),
                "column `{}` holds {} bytes, its shape means {}", column->name, column->num_bytes(),
                bytes_of(*column));
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

// The same of rows that nobody holds any more.
bool reads_back(const ShardReader& reader, const std::string& column, const WrittenRows& rows) {
  const std::uint64_t row_bytes = std::max<std::uint64_t>(reader.column(column).row_bytes(), 1);
  const std::uint64_t step = std::max<std::uint64_t>(kCompareBytes / row_bytes, 1);
  std::vector<std::byte> block;
  for (std::uint64_t begin = 0; begin < rows.row_hashes.size(); begin += step) {
    const std::uint64_t count = std::min(step, rows.row_hashes.size() - begin);
    block.resize(count * row_bytes);
    reader.copy_rows(column, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(count), block);
    for (std::uint64_t row = 0; row < count; ++row)
      if (core::xxh3_64(std::span(block).subspan(row * row_bytes, row_bytes)) != rows.row_hashes[begin + row])
        return false;
  }
  return true;
}

std::uint64_t hash_of(const Column& column) {
  if (column.written) return column.written->hash;
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
    if (column->written)
      same = same && reads_back(reader, column->name, *column->written);
    else if (column->pieces.empty())
      same = same && reads_back(reader, *column, 0, column->bytes);
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

/// A large column while its rows come.
struct ShardWriter::Rows {
  Column column;
  ColumnInfo info;
  WrittenRows written;
  core::Xxh3 hash;
  int fd = -1;  ///< stands where the next row goes
  ~Rows() {
    if (fd >= 0) ::close(fd);
  }
};

ShardWriter::ShardWriter(std::filesystem::path path)
    : path_(std::move(path)), aside_(core::temporary_path(path_)) {}

ShardWriter::ShardWriter(std::filesystem::path path, std::span<const Column> large)
    : ShardWriter(std::move(path)) {  // from here on an error destroys what is begun
  if (large.empty()) return;
  std::vector<const Column*> columns;
  for (const Column& column : large) columns.push_back(&column);
  create_hdf5(aside_, columns, {});
  const Hdf5Scan scan = core::read_back([&] { return scan_hdf5(aside_); });
  for (const Column& column : large) {
    auto rows = std::make_unique<Rows>();
    rows->column = column;
    rows->info = scan.columns.at(column.name);
    rows->fd = ::open(aside_.c_str(), O_WRONLY | O_CLOEXEC);
    if (rows->fd < 0 || ::lseek(rows->fd, static_cast<off_t>(rows->info.offset), SEEK_SET) < 0)
      core::errno_error(errno, "{}: cannot be written", aside_.string());
    large_[column.name] = std::move(rows);
  }
}

ShardWriter::~ShardWriter() {
  std::error_code ignored;
  std::filesystem::remove(aside_, ignored);
}

void ShardWriter::append(const std::string& column, std::span<const std::byte> bytes) {
  Rows& rows = *large_.at(column);
  const std::uint64_t row_bytes = rows.info.row_bytes();
  core::check(row_bytes > 0 && bytes.size() % row_bytes == 0 &&
                  rows.written.row_hashes.size() + bytes.size() / row_bytes <=
                      static_cast<std::uint64_t>(rows.info.rows()),
              "{} bytes after {} of {} rows of `{}`", bytes.size(), rows.written.row_hashes.size(),
              rows.info.rows(), column);
  if (!core::write_all(rows.fd, bytes)) core::errno_error(errno, "{}: cannot be written", aside_.string());
  rows.hash.update(bytes);
  for (std::uint64_t begin = 0; begin < bytes.size(); begin += row_bytes)
    rows.written.row_hashes.push_back(core::xxh3_64(bytes.subspan(begin, row_bytes)));
}

Column ShardWriter::written(const std::string& column) const {
  const Rows& rows = *large_.at(column);
  core::check(std::ssize(rows.written.row_hashes) == rows.info.rows(), "{} of {} rows of `{}` have come",
              rows.written.row_hashes.size(), rows.info.rows(), column);
  Column out = rows.column;
  out.written = rows.written;
  out.written->hash = rows.hash.digest();
  return out;
}

std::string ShardWriter::finish(const ShardContents& contents) {
  std::vector<Column> added = row_hash_columns(contents);
  if (!contents.sample_hashes.empty())
    added.push_back(make_column("xxh3", core::DType::u64, contents.sample_hashes));
  std::vector<const Column*> columns, held;
  for (const Column& column : contents.columns) columns.push_back(&column);
  for (const Column& column : added) columns.push_back(&column);
  check_columns(columns);
  core::Json hashes = core::Json::object();
  for (const Column* column : columns) {
    hashes[column->name] = core::hex(hash_of(*column));
    core::check(column->written.has_value() == large_.contains(column->name), "column `{}` is written {}",
                column->name, column->written ? "elsewhere" : "already");
    if (!column->written) held.push_back(column);
  }
  core::check(columns.size() == held.size() + large_.size(), "{}: a large column is not among the contents",
              path_.string());
  const std::map<std::string, std::string> attributes = {{kShardAttributes, contents.attributes.dump()},
                                                         {kShardColumnHashes, hashes.dump()}};
  if (large_.empty())
    create_hdf5(aside_, held, attributes);
  else
    extend_hdf5(aside_, held, attributes);
  std::string sha256 = core::read_back([&] {
    compare(aside_, columns, contents);
    return core::sha256_file(aside_);
  });
  core::publish(aside_, path_);
  return sha256;
}

std::string write_shard(const std::filesystem::path& path, const ShardContents& contents) {
  return ShardWriter(path).finish(contents);
}

}  // namespace microdit::store
