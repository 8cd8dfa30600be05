// Lookups: the block by its fence, in memory; the key within the block, read by one pread and checked.
#include "tables/table_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "core/error.h"
#include "core/hash.h"
#include "tables/limits.h"

namespace microdit::tables {
namespace {

// What the writer makes stays far below.
constexpr std::uint64_t kMaxTailBytes = 1u << 30, kMaxBlockBytes = 16 * limits::kMiB;
constexpr std::uint64_t kMaxBlocks = std::numeric_limits<std::uint32_t>::max();

std::uint64_t fixed(std::string_view bytes, std::size_t at) {
  std::uint64_t value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

void TableFile::damaged(std::string_view what) const {
  core::user_error("{}: damaged ({}); remove it and run clean again, which builds it anew",
                   file_.path().string(), what);
}

std::string_view TableFile::take_string(std::string_view& bytes, std::string_view what) const {
  const std::uint64_t size = take_count(bytes, what);
  if (size > bytes.size()) damaged(what);
  const std::string_view text = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return text;
}

std::uint64_t TableFile::take_count(std::string_view& bytes, std::string_view what) const {
  const std::optional<std::uint64_t> number = take_number(bytes);
  if (!number) damaged(what);
  return *number;
}

TableFile::TableFile(const std::filesystem::path& path) : file_(path) {
  const std::string tail = read_tail();
  parse_tail(tail, file_.size() - kTableTrailerBytes - tail.size());
}

std::string TableFile::read_tail() {
  if (file_.size() < kTableHeadBytes + kTableTrailerBytes) damaged("it is too short");
  const std::string head = file_.read_string(0, kTableHeadBytes);
  if (!head.starts_with(kTableMagic))
    core::user_error("{}: no table of ours; remove it and run clean again", path().string());
  std::uint32_t version;
  std::memcpy(&version, head.data() + kTableMagic.size(), sizeof version);
  if (version != kTableVersion)
    core::user_error(
        "{}: a table of version {}, this program reads version {}; remove it and run clean again",
        path().string(), version, kTableVersion);
  const std::string trailer = file_.read_string(file_.size() - kTableTrailerBytes, kTableTrailerBytes);
  if (!trailer.ends_with(kTableEnd)) damaged("its end is missing");
  const std::uint64_t offset = fixed(trailer, 0), bytes = fixed(trailer, 8);
  if (offset < kTableHeadBytes || bytes > kMaxTailBytes || offset > file_.size() ||
      bytes != file_.size() - kTableTrailerBytes - std::min(offset, file_.size() - kTableTrailerBytes))
    damaged("the place of its index");
  std::string tail = file_.read_string(offset, bytes);
  core::Xxh3 hash;
  hash.update(std::as_bytes(std::span(head)));
  hash.update(std::as_bytes(std::span(tail)));
  hash.update(std::as_bytes(std::span(trailer)).first(16));
  if (hash.digest() != fixed(trailer, 16)) damaged("the checksum of its index");
  return tail;
}

void TableFile::parse_tail(std::string_view tail, std::uint64_t offset) {
  const std::uint64_t columns = take_count(tail, "the number of columns");
  if (columns > limits::kColumns) damaged("the number of columns");
  for (std::uint64_t i = 0; i < columns; ++i) columns_.emplace_back(take_string(tail, "a column's name"));
  made_from_ = take_string(tail, "what it was made from");
  for (std::uint64_t* count :
       {&counts_.rows, &counts_.keys, &counts_.repeated, &counts_.without_key, &counts_.damaged})
    *count = take_count(tail, "a count");
  parse_index(tail, offset);
}

void TableFile::parse_index(std::string_view tail, std::uint64_t offset) {
  const std::uint64_t blocks = take_count(tail, "the number of blocks");
  if (blocks > kMaxBlocks || blocks > tail.size()) damaged("the number of blocks");
  fence_ends_.reserve(blocks);
  block_offsets_.reserve(blocks + 1);
  block_offsets_.push_back(kTableHeadBytes);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::string_view own = take_string(tail, "a fence");
    if (i == 0 ? !own.empty() : own <= fence(i - 1)) damaged("the order of its fences");
    fences_ += own;
    fence_ends_.push_back(static_cast<std::uint32_t>(fences_.size()));
    const std::uint64_t bytes = take_count(tail, "a block's size");
    if (bytes <= kBlockHashBytes || bytes > kMaxBlockBytes || bytes > offset - block_offsets_.back())
      damaged("a block's size");
    block_offsets_.push_back(block_offsets_.back() + bytes);
  }
  if (!tail.empty() || block_offsets_.back() != offset) damaged("the sizes of its blocks");
}

std::string_view TableFile::fence(std::size_t block) const {
  const std::size_t begin = block == 0 ? 0 : fence_ends_[block - 1];
  return std::string_view(fences_).substr(begin, fence_ends_[block] - begin);
}

int TableFile::column(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  return found == columns_.end() ? -1 : static_cast<int>(found - columns_.begin());
}

std::string TableFile::read_block(std::size_t number) const {
  const std::uint64_t offset = block_offsets_[number], bytes = block_offsets_[number + 1] - offset;
  std::string block = file_.read_string(offset, bytes);
  const std::uint64_t hash = fixed(block, bytes - kBlockHashBytes);
  block.resize(bytes - kBlockHashBytes);
  if (core::xxh3_64(std::as_bytes(std::span(block))) != hash)
    damaged(fmt::format("the checksum of the block at byte {}", offset));
  return block;
}

std::shared_ptr<const TableFile::Block> TableFile::block(std::size_t number) const {
  Slot& slot = slots_[number % slots_.size()];
  {
    const std::scoped_lock lock(slot.mutex);
    if (slot.block && slot.block->number == number) return slot.block;
  }
  auto read = std::make_shared<const Block>(Block{number, read_block(number)});
  const std::scoped_lock lock(slot.mutex);
  return slot.block = read;
}

std::vector<Row> TableFile::find(std::string_view key) const {
  std::vector<Row> rows;
  if (fence_ends_.empty()) return rows;
  std::size_t low = 0, high = fence_ends_.size();  // fence(low) <= key; the first fence is empty
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    (fence(middle) <= key ? low : high) = middle;
  }
  const std::shared_ptr<const Block> found = block(low);
  for (std::string_view bytes = found->bytes; !bytes.empty();) {
    const std::string_view own = take_string(bytes, "a key");
    std::string_view row = take_string(bytes, "a row");
    if (own < key) continue;
    if (own > key) break;
    if (!take_row(row, columns_.size(), rows.emplace_back()) || !row.empty()) damaged("a row");
  }
  return rows;
}

void TableFile::verify(const core::StopFlag& stop) const {
  std::uint64_t rows = 0, keys = 0;
  std::string last;
  Row row;
  for (std::size_t i = 0; i + 1 < block_offsets_.size(); ++i) {
    if (stop.requested()) throw core::Stopped();
    const std::string block = read_block(i);
    std::string before = last;  // of the block before: no key of it is here
    for (std::string_view bytes = block; !bytes.empty(); ++rows) {
      const std::string_view own = take_string(bytes, "a key");
      std::string_view cells = take_string(bytes, "a row");
      if (own.empty() || own < last || own < fence(i) || (i > 0 && own == before))
        damaged("the order of its keys");
      if (i + 2 < block_offsets_.size() && own >= fence(i + 1)) damaged("a key that its fence does not find");
      if (!take_row(cells, columns_.size(), row) || !cells.empty()) damaged("a row");
      if (own != last) ++keys, last = own;
    }
  }
  if (keys != counts_.keys || counts_.rows - counts_.without_key != counts_.keys + counts_.repeated ||
      (rows != keys && rows != keys + counts_.repeated))
    damaged("its counts");
}

}  // namespace microdit::tables
