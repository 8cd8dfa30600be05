// The next character of valid UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace microdit::encoders {

/// Bytes of the character that `lead` begins.
inline std::size_t code_point_bytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The character at byte `at`, which moves behind it.
inline char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t bytes = code_point_bytes(text[at]);
  char32_t c = bytes == 1 ? lead : lead & (0x7Fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) c = c << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3Fu);
  at += bytes;
  return c;
}

}  // namespace microdit::encoders
