// The classes beyond ASCII, from tables of Unicode 14.0.0.
#include "text/character_classes.h"

#include <algorithm>
#include <bitset>
#include <memory>
#include <span>

#include "text/strip.h"

namespace microdit::text {
namespace {

struct Range {
  char32_t first, last;
};
constexpr Range kWordRanges[] = {
#include "text/word_ranges.inc"
};
constexpr Range kDigitRanges[] = {
#include "text/digit_ranges.inc"
};

using Set = std::bitset<0x110000>;

std::unique_ptr<const Set> make_set(std::span<const Range> ranges) {
  auto set = std::make_unique<Set>();
  for (const Range& range : ranges)
    for (char32_t c = range.first; c <= range.last; ++c) set->set(c);
  return set;
}

}  // namespace

bool is_word_beyond_ascii(char32_t c) {
  static const std::unique_ptr<const Set> kWords = make_set(kWordRanges);
  return (*kWords)[c];
}

bool is_digit_beyond_ascii(char32_t c) {
  if (c < 0x660) return false;
  static const std::unique_ptr<const Set> kDigits = make_set(kDigitRanges);
  return (*kDigits)[c];
}

bool is_space_beyond_ascii(char32_t c) {
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

namespace {

/// White space that is really written so: of other bytes than UTF-8 none is.
bool is_written_space(const CodePoint& c, std::string_view bytes) {
  if (!is_space(c.value)) return false;
  std::string written;
  append(written, c.value);
  return written == bytes;
}

}  // namespace

std::string_view strip(std::string_view text) {
  while (!text.empty()) {
    const CodePoint first = code_point_at(text, 0);
    if (!is_written_space(first, text.substr(0, first.bytes))) break;
    text.remove_prefix(first.bytes);
  }
  while (!text.empty()) {
    const CodePoint last = code_point_before(text, text.size());
    if (!is_written_space(last, text.substr(text.size() - last.bytes))) break;
    text.remove_suffix(last.bytes);
  }
  return text;
}

}  // namespace microdit::text
