// Writes a table's file front to back; the index grows in memory, a few bytes per block.
#include "tables/table_writer.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/hash.h"
#include "tables/value.h"

namespace microdit::tables {
namespace {

static_assert(std::endian::native == std::endian::little, "tables are little endian");

template <class T>
void append_fixed(T value, std::string& out) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_string(std::string_view text, std::string& out) {
  append_number(text.size(), out);
  out += text;
}

/// The shortest beginning of `key` that is above `before`, which is below `key`.
std::string_view fence_between(std::string_view before, std::string_view key) {
  const auto differ = std::mismatch(before.begin(), before.end(), key.begin(), key.end()).second;
  return key.substr(0, static_cast<std::size_t>(differ - key.begin()) + 1);
}

}  // namespace

core::Json TableCounts::to_json() const {
  core::Json json = {{"rows", rows},
                     {"keys", keys},
                     {"repeated", repeated},
                     {"without_key", without_key},
                     {"damaged", damaged}};
  if (!without_key_example.empty()) json["without_key_example"] = without_key_example;
  if (!damaged_example.empty()) json["damaged_example"] = damaged_example;
  return json;
}

TableWriter::TableWriter(const std::filesystem::path& path, std::size_t block_bytes,
                         const core::StopFlag& stop)
    : file_(path, HiddenFile::Use::output, stop), block_bytes_(block_bytes) {
  head_ = kTableMagic;
  append_fixed(kTableVersion, head_);
  append_fixed(std::uint32_t{0}, head_);
  file_.append(head_);
}

void TableWriter::add(std::string_view key, std::string_view row) {
  core::check(!key.empty() && key >= key_, "keys of a table descend");
  const bool new_key = key != key_;
  if (new_key && block_.size() >= block_bytes_) end_block();
  if (block_.empty()) append_string(blocks_ == 0 ? "" : fence_between(key_, key), index_);
  append_string(key, block_);
  append_string(row, block_);
  if (new_key) key_ = key;
}

void TableWriter::end_block() {
  append_fixed(core::xxh3_64(std::as_bytes(std::span(block_))), block_);
  file_.append(block_);
  append_number(block_.size(), index_);
  ++blocks_;
  block_.clear();
}

void TableWriter::finish(const std::vector<std::string>& columns, std::string_view made_from,
                         const TableCounts& counts) {
  if (!block_.empty()) end_block();
  std::string tail;
  append_number(columns.size(), tail);
  for (const std::string& column : columns) append_string(column, tail);
  append_string(made_from, tail);
  for (const std::uint64_t count :
       {counts.rows, counts.keys, counts.repeated, counts.without_key, counts.damaged})
    append_number(count, tail);
  append_number(blocks_, tail);
  tail += index_;
  const std::uint64_t offset = file_.size(), bytes = tail.size();
  append_fixed(offset, tail);
  append_fixed(bytes, tail);
  core::Xxh3 hash;
  hash.update(std::as_bytes(std::span(head_)));
  hash.update(std::as_bytes(std::span(tail)));
  append_fixed(hash.digest(), tail);
  tail += kTableEnd;
  file_.append(tail);
  file_.publish();
}

}  // namespace microdit::tables
