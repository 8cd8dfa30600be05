// Code points in UTF-8 text. Between two passes a text may hold lone surrogates, as Python's strings can (three
// bytes each, ED A0..BF xx); everything else is valid UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace microdit::text {

struct CodePoint {
  char32_t value;
  std::size_t bytes;  ///< 1 to 4
};

constexpr char32_t kReplacement = 0xFFFD;
constexpr bool is_surrogate(char32_t c) {
  return c >= 0xD800 && c <= 0xDFFF;
}

/// The code point that begins at byte `at` < text.size(). Of other bytes than UTF-8 nothing is promised but that no byte outside
/// `text` is read or counted.
inline CodePoint code_point_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[at + k]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (at + (lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4) > text.size()) return {kReplacement, 1};
  if (lead < 0xe0) return {((lead & 0x1f) << 6) | (byte(1) & 0x3fu), 2};
  if (lead < 0xf0) return {((lead & 0xf) << 12) | ((byte(1) & 0x3fu) << 6) | (byte(2) & 0x3fu), 3};
  const char32_t value =
      ((lead & 7) << 18) | ((byte(1) & 0x3fu) << 12) | ((byte(2) & 0x3fu) << 6) | (byte(3) & 0x3fu);
  return {value < 0x110000 ? value : kReplacement, 4};
}

/// The code point that ends before byte `at` > 0.
inline CodePoint code_point_before(std::string_view text, std::size_t at) {
  std::size_t start = at - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
  const CodePoint c = code_point_at(text.substr(0, at), start);
  return start + c.bytes == at ? c : CodePoint{kReplacement, 1};
}

inline bool is_ascii_byte(char byte) {
  return static_cast<unsigned char>(byte) < 0x80;
}
bool is_ascii(std::string_view text);

void append(std::string& text, char32_t code_point);
std::u32string to_utf32(std::string_view text);
std::string to_utf8(std::u32string_view text);

}  // namespace microdit::text
