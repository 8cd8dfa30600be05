// The central directory, checked against the local headers.
#include "core/zip_directory.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/shown_text.h"
#include "core/torch_limits.h"
#include "core/utf8.h"

namespace microdit::core {
namespace {

constexpr std::size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kEntryBytes = 46,
                      kLocalBytes = 30;
constexpr std::size_t kMaxCommentBytes = 65535;
constexpr std::uint64_t kIn64 = 0xffffffff;                ///< "see the ZIP64 field"
constexpr std::uint64_t kEncrypted = 1, kSizesFollow = 8;  ///< general purpose bits 0 and 3

/// A little-endian number of `size` bytes.
std::uint64_t number(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(bytes.at(at + i));
  return value;
}

struct Directory {
  std::uint64_t entries = 0, bytes = 0, offset = 0;
};

std::uint64_t agreed(std::uint64_t in_32, std::uint64_t mark, std::uint64_t in_64, std::string_view what) {
  if (in_32 != mark && in_32 != in_64)
    user_error("the zip's two ends disagree on {}: {} and {}", what, in_32, in_64);
  return in_64;
}

Directory find_directory(const InputFile& file) {
  const std::uint64_t tail_bytes = std::min<std::uint64_t>(file.size(), kEndBytes + kMaxCommentBytes);
  const std::uint64_t tail_begin = file.size() - tail_bytes;
  const std::string tail = file.read_string(tail_begin, tail_bytes);
  std::size_t at = tail.rfind("PK\5\6");
  while (at != tail.npos &&
         (tail.size() - at < kEndBytes || number(tail, at + 20, 2) != tail.size() - at - kEndBytes))
    at = at == 0 ? tail.npos : tail.rfind("PK\5\6", at - 1);
  if (at == tail.npos) user_error("its end is missing: the file was cut short; download or copy it again");
  const std::string_view end = std::string_view(tail).substr(at);
  if (number(end, 4, 4) != 0 || number(end, 8, 2) != number(end, 10, 2))
    user_error("it is one part of a split zip");
  Directory found{number(end, 10, 2), number(end, 12, 4), number(end, 16, 4)};
  std::uint64_t directory_end = tail_begin + at;
  if (at >= kLocatorBytes && tail.compare(at - kLocatorBytes, 4, "PK\6\7") == 0) {
    const std::uint64_t end64_at = number(tail, at - kLocatorBytes + 8, 8);
    if (end64_at > directory_end || directory_end - end64_at < kEnd64Bytes + kLocatorBytes)
      user_error("its ZIP64 end lies at byte {}, outside the file", end64_at);
    const std::string end64 = file.read_string(end64_at, kEnd64Bytes);
    if (!end64.starts_with("PK\6\6") || number(end64, 24, 8) != number(end64, 32, 8))
      user_error("there is no ZIP64 end at byte {}", end64_at);
    found = {agreed(found.entries, 0xffff, number(end64, 32, 8), "the number of records"),
             agreed(found.bytes, kIn64, number(end64, 40, 8), "the directory's size"),
             agreed(found.offset, kIn64, number(end64, 48, 8), "the directory's place")};
    directory_end = end64_at;
  }
  if (found.entries > detail::TorchLimits::zip_records ||
      found.bytes > detail::TorchLimits::zip_directory_bytes)
    user_error("the zip claims {} records in {} bytes (at most {} in {})", found.entries, found.bytes,
               detail::TorchLimits::zip_records, detail::TorchLimits::zip_directory_bytes);
  if (found.offset > directory_end || directory_end - found.offset != found.bytes)
    user_error("the zip's directory of {} bytes at byte {} does not reach its end at byte {}", found.bytes,
               found.offset, directory_end);
  return found;
}

/// The ZIP64 field among a record's extra fields; empty when there is none.
std::string_view zip64_field(std::string_view extra) {
  while (extra.size() >= 4) {
    const std::uint64_t bytes = number(extra, 2, 2);
    if (bytes > extra.size() - 4) break;
    if (number(extra, 0, 2) == 1) return extra.substr(4, bytes);
    extra.remove_prefix(4 + bytes);
  }
  return "";
}

/// `value`, or the next eight bytes of `field` where it says so.
std::uint64_t widened(std::uint64_t value, std::string_view& field, std::string_view name) {
  if (value != kIn64) return value;
  if (field.size() < 8) user_error("record '{}' lacks its ZIP64 field", shortened(name, 100));
  value = number(field, 0, 8);
  field.remove_prefix(8);
  return value;
}

void check_name(std::string_view name) {
  const std::string padded = "/" + std::string(name) + "/";
  if (name.empty() || first_invalid_utf8(name) || name.starts_with('/') ||
      name.find_first_of({"\\\0", 2}) != name.npos || padded.find("/../") != padded.npos ||
      padded.find("/./") != padded.npos || name.find("//") != name.npos)
    user_error("the zip holds a record of the name '{}', which no writer gives",
               shortened(without_controls(with_valid_utf8(name)), 100));
}

struct Entry {
  std::string name;
  std::uint64_t flags = 0, method = 0, stored = 0, bytes = 0, crc = 0;
  std::uint64_t begin = 0;  ///< of its local header
  std::uint64_t data = 0, end = 0;
};

/// Reads the entry at the beginning of `rest` and takes it off.
Entry take_entry(std::string_view& rest) {
  if (rest.size() < kEntryBytes || !rest.starts_with("PK\1\2")) user_error("the zip's directory is damaged");
  const std::size_t name_bytes = number(rest, 28, 2), extra_bytes = number(rest, 30, 2);
  const std::size_t bytes = kEntryBytes + name_bytes + extra_bytes + number(rest, 32, 2);
  if (bytes > rest.size()) user_error("the zip's directory is damaged");
  Entry entry;
  entry.name = rest.substr(kEntryBytes, name_bytes);
  entry.flags = number(rest, 8, 2);
  entry.method = number(rest, 10, 2);
  entry.crc = number(rest, 16, 4);
  std::string_view field = zip64_field(rest.substr(kEntryBytes + name_bytes, extra_bytes));
  entry.bytes = widened(number(rest, 24, 4), field, entry.name);
  entry.stored = widened(number(rest, 20, 4), field, entry.name);
  entry.begin = widened(number(rest, 42, 4), field, entry.name);
  rest.remove_prefix(bytes);
  check_name(entry.name);
  if ((entry.flags & kEncrypted) != 0) user_error("record '{}' is encrypted", shortened(entry.name, 100));
  if (entry.method == 0 && entry.stored != entry.bytes)
    user_error("record '{}' has {} bytes, of which {} are stored", shortened(entry.name, 100), entry.bytes,
               entry.stored);
  return entry;
}

/// The record's own header must say the same, as far as it says anything (sizes may follow the data).
void check_local_header(const InputFile& file, Entry& entry, std::uint64_t directory_offset) {
  const std::string shown = shortened(entry.name, 100);
  const auto fits = [&](std::uint64_t begin, std::uint64_t bytes) {
    return begin <= directory_offset && bytes <= directory_offset - begin;
  };
  if (!fits(entry.begin, kLocalBytes + entry.name.size()))
    user_error("record '{}' lies outside the file", shown);
  const std::string local = file.read_string(entry.begin, kLocalBytes + entry.name.size());
  const std::uint64_t extra_bytes = number(local, 28, 2);
  if (!local.starts_with("PK\3\4") || number(local, 26, 2) != entry.name.size() ||
      std::string_view(local).substr(kLocalBytes) != entry.name || number(local, 8, 2) != entry.method ||
      number(local, 6, 2) != entry.flags)
    user_error("record '{}' is another at its place, byte {}, than in the zip's directory", shown,
               entry.begin);
  entry.data = entry.begin + local.size() + extra_bytes;
  if (!fits(entry.begin + local.size(), extra_bytes) || !fits(entry.data, entry.stored))
    user_error("record '{}' of {} bytes reaches beyond the records' end", shown, entry.stored);
  entry.end = entry.data + entry.stored;
  const bool may_follow = (entry.flags & kSizesFollow) != 0;
  std::uint64_t bytes = number(local, 22, 4), stored = number(local, 18, 4);
  if (bytes == kIn64 || stored == kIn64) {
    const std::string extra = file.read_string(entry.begin + local.size(), extra_bytes);
    std::string_view field = zip64_field(extra);
    bytes = widened(bytes, field, entry.name);
    stored = widened(stored, field, entry.name);
  }
  const auto differ = [&](std::uint64_t here, std::uint64_t there) {
    return here != there && !(may_follow && here == 0);
  };
  if (differ(bytes, entry.bytes) || differ(stored, entry.stored))
    user_error("record '{}' has {} bytes by its own header and {} by the zip's directory", shown, bytes,
               entry.bytes);
}

}  // namespace

ZipRecords read_zip_directory(const InputFile& file) {
  const Directory directory = find_directory(file);
  const std::string text = file.read_string(directory.offset, directory.bytes);
  std::string_view rest = text;
  ZipRecords records;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    Entry entry = take_entry(rest);
    check_local_header(file, entry, directory.offset);
    extents.emplace_back(entry.begin, entry.end);
    const ZipRecord record{entry.data,   entry.stored, entry.method != 0,
                           entry.method, entry.bytes,  static_cast<std::uint32_t>(entry.crc)};
    if (!records.emplace(entry.name, record).second)
      user_error("the zip holds two records '{}'", shortened(entry.name, 100));
  }
  if (!rest.empty()) user_error("the zip's directory holds more than its {} records", directory.entries);
  std::sort(extents.begin(), extents.end());
  for (std::size_t i = 1; i < extents.size(); ++i)
    if (extents[i].first < extents[i - 1].second)
      user_error("two records of the zip overlap at byte {}", extents[i].first);
  return records;
}

}  // namespace microdit::core
