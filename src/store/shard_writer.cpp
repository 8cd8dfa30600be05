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

constexpr std::uint64_t kBlockBytes = 8 << 20;  // between two looks at a stop
constexpr std::uint64_t kMinHashedRow = 64;     // bytes; shorter rows are read whole and so checked by column

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

std::uint64_t hash_of(const Column& column) {
  if (column.written) return column.written->hash;
  if (column.pieces.empty()) return core::xxh3_64(column.bytes);
  core::Xxh3 hash;
  for (const std::span<const std::byte> piece : column.pieces) hash.update(piece);
  return hash.digest();
}

// A file from its first byte to its last, read once; its SHA-256 comes of it.
class FilePass {
 public:
  FilePass(const std::filesystem::path& path, const core::StopFlag& stop)
      : path_(path), stop_(stop), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) core::input_error(errno, "{}: cannot be opened", path.string());
  }
  ~FilePass() { ::close(fd_); }
  FilePass(const FilePass&) = delete;

  std::uint64_t at() const { return at_; }
  // The next bytes, `most` or fewer; none at the end of the file. They stay until the next call.
  std::span<const std::byte> next(std::uint64_t most) {
    if (left_.empty()) fill();
    const auto taken = left_.first(std::min<std::uint64_t>(most, left_.size()));
    left_ = left_.subspan(taken.size());
    at_ += taken.size();
    return taken;
  }
  void skip_to(std::uint64_t offset) {
    while (at_ < offset && !next(offset - at_).empty()) continue;
  }
  std::string sha256() {
    while (!next(kBlockBytes).empty()) continue;
    return hash_.hex_digest();
  }

 private:
  void fill() {
    if (stop_.requested()) throw core::Stopped();
    ssize_t got = 0;
    while ((got = ::read(fd_, block_.data(), block_.size())) < 0)
      if (errno != EINTR) core::input_error(errno, "{}: cannot be read", path_.string());
    left_ = std::span<const std::byte>(block_).first(static_cast<std::size_t>(got));
    hash_.update(left_);
  }

  const std::filesystem::path& path_;
  const core::StopFlag& stop_;
  int fd_;
  std::uint64_t at_ = 0;
  std::vector<std::byte> block_ = std::vector<std::byte>(kBlockBytes);
  std::span<const std::byte> left_;
  core::Sha256 hash_;
};

bool comes_next(FilePass& pass, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto got = pass.next(bytes.size());
    if (got.empty() || std::memcmp(got.data(), bytes.data(), got.size()) != 0) return false;
    bytes = bytes.subspan(got.size());
  }
  return true;
}

// The same of rows that nobody holds any more.
bool comes_next(FilePass& pass, const WrittenRows& rows, std::uint64_t row_bytes) {
  for (const std::uint64_t expected : rows.row_hashes) {
    core::Xxh3 row;
    for (std::uint64_t left = row_bytes; left > 0;) {
      const auto got = pass.next(left);
      if (got.empty()) return false;
      row.update(got);
      left -= got.size();
    }
    if (row.digest() != expected) return false;
  }
  return true;
}

bool comes_next(FilePass& pass, const Column& column) {
  if (column.written)
    return comes_next(pass, *column.written, ColumnInfo{column.dtype, column.shape, 0}.row_bytes());
  return comes_next(pass, column.bytes) &&
         std::ranges::all_of(column.pieces, [&](const auto& piece) { return comes_next(pass, piece); });
}

// What was written is what was meant, every byte of every column: the SHA-256 of the file.
std::string compare(const std::filesystem::path& path, const std::vector<const Column*>& columns,
                    const core::StopFlag& stop) {
  const ShardReader reader(path);
  std::vector<std::pair<std::uint64_t, const Column*>> by_offset;
  const auto differs = [&](const Column& column) {
    core::system_error("{}: column `{}` reads back differently", path.string(), column.name);
  };
  for (const Column* column : columns) {
    const ColumnInfo& info = reader.column(column->name);
    if (info.dtype != column->dtype || info.shape != column->shape) differs(*column);
    if (bytes_of(*column) > 0) by_offset.emplace_back(info.offset, column);
  }
  std::ranges::sort(by_offset);
  FilePass pass(path, stop);
  for (const auto& [offset, column] : by_offset) {
    pass.skip_to(offset);
    if (pass.at() != offset || !comes_next(pass, *column)) differs(*column);
  }
  return pass.sha256();
}

// The sample hashes are of what was compared.
void check_sample_hashes(const std::filesystem::path& path, const ShardContents& contents) {
  if (!contents.sample_hashes.empty() && contents.attributes.contains("layout") &&
      hash_samples(contents, layout_from_json(contents.attributes["layout"])) != contents.sample_hashes)
    core::system_error("{}: its samples have other checksums now than they were given", path.string());
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

std::optional<std::string> ShardWriter::finish(const ShardContents& contents, const core::StopFlag& stop) {
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
  check_sample_hashes(path_, contents);
  if (stop.requested()) return std::nullopt;
  if (large_.empty())
    create_hdf5(aside_, held, attributes);
  else
    extend_hdf5(aside_, held, attributes);
  try {
    std::string sha256 = core::read_back([&] { return compare(aside_, columns, stop); });
    core::publish(aside_, path_);
    return sha256;
  } catch (const core::Stopped&) {
    return std::nullopt;
  }
}

std::string ShardWriter::finish(const ShardContents& contents) {
  return *finish(contents, core::StopFlag());
}

std::string write_shard(const std::filesystem::path& path, const ShardContents& contents) {
  return ShardWriter(path).finish(contents);
}

}  // namespace microdit::store
