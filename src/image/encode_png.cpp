// RGB -> PNG bytes with text chunks.
#include <png.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <optional>
#include <utility>

#include "core/error.h"
#include "image/encode.h"

namespace microdit::image {
namespace {

constexpr std::size_t kMaxKeyword = 79;  // the format's limit
constexpr int kCompressionLevel = 6;

/// UTF-8 as Latin-1, or nothing when it does not fit.
std::optional<std::string> to_latin1(const std::string& utf8) {
  std::string latin;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    if (lead < 0x80) {
      latin += utf8[i];
      continue;
    }
    if ((lead != 0xc2 && lead != 0xc3) || i + 1 == utf8.size()) return std::nullopt;
    const auto follow = static_cast<unsigned char>(utf8[++i]);
    if ((follow & 0xc0U) != 0x80U || (lead == 0xc2 && follow < 0xa0)) return std::nullopt;
    latin += static_cast<char>((lead & 0x03U) << 6U | (follow & 0x3fU));
  }
  return latin;
}

struct TextChunk {
  char type[5] = "tEXt";
  std::string payload;
};

TextChunk make_chunk(const std::string& keyword, const std::string& text) {
  const auto legal = [](char letter) { return letter >= ' ' && letter <= '~'; };
  core::check(!keyword.empty() && keyword.size() <= kMaxKeyword &&
                  std::all_of(keyword.begin(), keyword.end(), legal) && keyword.front() != ' ' &&
                  keyword.back() != ' ' && keyword.find("  ") == std::string::npos,
              "PNG keyword '{}'", keyword);
  core::check(text.find('\0') == std::string::npos, "PNG text of '{}' holds a zero byte", keyword);
  using namespace std::string_literals;
  if (const auto latin = to_latin1(text)) return {"tEXt", keyword + "\0"s + *latin};
  return {"iTXt", keyword + "\0\0\0\0\0"s + text};  // not compressed; no language, no translated keyword
}

struct PngWriter {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::vector<std::byte> bytes;
  char message[96] = "";

  PngWriter();
  ~PngWriter() { png_destroy_write_struct(&png, &info); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
};

[[noreturn]] void keep_error(png_structp png, png_const_charp text) {
  auto* writer = static_cast<PngWriter*>(png_get_error_ptr(png));
  std::snprintf(writer->message, sizeof(writer->message), "%s", text);
  png_longjmp(png, 1);
}

void append_bytes(png_structp png, png_bytep data, png_size_t count) {
  auto* writer = static_cast<PngWriter*>(png_get_io_ptr(png));
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  writer->bytes.insert(writer->bytes.end(), begin, begin + count);
}

PngWriter::PngWriter() {
  png = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, keep_error, [](png_structp, png_const_charp) {});
  if (png != nullptr) info = png_create_info_struct(png);
  if (info == nullptr) {
    png_destroy_write_struct(&png, nullptr);
    throw std::bad_alloc();
  }
  png_set_write_fn(png, this, append_bytes, nullptr);
}

bool write_all(PngWriter& writer, const Image& image, const std::vector<TextChunk>& chunks) {
  if (setjmp(png_jmpbuf(writer.png)) != 0) return false;
  png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_compression_level(writer.png, kCompressionLevel);
  png_write_info(writer.png, writer.info);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    png_write_chunk(writer.png, reinterpret_cast<png_const_bytep>(chunks[i].type),
                    reinterpret_cast<png_const_bytep>(chunks[i].payload.data()), chunks[i].payload.size());
  }
  for (std::int64_t y = 0; y < image.height; ++y) png_write_row(writer.png, image.row(y));
  png_write_end(writer.png, nullptr);
  return true;
}

}  // namespace

std::vector<std::byte> encode_png(const Image& image, const std::map<std::string, std::string>& text) {
  core::check(image.width > 0 && image.height > 0, "encode_png of {} x {}", image.width, image.height);
  std::vector<TextChunk> chunks;
  for (const auto& [keyword, value] : text) chunks.push_back(make_chunk(keyword, value));
  PngWriter writer;
  if (!write_all(writer, image, chunks)) {
    core::system_error("PNG encoding of {} x {} failed: {}", image.width, image.height, writer.message);
  }
  return std::move(writer.bytes);
}

}  // namespace microdit::image
