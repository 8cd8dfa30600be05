// The texts of a PNG, read without libpng and within bounds: whoever wrote the file may be anybody.
#include <fmt/format.h>
#include <libdeflate.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "core/utf8.h"
#include "image/encode.h"
#include "image/formats.h"
#include "image/png_inflate.h"

namespace microdit::image {
namespace {

constexpr std::size_t kMaxText = 8U << 20U, kMaxTexts = 16U << 20U;  // bytes of one, and of all, unpacked
constexpr int kMostTexts = 1000;

std::string_view view_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string from_latin1(std::string_view text) {
  std::string utf8;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte < 0x80) {
      utf8 += letter;
    } else {
      utf8 += static_cast<char>(0xc0U | byte >> 6U);
      utf8 += static_cast<char>(0x80U | (byte & 0x3fU));
    }
  }
  return utf8;
}

/// What comes before the next 0, which is dropped with it.
std::string_view take_word(std::string_view& rest) {
  const std::size_t end = rest.find('\0');
  if (end == rest.npos) throw BadImage("PNG: a text has no end of its keyword");
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return word;
}

class Texts {
 public:
  /// A tEXt, zTXt or iTXt chunk.
  void add(std::string_view type, std::string_view rest) {
    if (++count_ > kMostTexts)
      throw BadImage(fmt::format("PNG: more than {} texts", kMostTexts), BadImage::Why::too_large);
    const std::string key(take_word(rest));
    bool packed = type == "zTXt";
    if (type == "iTXt") {
      if (rest.size() < 2) throw BadImage("PNG: a text is cut short");
      packed = rest[0] != 0;
      if (packed && rest[1] != 0) throw BadImage("PNG: a text is packed in an unknown way");
      rest.remove_prefix(2);
      take_word(rest);  // the language
      take_word(rest);  // the keyword in that language
    } else if (packed) {
      if (rest.empty() || rest[0] != 0) throw BadImage("PNG: a text is packed in an unknown way");
      rest.remove_prefix(1);
    }
    std::string text = packed ? unpacked(rest) : std::string(rest);
    if (text.size() > kMaxText || (bytes_ += text.size()) > kMaxTexts)
      throw BadImage(fmt::format("PNG: a text of {} bytes", text.size()), BadImage::Why::too_large);
    found_[type == "iTXt" ? core::with_valid_utf8(key) : from_latin1(key)] =
        type == "iTXt" ? core::with_valid_utf8(text) : from_latin1(text);
  }
  std::map<std::string, std::string> take() { return std::move(found_); }

 private:
  std::string unpacked(std::string_view packed) const {
    // No more than deflate can make of so many bytes: many small chunks cost no more than their sum.
    const std::size_t most =
        std::min(kMaxText, packed.size() * static_cast<std::size_t>(kMaxDeflateRatio) + 64);
    const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> inflater(
        libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
    std::string text(most, '\0');
    std::size_t size = 0;
    if (!inflater || libdeflate_zlib_decompress(inflater.get(), packed.data(), packed.size(), text.data(),
                                                text.size(), &size) != LIBDEFLATE_SUCCESS)
      throw BadImage("PNG: a packed text is damaged, or too long");
    text.resize(size);
    return text;
  }

  std::map<std::string, std::string> found_;
  std::size_t bytes_ = 0;
  int count_ = 0;
};

}  // namespace

std::map<std::string, std::string> read_png_text(const std::vector<std::byte>& png) {
  if (!is_png(png)) throw BadImage("not a PNG");
  Texts texts;
  const Bytes bytes(png);
  for (std::size_t at = kPngSignatureBytes;;) {
    if (bytes.size() < at + 12) throw BadImage("PNG: the file is truncated");
    const std::size_t length = big_endian(&bytes[at]);
    if (length > bytes.size() - at - 12) throw BadImage("PNG: the file is truncated");
    const std::string_view type = view_of(bytes.subspan(at + 4, 4));
    if (at == kPngSignatureBytes && type != "IHDR")
      throw BadImage("PNG: no header", BadImage::Why::no_header);
    if (type == "IEND") return texts.take();
    if (type == "tEXt" || type == "zTXt" || type == "iTXt") {
      if (libdeflate_crc32(0, &bytes[at + 4], length + 4) != big_endian(&bytes[at + 8 + length]))
        throw BadImage("PNG: the checksum of a text is wrong");
      texts.add(type, view_of(bytes.subspan(at + 8, length)));
    }
    at += 12 + length;
  }
}

}  // namespace microdit::image
