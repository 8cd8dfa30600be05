// Bytes of the index and back; every number that a reader will trust is checked here.
#include "store/latent_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <span>

#include "core/error.h"
#include "core/hash.h"
#include "store/manifest_text.h"

namespace microdit::store {
namespace {

static_assert(std::endian::native == std::endian::little, "index.bin is little endian");
constexpr std::string_view kMagic = "MDLATIDX";
constexpr std::uint32_t kVersion = 1, kWithClasses = 2;
constexpr std::size_t kShaBytes = 32, kHashBytes = 8;
// What a folder may hold at most: beyond, the bytes are no index of ours.
constexpr std::uint64_t kMaxColumns = 256, kMaxSizes = 64, kMaxBounds = 64, kMaxSplits = 8, kMaxSources = 255;
constexpr std::uint64_t kMaxShards = 10'000'000, kMaxRows = std::uint64_t{1} << 31, kMaxName = 4096;
constexpr std::uint64_t kMaxOffset = std::uint64_t{1} << 62, kMaxSide = 1 << 20,
                        kMaxRowBytes = std::uint64_t{1} << 40;
constexpr std::uint8_t kLastDType = static_cast<std::uint8_t>(core::DType::u64);

class Writer {
 public:
  void raw(const void* data, std::size_t bytes) { out_.append(static_cast<const char*>(data), bytes); }
  void u8(std::uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void u64(std::uint64_t value) { raw(&value, sizeof value); }
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) u8(static_cast<std::uint8_t>(value | 0x80));
    u8(static_cast<std::uint8_t>(value));
  }
  template <class T>
  void numbers(const std::vector<T>& values) {
    number(values.size());
    for (const T value : values) number(static_cast<std::uint64_t>(value));
  }
  void string(const std::string& value) {
    number(value.size());
    out_ += value;
  }
  std::string& text() { return out_; }

 private:
  std::string out_;
};

/// Reads what Writer wrote; never beyond the end.
class Cursor {
 public:
  Cursor(std::string_view bytes, const std::string& origin) : left_(bytes), origin_(origin) {}

  [[noreturn]] void broken(std::string_view what) const {
    core::user_error("{}: damaged ({}); remove it and run precompute again, which writes it anew", origin_,
                     what);
  }
  std::string_view raw(std::size_t bytes) {
    if (bytes > left_.size()) broken("it ends too early");
    const std::string_view out = left_.substr(0, bytes);
    left_.remove_prefix(bytes);
    return out;
  }
  std::uint8_t u8() { return static_cast<std::uint8_t>(raw(1)[0]); }
  std::uint64_t u64() {
    std::uint64_t value;
    std::memcpy(&value, raw(sizeof value).data(), sizeof value);
    return value;
  }
  std::uint64_t number(std::uint64_t max, std::string_view what) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const std::uint8_t byte = u8();
      if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0)) broken(what);  // too large; not the shortest
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80)) break;
      if (shift == 63) broken(what);
    }
    if (value > max) broken(what);
    return value;
  }
  std::int64_t signed_number(std::uint64_t max, std::string_view what) {
    return static_cast<std::int64_t>(number(max, what));
  }
  std::string string() { return std::string(raw(number(kMaxName, "a name's length"))); }
  std::size_t left() const { return left_.size(); }

 private:
  std::string_view left_;
  const std::string& origin_;
};

std::string hex_of(std::string_view bytes) {
  std::string out;
  for (const unsigned char c : bytes) out += fmt::format("{:02x}", c);
  return out;
}

std::string bytes_of_hex(const std::string& hex) {
  core::check(hex.size() == 2 * kShaBytes, "SHA-256 `{}`", hex);
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

void read_columns(Cursor& in, LatentIndex& index) {
  const std::uint64_t count = in.number(kMaxColumns, "the number of columns");
  std::set<std::pair<LatentFile, std::string>> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    IndexedColumn column;
    const std::uint8_t file = in.u8();
    if (file > 1) in.broken("a column's file");
    column.file = static_cast<LatentFile>(file);
    column.name = in.string();
    if (!names.emplace(column.file, column.name).second) in.broken("a column is there twice");
    const std::uint8_t dtype = in.u8();
    if (dtype > kLastDType) in.broken("a column's element type");
    column.dtype = static_cast<core::DType>(dtype);
    std::uint64_t bytes = core::size_of(column.dtype);
    for (std::uint64_t axes = in.number(8, "a column's axes"); axes > 0; --axes) {
      column.row_shape.push_back(in.signed_number(kMaxRowBytes, "a column's shape"));
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(column.row_shape.back()), &bytes) ||
          bytes > kMaxRowBytes)
        in.broken("a column's shape");
    }
    const std::uint8_t has_hash = in.u8();
    if (has_hash > 1) in.broken("a column's flag");
    column.has_hash = has_hash == 1;
    index.columns.push_back(std::move(column));
  }
}

void read_counts(Cursor& in, const LatentIndex& index, IndexedShard& shard) {
  for (std::size_t size = 0; size < index.sizes.size(); ++size) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(index.splits) * index.bounds.size(); ++i) {
      shard.counts.push_back(static_cast<std::uint32_t>(in.number(kMaxRows, "a count of rows")));
      sum += shard.counts.back();
    }
    if (sum > static_cast<std::uint64_t>(shard.rows)) in.broken("counts of rows that exceed the shard");
  }
  for (std::size_t i = 0; index.counts_classes && i < shard.counts.size(); ++i)
    shard.classed.push_back(
        static_cast<std::uint32_t>(in.number(shard.counts[i], "a count of rows with a class")));
  for (std::size_t i = 0; i < index.caption_sources.size(); ++i) {
    shard.captioned.push_back(static_cast<std::uint32_t>(in.number(kMaxRows, "a count of captions")));
    if (shard.captioned.back() > shard.rows) in.broken("counts of captions that exceed the shard");
  }
}

IndexedShard read_shard(Cursor& in, const LatentIndex& index) {
  IndexedShard shard;
  shard.item = in.string();
  if (!is_plain_name(shard.item)) in.broken("a shard's name");
  shard.rows = in.signed_number(kMaxRows, "a shard's rows");
  for (int file = 0; file < 2; ++file) {
    shard.file_bytes[file] = in.number(kMaxOffset, "a file's size");
    shard.file_sha[file] = in.u64();
  }
  shard.places.reserve(index.columns.size());
  for (const IndexedColumn& column : index.columns) {
    ColumnPlace place;
    place.rows = in.signed_number(kMaxOffset, "a column's rows");
    place.offset = in.number(kMaxOffset, "a column's place");
    if (column.has_hash) place.hash = in.u64();
    const std::uint64_t file_bytes = shard.file_bytes[static_cast<std::size_t>(column.file)];
    std::uint64_t bytes;
    if (__builtin_mul_overflow(static_cast<std::uint64_t>(place.rows), column.row_bytes(), &bytes) ||
        place.offset > file_bytes || bytes > file_bytes - place.offset ||
        (column.row_bytes() == 0 && place.rows > shard.rows))
      in.broken("a column that leaves its file");
    shard.places.push_back(place);
  }
  read_counts(in, index, shard);
  return shard;
}

}  // namespace

std::uint64_t IndexedColumn::row_bytes() const {
  std::uint64_t bytes = core::size_of(dtype);
  for (const std::int64_t extent : row_shape) bytes *= static_cast<std::uint64_t>(extent);
  return bytes;
}

std::string IndexedShard::file(LatentFile which) const {
  return item + (which == LatentFile::images ? ".images.h5" : ".text.h5");
}

int LatentIndex::column(LatentFile file, std::string_view name) const {
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (columns[i].file == file && columns[i].name == name) return static_cast<int>(i);
  return -1;
}

std::int64_t LatentIndex::rows_of(const IndexedShard& shard, std::size_t size, std::size_t split,
                                  std::size_t bound, bool classed) const {
  if (classed && !counts_classes) return 0;
  const std::uint32_t* of_split =
      &(classed ? shard.classed
                : shard.counts)[(size * static_cast<std::size_t>(splits) + split) * bounds.size()];
  std::int64_t rows = 0;
  for (std::size_t i = bound; i < bounds.size(); ++i) rows += of_split[i];
  return rows;
}

std::string index_name(std::int64_t generation) {
  return fmt::format("index.{}.bin", generation);
}

std::string to_bytes(const LatentIndex& index) {
  Writer out;
  out.raw(kMagic.data(), kMagic.size());
  const std::uint32_t version = index.counts_classes ? kWithClasses : kVersion;
  out.raw(&version, sizeof version);
  out.text() += bytes_of_hex(index.manifest_sha256);
  out.number(static_cast<std::uint64_t>(index.generation));
  out.numbers(index.sizes);
  out.numbers(index.bounds);
  out.number(static_cast<std::uint64_t>(index.splits));
  out.number(index.caption_sources.size());
  for (const std::string& source : index.caption_sources) out.string(source);
  out.number(index.columns.size());
  for (const IndexedColumn& column : index.columns) {
    out.u8(static_cast<std::uint8_t>(column.file));
    out.string(column.name);
    out.u8(static_cast<std::uint8_t>(column.dtype));
    out.numbers(column.row_shape);
    out.u8(column.has_hash);
  }
  out.number(index.shards.size());
  for (const IndexedShard& shard : index.shards) {
    out.string(shard.item);
    out.number(static_cast<std::uint64_t>(shard.rows));
    for (int file = 0; file < 2; ++file) {
      out.number(shard.file_bytes[file]);
      out.u64(shard.file_sha[file]);
    }
    for (std::size_t i = 0; i < index.columns.size(); ++i) {
      out.number(static_cast<std::uint64_t>(shard.places[i].rows));
      out.number(shard.places[i].offset);
      if (index.columns[i].has_hash) out.u64(shard.places[i].hash);
    }
    for (const std::uint32_t count : shard.counts) out.number(count);
    for (const std::uint32_t count : shard.classed) out.number(count);
    for (const std::uint32_t count : shard.captioned) out.number(count);
  }
  out.u64(core::xxh3_64(std::as_bytes(std::span(out.text()))));
  return std::move(out.text());
}

LatentIndex parse_latent_index(std::string_view bytes, const std::string& origin) {
  Cursor in(bytes, origin);
  if (bytes.substr(0, kMagic.size()) != kMagic) in.broken("it is no index of latents");
  in.raw(kMagic.size());
  std::uint32_t version;
  std::memcpy(&version, in.raw(sizeof version).data(), sizeof version);
  if (version != kVersion && version != kWithClasses)
    core::user_error("{}: of version {}, this microdit reads {} and {}; remove it and run precompute again",
                     origin, version, kVersion, kWithClasses);
  if (in.left() < kHashBytes) in.broken("it ends too early");
  std::uint64_t hash;
  std::memcpy(&hash, bytes.data() + bytes.size() - kHashBytes, sizeof hash);
  const std::string_view hashed = bytes.substr(0, bytes.size() - kHashBytes);
  if (core::xxh3_64(std::as_bytes(std::span(hashed))) != hash)
    in.broken("it does not match its own checksum");

  LatentIndex index;
  index.manifest_sha256 = hex_of(in.raw(kShaBytes));
  index.generation = in.signed_number(kMaxRows, "the generation");
  for (std::uint64_t left = in.number(kMaxSizes, "the sizes"); left > 0; --left)
    index.sizes.push_back(in.signed_number(kMaxSide, "a size"));
  for (std::uint64_t left = in.number(kMaxBounds, "the bounds"); left > 0; --left) {
    index.bounds.push_back(in.signed_number(kMaxSide, "a bound"));
    const std::size_t n = index.bounds.size();
    if (n == 1 ? index.bounds[0] != 0 : index.bounds[n - 1] <= index.bounds[n - 2]) in.broken("the bounds");
  }
  if (index.sizes.empty() || index.bounds.empty()) in.broken("it has no sizes or no bounds");
  index.splits = in.signed_number(kMaxSplits, "the splits");
  for (std::uint64_t left = in.number(kMaxSources, "the caption sources"); left > 0; --left)
    index.caption_sources.push_back(in.string());
  read_columns(in, index);
  index.counts_classes = version == kWithClasses;
  if (index.counts_classes && index.column(LatentFile::images, "class") < 0)
    in.broken("counts of classes, and no column of them");
  const std::uint64_t shards = in.number(kMaxShards, "the number of shards");
  index.shards.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(shards, in.left() / 16)));
  for (std::uint64_t i = 0; i < shards; ++i) index.shards.push_back(read_shard(in, index));
  if (in.left() != kHashBytes) in.broken("bytes behind its end");
  return index;
}

}  // namespace microdit::store
