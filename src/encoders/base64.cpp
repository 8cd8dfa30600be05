// Four characters are three bytes; '=' pads the last four.
#include "encoders/base64.h"

#include <cstdint>

namespace microdit::encoders {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::string out;
  out.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t value = kAlphabet.find(text[i]);
    if (value == kAlphabet.npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if (i % 4 == 0) continue;
    const auto left = static_cast<unsigned>(6 - 2 * (i % 4));  // bits that belong to the next byte
    out += static_cast<char>(bits >> left & 0xFF);
  }
  return out;
}

}  // namespace microdit::encoders
