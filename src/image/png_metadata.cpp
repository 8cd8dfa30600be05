// A PNG's EXIF, XMP and number of pictures, from chunks that its decoder leaves unread.
#include <libdeflate.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "image/formats.h"
#include "image/png_inflate.h"

namespace microdit::image {
namespace {

using namespace std::string_view_literals;
constexpr std::size_t kMaxText = 1U << 20U;          // of one unpacked text, as in Pillow
constexpr std::size_t kMaxUnpacked = 16 * kMaxText;  // of all of them

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Calls `see(type, data)` for chunk after chunk until one says false, or until the end.
template <class See>
void walk_chunks(Bytes bytes, See&& see) {
  std::size_t at = kPngSignatureBytes;
  while (bytes.size() >= at + 12) {
    const std::size_t length = big_endian(&bytes[at]);
    if (length > bytes.size() - at - 12) return;
    const std::string_view type = text_of(bytes.subspan(at + 4, 4));
    if (type == "IEND" || !see(type, bytes.subspan(at + 8, length))) return;
    at += 12 + length;
  }
}

/// What comes before the first 0, which is dropped with it; nothing without one.
std::optional<Bytes> take_word(Bytes& rest) {
  const std::size_t end = text_of(rest).find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const Bytes word = rest.first(end);
  rest = rest.subspan(end + 1);
  return word;
}

class Texts {
 public:
  /// Keyword and text of a tEXt, zTXt or iTXt chunk.
  void read(std::string_view type, Bytes rest, Metadata& metadata) {
    const auto key = take_word(rest);
    if (!key) return;
    const std::string_view keyword = text_of(*key);
    const bool profile = keyword == "Raw profile type exif", xmp = keyword == "XML:com.adobe.xmp";
    if (type == "tEXt" && keyword == "exif") metadata.exif.emplace(rest.begin(), rest.end());
    if (!profile && !xmp) return;
    bool packed = type == "zTXt";
    if (type == "iTXt") {
      if (rest.size() < 2) return;
      packed = rest[0] != std::byte{0};
      if (packed && rest[1] != std::byte{0}) return;
      rest = rest.subspan(2);
      if (!take_word(rest) || !take_word(rest)) return;
    } else if (packed) {
      if (rest.empty() || rest[0] != std::byte{0}) return;
      rest = rest.subspan(1);
    }
    std::vector<std::byte> text(rest.begin(), rest.end());
    if (packed && !unpack(rest, text)) return;
    (xmp ? metadata.xmp : profile_) = std::move(text);
  }

  /// ImageMagick's way: name and length on lines of their own, then hexadecimal.
  void use_profile(Metadata& metadata) const {
    std::string_view text = text_of(profile_);
    if (text.empty() || metadata.exif) return;
    for (int line = 0; line < 3; ++line) {
      const std::size_t end = text.find('\n');
      if (end == std::string_view::npos) return;
      text.remove_prefix(end + 1);
    }
    std::vector<std::byte> bytes;
    int high = -1;
    for (const char c : text) {
      if (c == '\n' || (high < 0 && " \t\r\f\v"sv.find(c) != std::string_view::npos)) continue;
      const std::size_t digit = "0123456789abcdefABCDEF"sv.find(c);
      if (digit == std::string_view::npos) return void(metadata.exif = none_);
      const int value = static_cast<int>(digit < 16 ? digit : digit - 6);
      if (high >= 0) bytes.push_back(static_cast<std::byte>(high << 4 | value));
      high = high >= 0 ? -1 : value;
    }
    metadata.exif = high < 0 ? std::move(bytes) : none_;
  }

 private:
  /// A block that turns nothing, and keeps XMP from turning anything.
  const std::vector<std::byte> none_ = {std::byte{0}};

  bool unpack(Bytes packed, std::vector<std::byte>& text) {
    if (unpacked_ + kMaxText > kMaxUnpacked) return false;
    unpacked_ += kMaxText;
    const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> inflater(
        libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
    text.resize(kMaxText);
    std::size_t size = 0;
    if (!inflater || libdeflate_zlib_decompress(inflater.get(), packed.data(), packed.size(), text.data(),
                                                text.size(), &size) != LIBDEFLATE_SUCCESS)
      return false;
    text.resize(size);
    return true;
  }

  std::vector<std::byte> profile_;
  std::size_t unpacked_ = 0;
};

}  // namespace

Metadata png_metadata(Bytes bytes) {
  Metadata metadata;
  Texts texts;
  walk_chunks(bytes, [&](std::string_view type, Bytes data) {
    if (type == "eXIf") metadata.exif.emplace(data.begin(), data.end());
    if (type == "tEXt" || type == "zTXt" || type == "iTXt") texts.read(type, data, metadata);
    return true;
  });
  texts.use_profile(metadata);
  return metadata;
}

bool png_has_frames(Bytes bytes) {
  std::optional<std::uint32_t> frames;
  int announced = 0;
  bool first_is_shown = false;
  walk_chunks(bytes, [&](std::string_view type, Bytes data) {
    if (type == "acTL" && data.size() >= 8 && ++announced == 1) frames = big_endian(data.data());
    first_is_shown |= type == "fcTL";
    return type != "IDAT";
  });
  if (announced != 1 || *frames == 0 || *frames > 0x80000000U) return false;
  return *frames > 1 || !first_is_shown;
}

}  // namespace microdit::image
