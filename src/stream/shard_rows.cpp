// Columns to rows, with every offset checked: the index vouches for bytes, not for sense.
#include "stream/shard_rows.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <span>
#include <string>

#include "core/error.h"
#include "core/hash.h"

namespace microdit::stream {
namespace {

using store::LatentFile;
// Reading on over so many bytes costs less than a second call to a disk across the network.
constexpr std::uint64_t kGap = 512 << 10;

/// Some columns of one of a shard's files, read with as few calls as their places allow.
class Columns {
 public:
  Columns(const store::LatentIndex& index, const store::IndexedShard& shard, LatentFile file,
          const OpenFile& from)
      : index_(index), shard_(shard), file_(file), from_(from) {}

  bool has(const std::string& name) const { return index_.column(file_, name) >= 0; }
  void want(const std::string& name) {
    const int column = index_.column(file_, name);
    if (column < 0) broken(fmt::format("the index has no column `{}`", name));
    wanted_[name] = static_cast<std::size_t>(column);
  }

  /// Has rows that are too short for a hash each.
  bool is_small(const std::string& name) const {
    const int column = index_.column(file_, name);
    return column >= 0 && index_.columns[static_cast<std::size_t>(column)].has_hash;
  }

  void read() {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;  // begin, end
    for (const auto& [name, column] : wanted_)
      spans.emplace_back(offset(column), offset(column) + bytes(column));
    std::sort(spans.begin(), spans.end());
    for (std::size_t begin = 0; begin < spans.size();) {
      std::uint64_t end = spans[begin].second;
      std::size_t next = begin + 1;
      for (; next < spans.size() && spans[next].first <= end + kGap; ++next)
        end = std::max(end, spans[next].second);
      std::vector<std::byte> block(end - spans[begin].first);
      from_.read(spans[begin].first, block);
      blocks_.emplace_back(spans[begin].first, std::move(block));
      begin = next;
    }
    for (const auto& [name, column] : wanted_)
      if (index_.columns[column].has_hash && core::xxh3_64(bytes_of(column)) != shard_.places[column].hash)
        broken(fmt::format("column `{}` does not match its checksum", name));
  }

  /// All values; `rows`: how many there must be (-1 = any number).
  template <class T>
  std::vector<T> values(const std::string& name, std::int64_t rows = -1) const {
    const std::size_t column = wanted_.at(name);
    const std::int64_t there = shard_.places[column].rows;
    if (index_.columns[column].row_bytes() != sizeof(T) || (rows >= 0 && there != rows))
      broken(fmt::format("column `{}` has {} rows of {} bytes, {} of {} are expected", name, there,
                         index_.columns[column].row_bytes(), rows, sizeof(T)));
    std::vector<T> out(static_cast<std::size_t>(there));
    if (!out.empty()) std::memcpy(out.data(), bytes_of(column).data(), out.size() * sizeof(T));
    return out;
  }
  std::vector<std::byte> bytes(const std::string& name) const {
    const auto span = bytes_of(wanted_.at(name));
    return {span.begin(), span.end()};
  }

  [[noreturn]] void broken(const std::string& what) const {
    core::user_error("{}: {}; run `doctor verify {}` and make the shard again", from_.name(), what,
                     std::filesystem::path(from_.name()).parent_path().string());
  }

 private:
  std::uint64_t offset(std::size_t column) const { return shard_.places[column].offset; }
  std::uint64_t bytes(std::size_t column) const {
    return static_cast<std::uint64_t>(shard_.places[column].rows) * index_.columns[column].row_bytes();
  }
  std::span<const std::byte> bytes_of(std::size_t column) const {
    for (const auto& [begin, block] : blocks_)
      if (offset(column) >= begin && offset(column) + bytes(column) <= begin + block.size())
        return std::span(block).subspan(offset(column) - begin, bytes(column));
    return {};
  }

  const store::LatentIndex& index_;
  const store::IndexedShard& shard_;
  const LatentFile file_;
  const OpenFile& from_;
  std::map<std::string, std::size_t> wanted_;
  std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> blocks_;
};

std::int64_t rows_of(const store::LatentIndex& index, const store::IndexedShard& shard, LatentFile file,
                     const std::string& column) {
  const int place = index.column(file, column);
  return place < 0 ? 0 : shard.places[static_cast<std::size_t>(place)].rows;
}

void read_images(const store::LatentIndex& index, const store::IndexedShard& shard, const RowFilter& filter,
                 const OpenFile& from, ShardRows& out) {
  const std::string latents = fmt::format("latents_{}", index.sizes[filter.size]);
  const bool by_side = filter.bound > 0;
  Columns columns(index, shard, LatentFile::images, from);
  columns.want(latents + "_row");
  columns.want("split");
  const bool with_classes = columns.has("class");
  if (with_classes) columns.want("class");
  if (by_side)
    for (const char* side : {"width", "height"}) columns.want(side);
  if (filter.verify) columns.want(latents + "_xxh3");
  columns.read();

  const auto places = columns.values<std::int32_t>(latents + "_row", shard.rows);
  const auto split = columns.values<std::uint8_t>("split", shard.rows);
  std::vector<std::int32_t> classes;
  if (with_classes) classes = columns.values<std::int32_t>("class", shard.rows);
  std::vector<std::int32_t> width, height;
  if (by_side) {
    width = columns.values<std::int32_t>("width", shard.rows);
    height = columns.values<std::int32_t>("height", shard.rows);
  }
  const std::int64_t there = rows_of(index, shard, LatentFile::images, latents);
  for (std::size_t row = 0; row < places.size(); ++row) {
    if (split[row] != filter.split || places[row] < 0) continue;
    if (by_side && std::min(width[row], height[row]) < index.bounds[filter.bound]) continue;
    if (filter.classed && (!with_classes || classes[row] < 0)) continue;
    if (places[row] >= there)
      columns.broken(fmt::format("sample {}: `{}_row` leaves its column", row, latents));
    out.rows.push_back(static_cast<std::uint32_t>(row));
    out.latents_row.push_back(static_cast<std::uint32_t>(places[row]));
    if (with_classes) out.classes.push_back(classes[row]);
  }
  const std::int64_t counted = index.rows_of(shard, filter.size, filter.split, filter.bound, filter.classed);
  if (static_cast<std::int64_t>(out.rows.size()) != counted)
    columns.broken(fmt::format("the filter leaves {} rows, the index says {}", out.rows.size(), counted));
  if (filter.verify) out.latents_hashes = columns.values<std::uint64_t>(latents + "_xxh3", there);
}

void read_text(const store::LatentIndex& index, const store::IndexedShard& shard, const RowFilter& filter,
               const OpenFile& from, ShardRows& out) {
  Columns columns(index, shard, LatentFile::text, from);
  const std::string rows = columns.has("text") ? "text" : "text_ids";
  const bool whole_ids = rows == "text_ids" && columns.is_small(rows);
  const bool whole_scales = columns.is_small("text_scale");
  const bool hashes = filter.verify && !whole_ids;
  const bool scale_hashes = filter.verify && columns.has("text_scale") && !whole_scales;
  for (const char* name : {"caption_offsets", "caption_rows", "caption_source", "text_length"})
    columns.want(name);
  if (hashes) columns.want(rows + "_xxh3");
  if (scale_hashes) columns.want("text_scale_xxh3");
  if (whole_ids) columns.want(rows);
  if (whole_scales) columns.want("text_scale");
  columns.read();

  const std::int64_t unique = rows_of(index, shard, LatentFile::text, rows);
  const auto offsets = columns.values<std::int64_t>("caption_offsets", shard.rows + 1);
  out.caption_rows = columns.values<std::int32_t>("caption_rows");
  out.caption_source =
      columns.values<std::uint8_t>("caption_source", static_cast<std::int64_t>(out.caption_rows.size()));
  out.text_length = columns.values<std::int32_t>("text_length", unique);
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    if (offsets[i] < (i > 0 ? offsets[i - 1] : 0) ||
        offsets[i] > static_cast<std::int64_t>(out.caption_rows.size()))
      columns.broken(fmt::format("sample {}: `caption_offsets` leaves its column", i > 0 ? i - 1 : 0));
    out.caption_offsets.push_back(static_cast<std::uint32_t>(offsets[i]));
  }
  for (const std::int32_t row : out.caption_rows)
    if (row < 0 || row >= unique) columns.broken("`caption_rows` leaves its column");
  if (whole_ids) out.text_ids = columns.bytes(rows);
  if (whole_scales) out.text_scale = columns.bytes("text_scale");
  if (hashes) out.text_hashes = columns.values<std::uint64_t>(rows + "_xxh3", unique);
  if (scale_hashes) out.scale_hashes = columns.values<std::uint64_t>("text_scale_xxh3", unique);
}

}  // namespace

std::size_t ShardRows::bytes() const {
  return (rows.size() + latents_row.size() + classes.size() + caption_offsets.size() + caption_rows.size() +
          text_length.size()) *
             4 +
         (latents_hashes.size() + text_hashes.size() + scale_hashes.size()) * 8 + caption_source.size() +
         text_ids.size() + text_scale.size();
}

ShardRows read_shard_rows(const store::LatentIndex& index, const store::IndexedShard& shard,
                          const RowFilter& filter, const OpenFile& images, const OpenFile& text) {
  ShardRows rows;
  read_images(index, shard, filter, images, rows);
  read_text(index, shard, filter, text, rows);
  return rows;
}

std::vector<std::byte> read_column(const store::LatentIndex& index, const store::IndexedShard& shard,
                                   LatentFile file, const char* column, const OpenFile& from) {
  Columns columns(index, shard, file, from);
  columns.want(column);
  columns.read();
  return columns.bytes(column);
}

std::shared_ptr<const ShardRows> ShardRowsCache::find(std::size_t shard) {
  const std::scoped_lock lock(lock_);
  const auto found = found_.find(shard);
  if (found == found_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return recent_.front().second;
}

void ShardRowsCache::add(std::size_t shard, std::shared_ptr<const ShardRows> rows) {
  const std::scoped_lock lock(lock_);
  if (found_.contains(shard)) return;
  bytes_ += rows->bytes();
  recent_.emplace_front(shard, std::move(rows));
  found_[shard] = recent_.begin();
  while (bytes_ > max_bytes_ && recent_.size() > 1) {
    bytes_ -= recent_.back().second->bytes();
    found_.erase(recent_.back().first);
    recent_.pop_back();
  }
}

}  // namespace microdit::stream
