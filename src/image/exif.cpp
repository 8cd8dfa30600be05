// Directories of TIFF by Pillow's rules, XMP by its search for two spellings.
#include "image/exif.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>
#include <utility>

namespace microdit::image {
namespace {

using Bytes = std::span<const std::byte>;
constexpr std::size_t kHeader = 8, kEntry = 12;
constexpr std::uint32_t kOrientation = 274, kXmp = 700;

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Numbers of either byte order; the caller has looked where the bytes end.
struct Numbers {
  Bytes bytes;
  bool little = false;
  std::uint64_t at(std::size_t offset, std::size_t size) const {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value = value << 8U | static_cast<std::uint8_t>(bytes[offset + (little ? size - 1 - i : i)]);
    return value;
  }
  std::uint32_t u16(std::size_t offset) const { return static_cast<std::uint32_t>(at(offset, 2)); }
  std::uint32_t u32(std::size_t offset) const { return static_cast<std::uint32_t>(at(offset, 4)); }
};

enum Type : std::uint32_t {
  kByte = 1,
  kAscii,
  kShort,
  kLong,
  kRational,
  kSignedByte,
  kUndefined,
  kSignedShort,
  kSignedLong,
  kSignedRational,
  kFloat,
  kDouble,
  kDirectory,
  kLong8 = 16
};

/// Bytes of one value; 0 for no type.
std::uint64_t size_of(std::uint32_t type) {
  constexpr std::array<std::uint8_t, 17> kSizes = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
  return type < kSizes.size() ? kSizes[type] : 0;
}

/// The first value of the type at `offset`; 0 for texts and bytes, which are no orientation to Pillow either.
double value_at(const Numbers& in, std::size_t offset, std::uint32_t type) {
  const auto u32 = [&](std::size_t at) { return in.u32(offset + at); };
  const auto i32 = [&](std::size_t at) { return static_cast<double>(static_cast<std::int32_t>(u32(at))); };
  switch (type) {
    case kShort:
      return in.u16(offset);
    case kLong:
    case kDirectory:
      return u32(0);
    case kRational:
      return u32(4) == 0 ? 0 : static_cast<double>(u32(0)) / u32(4);
    case kSignedByte:
      return static_cast<std::int8_t>(in.at(offset, 1));
    case kSignedShort:
      return static_cast<std::int16_t>(in.u16(offset));
    case kSignedLong:
      return i32(0);
    case kSignedRational:
      return u32(4) == 0 ? 0 : i32(0) / i32(4);
    case kFloat:
      return std::bit_cast<float>(u32(0));
    case kDouble:
      return std::bit_cast<double>(in.at(offset, 8));
    case kLong8:
      return static_cast<double>(in.at(offset, 8));
    default:
      return 0;
  }
}

/// Whether the bytes begin as a TIFF does: also with the two middle bytes changed over, and with BigTIFF's number in big-endian
/// order, which Pillow reads as a plain one.
bool starts_tiff(Bytes bytes) {
  using namespace std::string_view_literals;
  const std::string_view head = text_of(bytes.first(std::min<std::size_t>(bytes.size(), 4)));
  constexpr std::array kHeads = {"MM\0*"sv, "II*\0"sv, "MM*\0"sv, "II\0*"sv, "MM\0+"sv};
  return bytes.size() >= kHeader && std::ranges::find(kHeads, head) != kHeads.end();
}

/// Of `tiff:Orientation="6"` or `<tiff:Orientation>6<`; the first one counts.
int orientation_in_xmp(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (std::size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at)) {
    at += kName.size();
    const std::string_view rest = xmp.substr(at);
    const std::size_t skip = rest.starts_with("=\"") ? 2 : rest.starts_with(">") ? 1 : 0;
    if (skip > 0 && rest.size() > skip && rest[skip] >= '0' && rest[skip] <= '9') return rest[skip] - '0';
  }
  return 1;
}

int checked(double orientation) {
  for (int known = 2; known <= 8; ++known)
    if (orientation == known) return known;
  return 1;
}

}  // namespace

std::optional<TiffDirectory> read_tiff_directory(Bytes bytes) {
  if (!starts_tiff(bytes)) return std::nullopt;
  const Numbers in{bytes, bytes[0] == std::byte{'I'}};
  TiffDirectory found;
  found.begin = in.u32(4);
  const std::uint64_t size = bytes.size();
  std::uint64_t at = found.begin;
  if (at + 2 > size) return found;
  std::uint64_t values = 0;  // bytes of those that lie elsewhere
  const std::uint32_t count = in.u16(at);
  at += 2;
  for (std::uint32_t i = 0; i < count; ++i, at += kEntry) {
    if (at + kEntry > size) return found;
    const std::uint32_t tag = in.u16(at), type = in.u16(at + 2);
    const std::uint64_t length = size_of(type) * in.u32(at + 4);
    if (length == 0) continue;
    std::uint64_t offset = at + 8;
    if (length > 4) {
      values += length;
      if (values > size) continue;
      offset = in.u32(at + 8);
      if (offset + length > size) return found;
    }
    if (tag == kOrientation && !found.orientation) found.orientation = value_at(in, offset, type);
    if (tag == kXmp && found.xmp.empty() && (type == kByte || type == kUndefined))
      found.xmp = bytes.subspan(offset, length);
  }
  if (at + 4 <= size) found.next = in.u32(at);
  return found;
}

int orientation_of(const TiffDirectory& directory) {
  return checked(directory.orientation ? *directory.orientation : orientation_in_xmp(text_of(directory.xmp)));
}

int orientation_of(const Metadata& metadata) {
  using namespace std::string_view_literals;
  constexpr std::string_view kName = "Exif\0\0"sv;
  if (metadata.exif) {
    Bytes block = *metadata.exif;
    for (int i = 0; i < 2 && text_of(block).starts_with(kName); ++i) block = block.subspan(kName.size());
    if (!block.empty()) {
      const auto directory = read_tiff_directory(block);
      if (!directory) return 1;
      if (directory->orientation) return checked(*directory->orientation);
    }
  }
  return checked(orientation_in_xmp(text_of(metadata.xmp)));
}

Image turned(Image&& stored, int orientation) {
  if (orientation < 2 || orientation > 8) return std::move(stored);
  const bool sideways = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const std::int64_t width = stored.width, height = stored.height;
  Image image(sideways ? width : height, sideways ? height : width);
  for (std::int64_t y = 0; y < image.height; ++y) {
    std::uint8_t* row = image.row(y);
    for (std::int64_t x = 0; x < image.width; ++x) {
      const std::int64_t across = sideways ? y : x, down = sideways ? x : y;
      const std::uint8_t* from =
          stored.row(from_below ? height - 1 - down : down) + 3 * (from_right ? width - 1 - across : across);
      std::copy_n(from, 3, row + 3 * x);
    }
  }
  return image;
}

}  // namespace microdit::image
