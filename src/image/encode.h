// RGB -> PNG and JPEG bytes; PNG with text chunks.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "image/image.h"

namespace microdit::image {

/// PNG bytes; each entry of `text` becomes a tEXt chunk (iTXt when not Latin-1). Bytes depend on input alone
/// (no time chunk).
std::vector<std::byte> encode_png(const Image& image, const std::map<std::string, std::string>& text = {});
std::vector<std::byte> encode_jpeg(const Image& image, int quality = 95);
/// The text chunks of a PNG (keyword -> text). BadImage when it is none.
std::map<std::string, std::string> read_png_text(const std::vector<std::byte>& png);

}  // namespace microdit::image
