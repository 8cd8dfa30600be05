// What Python 3.11's regular expressions and str methods call a word character, a digit, white space
// (Unicode 14.0.0).
#pragma once

#include <array>
#include <string_view>

#include "text/code_points.h"

namespace microdit::text {

bool is_word_beyond_ascii(char32_t c);
bool is_digit_beyond_ascii(char32_t c);
bool is_space_beyond_ascii(char32_t c);

namespace ascii {
enum : unsigned char { kWord = 1, kDigit = 2, kSpace = 4, kLetter = 8 };
inline constexpr auto kClasses = [] {
  std::array<unsigned char, 128> classes{};
  for (unsigned char c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 32u] = kWord | kLetter;
  for (unsigned char c = '0'; c <= '9'; ++c) classes[c] = kWord | kDigit;
  classes['_'] = kWord;
  for (const int c : {9, 10, 11, 12, 13, 28, 29, 30, 31, 32}) classes[static_cast<std::size_t>(c)] = kSpace;
  return classes;
}();
inline bool is(char32_t c, unsigned char which) {
  return c < 128 && (kClasses[c] & which) != 0;
}
}  // namespace ascii

/// \w
inline bool is_word(char32_t c) {
  return c < 128 ? ascii::is(c, ascii::kWord) : is_word_beyond_ascii(c);
}
/// \d
inline bool is_digit(char32_t c) {
  return c < 128 ? ascii::is(c, ascii::kDigit) : is_digit_beyond_ascii(c);
}
/// \s and str.isspace
inline bool is_space(char32_t c) {
  return c < 128 ? ascii::is(c, ascii::kSpace) : is_space_beyond_ascii(c);
}
/// [a-zA-Z]
inline bool is_letter(char32_t c) {
  return ascii::is(c, ascii::kLetter);
}

/// Bytes of the character at byte `at`; 0 at the end, or when it is not of the class.
template <bool (*IsOfClass)(char32_t)>
std::size_t length_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return 0;
  const CodePoint c = code_point_at(text, at);
  return IsOfClass(c.value) ? c.bytes : 0;
}
/// The byte after the run of the class that begins at byte `at`.
template <bool (*IsOfClass)(char32_t)>
std::size_t end_of(std::string_view text, std::size_t at) {
  while (const std::size_t bytes = length_at<IsOfClass>(text, at)) at += bytes;
  return at;
}

inline bool word_at(std::string_view text, std::size_t at) {
  return length_at<is_word>(text, at) > 0;
}
inline bool word_before(std::string_view text, std::size_t at) {
  return at > 0 && is_word(code_point_before(text, at).value);
}
/// \b
inline bool is_boundary(std::string_view text, std::size_t at) {
  return word_before(text, at) != word_at(text, at);
}

}  // namespace microdit::text
