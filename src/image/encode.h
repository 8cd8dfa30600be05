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
/// The text chunks of a PNG (keyword -> text, UTF-8; of a keyword that stands twice the last), its pixels unread. BadImage: no PNG, one
/// that is cut short, damaged texts, more than 1000 of them, 8 MiB of one or 16 MiB of all.
std::map<std::string, std::string> read_png_text(const std::vector<std::byte>& png);

}  // namespace microdit::image
