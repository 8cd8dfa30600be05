// Percent decoding as in Python 3.11.
#include "text/percent.h"

#include <algorithm>

#include "text/code_points.h"

namespace microdit::text {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::string percent_decoded(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = high < 0 ? -1 : hex_value(text[i + 2]);
    if (low < 0) {
      bytes += text[i];
    } else {
      bytes += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return bytes;
}

/// The bytes of the longest beginning of a UTF-8 sequence at `i`, and whether the sequence is whole.
struct Sequence {
  std::size_t bytes;
  bool whole;
};
Sequence sequence_at(std::string_view bytes, std::size_t i) {
  const auto at = [&](std::size_t k) {
    return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u;
  };
  const unsigned lead = at(0);
  if (lead < 0x80) return {1, true};
  const std::size_t length = lead >= 0xc2 && lead < 0xe0   ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
  if (length == 0) return {1, false};
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (std::size_t k = 1; k < length; ++k)
    if (at(k) < (k == 1 ? low : 0x80) || at(k) > (k == 1 ? high : 0xbf)) return {k, false};
  return {length, true};
}

void append_decoded(std::string& out, std::string_view ascii) {
  const std::string bytes = percent_decoded(ascii);
  for (std::size_t i = 0; i < bytes.size();) {
    const Sequence sequence = sequence_at(bytes, i);
    if (sequence.whole) {
      out.append(bytes, i, sequence.bytes);
    } else {
      append(out, kReplacement);
    }
    i += sequence.bytes;
  }
}

}  // namespace

std::string unquote_plus(std::string_view given) {
  std::string text(given);
  std::ranges::replace(text, '+', ' ');
  if (text.find('%') == std::string::npos) return text;
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    const bool ascii = is_ascii_byte(text[i]);
    while (end < text.size() && is_ascii_byte(text[end]) == ascii) ++end;
    const std::string_view run = std::string_view(text).substr(i, end - i);
    if (ascii) {
      append_decoded(out, run);
    } else {
      out += run;
    }
    i = end;
  }
  return out;
}

}  // namespace microdit::text
