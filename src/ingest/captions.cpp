// Caption cleaning, and what a caption must be before it.
#include "ingest/captions.h"

#include <algorithm>

namespace microdit::ingest {
namespace {

bool is_space(unsigned char c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
}

/// Bytes of the white space that `text` begins with (`end` = false) or ends with; 0 when there is none.
std::size_t blank(std::string_view text, bool end) {
  if (text.empty()) return 0;
  if (is_space(static_cast<unsigned char>(end ? text.back() : text.front()))) return 1;
  // U+0085, U+00A0, U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000
  static constexpr std::string_view kTwo[] = {"\xc2\x85", "\xc2\xa0"};
  static constexpr std::string_view kThree[] = {"\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9",
                                                "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
  const auto is_at = [&](std::string_view form) {
    return end ? text.ends_with(form) : text.starts_with(form);
  };
  if (std::ranges::any_of(kTwo, is_at)) return 2;
  if (std::ranges::any_of(kThree, is_at)) return 3;
  if (text.size() < 3) return 0;
  const std::string_view part = end ? text.substr(text.size() - 3) : text.substr(0, 3);
  return part.starts_with("\xe2\x80") && static_cast<unsigned char>(part[2]) <= 0x8a ? 3 : 0;
}

/// "<person>" -> "person", in one pass.
std::string without_brackets(std::string_view text) {
  constexpr std::string_view kPerson = "<person>";
  std::string out;
  out.reserve(text.size());
  for (std::size_t at; (at = text.find(kPerson)) != std::string_view::npos;
       text.remove_prefix(at + kPerson.size())) {
    out.append(text.substr(0, at)).append("person");
  }
  return out.append(text);
}

}  // namespace

std::string clean_caption(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool blank = is_space(byte) || byte < 0x20 || byte == 0x7f;
    if (!blank) {
      lower += byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : c;
    } else if (!lower.empty() && lower.back() != ' ') {
      lower += ' ';
    }
  }
  return strip(without_brackets(lower));
}

std::string strip(std::string_view text) {
  while (const std::size_t bytes = blank(text, false)) text.remove_prefix(bytes);
  while (const std::size_t bytes = blank(text, true)) text.remove_suffix(bytes);
  return std::string(text);
}

}  // namespace microdit::ingest
