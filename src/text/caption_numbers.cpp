// Addresses, times, codes and sizes made of digits.
#include <algorithm>

#include "text/caption_rules.h"
#include "text/character_classes.h"
#include "text/rewrite.h"
#include "text/strip.h"

namespace microdit::text {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

char byte_at(std::string_view text, std::size_t at) {
  return at < text.size() ? text[at] : '\0';
}

/// A run of digits: its end, and how many they are.
struct Digits {
  std::size_t end, count;
};
Digits digits_at(std::string_view text, std::size_t at) {
  Digits digits{at, 0};
  for (; const std::size_t bytes = length_at<is_digit>(text, digits.end); ++digits.count) digits.end += bytes;
  return digits;
}

/// Four groups of one to three digits joined by dots, the last of which may be part of a longer run: its end, or kNone.
std::size_t end_of_ip_address(std::string_view text, std::size_t at) {
  for (int group = 0; group < 3; ++group) {
    const Digits digits = digits_at(text, at);
    if (digits.count == 0 || digits.count > 3 || byte_at(text, digits.end) != '.') return kNone;
    at = digits.end + 1;
  }
  std::size_t end = at;
  for (int i = 0; i < 3; ++i) end += length_at<is_digit>(text, end);
  return end > at ? end : kNone;
}

/// The end of one or two numbers around a dot, as \d+\.?\d* takes it.
std::size_t end_of_number(std::string_view text, std::size_t at) {
  const std::size_t whole = digits_at(text, at).end;
  if (whole == at || byte_at(text, whole) != '.') return whole;
  return digits_at(text, whole + 1).end;
}

/// The end of \d+\.?\d*\b; kNone when there is none. What the greedy reading cannot end at a boundary it gives back: first the digits
/// behind the dot, then the dot.
std::size_t end_of_last_number(std::string_view text, std::size_t at) {
  const std::size_t whole = digits_at(text, at).end;
  if (whole == at) return kNone;
  if (byte_at(text, whole) == '.') {
    const std::size_t end = digits_at(text, whole + 1).end;
    if (is_boundary(text, end)) return end;
    if (is_boundary(text, whole + 1)) return whole + 1;
  }
  return is_boundary(text, whole) ? whole : kNone;
}

/// Bytes of x, х (Cyrillic) or × at `at`.
std::size_t times_at(std::string_view text, std::size_t at) {
  if (byte_at(text, at) == 'x') return 1;
  const std::string_view sign = text.substr(std::min(at, text.size()), 2);
  return sign == "\u0445" || sign == "\u00D7" ? 2 : 0;
}

/// A word's letters and digits by runs: at most this many runs are told apart.
struct Shape {
  static constexpr int kMost = 5;
  bool only_letters_and_digits = true, starts_with_digit = false;
  int runs = 0;
  std::size_t first_count = 0, second_count = 0;
};
Shape shape_of(std::string_view word) {
  Shape shape;
  bool in_digits = false;
  for (std::size_t at = 0; at < word.size();) {
    const CodePoint c = code_point_at(word, at);
    const bool digit = is_digit(c.value);
    if (!digit && !is_letter(c.value)) {
      shape.only_letters_and_digits = false;
      break;
    }
    if (at == 0) shape.starts_with_digit = digit;
    if ((at == 0 || digit != in_digits) && shape.runs < Shape::kMost) ++shape.runs;
    if (shape.runs == 1) ++shape.first_count;
    if (shape.runs == 2) ++shape.second_count;
    in_digits = digit;
    at += c.bytes;
  }
  return shape;
}

bool is_code(const Shape& shape) {
  if (!shape.only_letters_and_digits) return false;
  if (shape.runs == 3) return true;  // ab12cd, 12ab34
  return shape.runs == 2 && !shape.starts_with_digit && shape.first_count <= 3 && shape.second_count >= 3 &&
         shape.second_count <= 15;
}

bool is_mixed_code(const Shape& shape) {
  return shape.only_letters_and_digits && shape.runs - (shape.starts_with_digit ? 1 : 0) >= 4;
}

/// Where the next digit is; text.size() when there is none.
std::size_t find_digit(std::string_view text, std::size_t at) {
  constexpr unsigned char kFirstBeyondAscii = 0xD9;  // of U+0660
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (ascii::is(byte, ascii::kDigit)) break;
    if (byte >= kFirstBeyondAscii && length_at<is_digit>(text, at) > 0) break;
  }
  return at;
}

/// Every word with a digit that `is_such(word)` -> `with`.
template <class IsSuch>
void replace_words(std::string& caption, std::string_view with, const IsSuch& is_such) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  std::size_t end = 0;  // of the last word
  for (std::size_t digit; (digit = find_digit(text, end)) < text.size();) {
    std::size_t begin = digit;
    while (begin > end && word_before(text, begin)) begin -= code_point_before(text, begin).bytes;
    end = end_of<is_word>(text, digit);
    if (is_such(text.substr(begin, end - begin))) rewrite.replace(begin, end, with);
  }
}

}  // namespace

void blank_ip_addresses(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = find_digit(text, at)) < text.size();) {
    const Digits digits = digits_at(text, at);
    // Of a longer run the last three digits can begin an address.
    std::size_t end = kNone;
    for (std::size_t left = digits.count; left > 0 && end == kNone; --left) {
      if (left <= 3) end = end_of_ip_address(text, at);
      if (end == kNone) at += length_at<is_digit>(text, at);
    }
    if (end == kNone) continue;
    rewrite.replace(at, end, " ");
    at = end;
  }
}

void delete_final_time(std::string& text) {
  const std::string_view kept = strip(text);
  std::size_t at = static_cast<std::size_t>(kept.data() - text.data()) + kept.size();
  if (kept.empty() || at == text.size()) return;
  const auto step_back = [&](bool (*wanted)(char32_t)) {
    if (at == 0) return false;
    const CodePoint c = code_point_before(text, at);
    at -= c.bytes;
    return wanted(c.value);
  };
  constexpr auto is_colon = [](char32_t c) { return c == ':'; };
  if (step_back(is_digit) && step_back(is_digit) && step_back(is_colon) && step_back(is_digit))
    text.erase(at);
}

void delete_numbered_tags(std::string& caption) {
  const auto pass = [&](bool few) {
    Rewrite rewrite(caption);
    const std::string_view text = rewrite.text();
    for (std::size_t at = 0; (at = text.find('#', at)) != kNone;) {
      const Digits digits = digits_at(text, at + 1);
      const bool counts = few ? digits.count >= 1 && digits.count <= 3 : digits.count >= 5;
      if (counts && !word_at(text, digits.end)) rewrite.replace(at, digits.end, "");
      at = digits.end;
    }
  };
  pass(true);
  pass(false);
}

void delete_long_numbers(std::string& caption) {
  replace_words(caption, "", [](std::string_view word) {
    constexpr std::size_t kLong = 6;
    if (word.size() < kLong) return false;
    const Digits digits = digits_at(word, 0);
    return digits.end == word.size() && digits.count >= kLong;
  });
}

void delete_codes(std::string& text) {
  replace_words(text, "", [](std::string_view word) { return is_code(shape_of(word)); });
}
void blank_mixed_codes(std::string& text) {
  replace_words(text, " ", [](std::string_view word) { return is_mixed_code(shape_of(word)); });
}

void delete_sizes(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = find_digit(text, at)) < text.size();) {
    const Digits digits = digits_at(text, at);
    std::size_t end = kNone;
    if (is_boundary(text, at)) {
      const std::size_t sign = end_of_number(text, at);
      const std::size_t bytes = times_at(text, sign);
      if (bytes > 0) end = end_of_last_number(text, sign + bytes);
    }
    if (end != kNone) rewrite.replace(at, end, "");
    at = end != kNone ? end : digits.end;
  }
}

}  // namespace microdit::text
