// UTF-8 and UTF-32, surrogates included.
#include "text/code_points.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace microdit::text {
namespace {

/// Writes a code point's bytes at `at`; behind them.
char* write(char* at, char32_t c) {
  const auto put = [&](char32_t byte) { *at++ = static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | (c >> 6));
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3f));
    put(0x80 | ((c >> 6) & 0x3f));
    put(0x80 | (c & 0x3f));
  }
  return at;
}

}  // namespace

bool is_ascii(std::string_view text) {
  std::size_t i = 0;
  for (std::uint64_t word; i + sizeof word <= text.size(); i += sizeof word) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if (word & 0x8080808080808080u) return false;
  }
  for (; i < text.size(); ++i)
    if (!is_ascii_byte(text[i])) return false;
  return true;
}

void append(std::string& text, char32_t c) {
  std::array<char, 4> bytes{};
  text.append(bytes.data(), write(bytes.data(), c));
}

std::u32string to_utf32(std::string_view text) {
  std::u32string out(text.size(), U'\0');
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    out[size++] = c.value;
    i += c.bytes;
  }
  out.resize(size);
  return out;
}

std::string to_utf8(std::u32string_view text) {
  std::string out(text.size() * 4, '\0');
  char* at = out.data();
  for (const char32_t c : text) at = write(at, c);
  out.resize(static_cast<std::size_t>(at - out.data()));
  return out;
}

}  // namespace microdit::text
