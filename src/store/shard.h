// HDF5 shards: named contiguous columns, an xxh3 per sample. shard_writer.h makes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"

namespace microdit::store {

/// What a ShardWriter knows of rows that it has written: xxh3-64 of each, and of all.
struct WrittenRows {
  std::vector<std::uint64_t> row_hashes;
  std::uint64_t hash = 0;
};

/// One HDF5 dataset: shape[0] rows, contiguous, no filter.
struct Column {
  std::string name;
  core::DType dtype = core::DType::u8;
  std::vector<std::int64_t> shape;  ///< shape[0] = rows
  std::vector<std::byte> bytes;     ///< packed, row-major
  /// Instead of `bytes`, for u8 columns of one axis: where they lie, in order. Large rows are then held once.
  std::vector<std::span<const std::byte>> pieces{};
  std::optional<WrittenRows> written{};  ///< instead of `bytes`: the rows are in the file already
  std::uint64_t num_bytes() const;
};

struct ColumnInfo {
  core::DType dtype = core::DType::u8;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  ///< of the data in the file; contiguous, so rows can be read with pread
  std::int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  std::uint64_t row_bytes() const;
};

/// A shard to be written. `sample_hashes` (one per sample) becomes the u64 column "xxh3".
struct ShardContents {
  std::vector<Column> columns;
  std::vector<std::uint64_t> sample_hashes;
  core::Json attributes = core::Json::object();  ///< stored as the root attribute "microdit" (JSON text)
};

/// Beside `contents` the file carries, for whoever reads it:
///   "xxh3" u64 [samples]; "<column>_xxh3" u64 [rows], the xxh3-64 of each row, for the columns that
///   attributes["layout"] lists as fixed, optional or shared and whose rows have 64 bytes or more; and the root
///   attribute "microdit_columns", {column: xxh3-64 of all its bytes}.
std::string row_hash_name(const std::string& column);

/// An open shard. Opened with file locking off; a foreign or damaged file is a UserError that names it, one that could not
/// be read (EIO) an InputFault.
/// A column that is read whole is checked against its checksum (UserError); single rows are not.
class ShardReader {
 public:
  explicit ShardReader(const std::filesystem::path& path);
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;
  ShardReader(const ShardReader&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, ColumnInfo>& columns() const { return columns_; }
  const core::Json& attributes() const { return attributes_; }
  bool has(const std::string& column) const { return columns_.contains(column); }
  /// UserError when the column is missing.
  const ColumnInfo& column(const std::string& name) const;
  /// Rows [begin, begin + count) as bytes; count < 0 means to the end.
  std::vector<std::byte> read(const std::string& name, std::int64_t begin = 0, std::int64_t count = -1) const;
  /// The same, as values of T (checked against the column's element size).
  template <class T>
  std::vector<T> read_as(const std::string& name, std::int64_t begin = 0, std::int64_t count = -1) const;
  /// Rows as they lie in the file, checked against nothing; out is exactly count rows long.
  void copy_rows(const std::string& name, std::int64_t begin, std::int64_t count,
                 std::span<std::byte> out) const;
  /// Is `hash` (xxh3-64 of the whole column) what was recorded when the shard was made?
  bool matches(const std::string& name, std::uint64_t hash) const;
  /// That hash; nothing when the file has none of the column.
  std::optional<std::uint64_t> recorded_hash(const std::string& name) const;
  /// xxh3-64 of all recorded hashes and their columns' names: whoever knows it of a shard can tell it from any other without
  /// reading it, and each column that it then reads whole.
  std::uint64_t fingerprint() const;

 private:
  void check_rows(const std::string& name, std::int64_t begin, std::int64_t count, std::size_t element) const;
  void read_into(const std::string& name, std::int64_t begin, std::int64_t count,
                 std::span<std::byte> out) const;
  std::filesystem::path path_;
  int fd_ = -1;
  std::map<std::string, ColumnInfo> columns_;
  std::map<std::string, std::string> column_hashes_;
  core::Json attributes_ = core::Json::object();
};

template <class T>
std::vector<T> ShardReader::read_as(const std::string& name, std::int64_t begin, std::int64_t count) const {
  const ColumnInfo& info = column(name);
  if (count < 0) count = info.rows() - begin;
  check_rows(name, begin, count, sizeof(T));
  std::vector<T> out(static_cast<std::size_t>(count) * info.row_bytes() / sizeof(T));
  read_into(name, begin, count, std::as_writable_bytes(std::span(out)));
  return out;
}

/// Values as a column of one dimension.
template <class Values>
Column make_column(std::string name, core::DType dtype, const Values& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {std::move(name), dtype, {std::ssize(values)}, {bytes.begin(), bytes.end()}};
}

/// Variable-length rows as two columns: "<name>_offsets" i64 [n+1] and "<name>" u8 [total].
void add_strings(ShardContents& contents, const std::string& name, std::span<const std::string> rows);
/// The same without a copy: the rows must outlive `contents`.
void add_byte_rows(ShardContents& contents, const std::string& name,
                   std::vector<std::span<const std::byte>> rows);
std::vector<std::string> read_strings(const ShardReader& shard, const std::string& name);

}  // namespace microdit::store
