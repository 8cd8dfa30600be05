// UTF-8 as RFC 3629 has it.
#include "core/utf8.h"

#include "core/error.h"

namespace microdit::core {
namespace {

/// Bytes of the character that begins at `i`; 0 when it is none.
std::size_t character_length(std::string_view text, std::size_t i) {
  const auto lead = static_cast<unsigned char>(text[i]);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
  if (length == 0 || i + length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    const auto next = static_cast<unsigned char>(text[i + k]);
    // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
    const unsigned low = k > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned high = k > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (next < low || next > high) return 0;
  }
  return length;
}

}  // namespace

std::optional<std::size_t> first_invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = character_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

std::string with_valid_utf8(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = character_length(text, i);
    out += length > 0 ? text.substr(i, length) : std::string_view("\xef\xbf\xbd");
    i += std::max<std::size_t>(length, 1);
  }
  return out;
}

std::string shortened(std::string_view text, std::size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return std::string(text.substr(0, bytes)) + "...";
}

void check_text(std::string_view text, const std::string& where) {
  if (const auto bad = first_invalid_utf8(text)) {
    user_error(
        "{} is not UTF-8 (byte {}: 0x{:02x}); convert it, for example with: iconv -f ISO-8859-1 -t UTF-8 (or "
        "the encoding it has)",
        where, *bad + 1, static_cast<unsigned char>(text[*bad]));
  }
  if (const std::size_t zero = text.find('\0'); zero != text.npos)
    user_error("{} holds a zero byte (byte {}): it is no text, or UTF-16; convert it to UTF-8", where,
               zero + 1);
}

std::string_view marked_encoding(std::string_view bytes) {
  if (bytes.starts_with(std::string_view("\xff\xfe\0\0", 4)) ||
      bytes.starts_with(std::string_view("\0\0\xfe\xff", 4)))
    return "UTF-32";
  if (bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff")) return "UTF-16";
  return "";
}

}  // namespace microdit::core
