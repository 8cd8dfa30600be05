// Line by line, each until nothing changes.
#include "text/fix_text.h"

#include <algorithm>
#include <array>

#include "text/character_classes.h"
#include "text/fix_encoding.h"
#include "text/html_entities.h"
#include "text/unicode_forms.h"

namespace microdit::text {
namespace {

constexpr char32_t kFirstPlain = 0x132;             // the first character that stands for plain ones
constexpr std::size_t kLongestSegment = 1'000'000;  // code points

/// The letters of a Latin ligature or digraph; empty when it is none.
std::u32string_view ligature_of(char32_t c) {
  switch (c) {
    case 0x132:
      return U"IJ";
    case 0x133:
      return U"ij";
    case 0x149:
      return U"\u02BCn";
    case 0x1C4:
      return U"D\u017D";
    case 0x1C5:
      return U"D\u017E";
    case 0x1C6:
      return U"d\u017E";
    case 0x1C7:
      return U"LJ";
    case 0x1C8:
      return U"Lj";
    case 0x1C9:
      return U"lj";
    case 0x1CA:
      return U"NJ";
    case 0x1CB:
      return U"Nj";
    case 0x1CC:
      return U"nj";
    case 0x1F1:
      return U"DZ";
    case 0x1F2:
      return U"Dz";
    case 0x1F3:
      return U"dz";
    case 0xFB00:
      return U"ff";
    case 0xFB01:
      return U"fi";
    case 0xFB02:
      return U"fl";
    case 0xFB03:
      return U"ffi";
    case 0xFB04:
      return U"ffl";
    case 0xFB05:
      return U"\u017Ft";
    case 0xFB06:
      return U"st";
    default:
      return {};
  }
}

/// Curly quotes straight.
char32_t straight(char32_t c) {
  if (c >= 0x201C && c <= 0x201F) return '"';
  return c == 0x2BC || (c >= 0x2018 && c <= 0x201B) ? U'\'' : c;
}

/// Whether with_plain_characters may change it.
constexpr bool may_be_plain(char32_t c) {
  const auto within = [c](char32_t first, char32_t last) { return c - first <= last - first; };
  return within(kFirstPlain, 0x1F3) || c == 0x2BC || within(0x2018, 0x201F) || c == 0x3000 ||
         within(0xFB00, 0xFB06) || within(0xFF01, 0xFFEF);
}

/// Ligatures, halfwidth and fullwidth forms, quotes.
std::u32string with_plain_characters(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (!may_be_plain(c)) continue;
    out.append(text, done, i - done);
    done = i + 1;
    if (const std::u32string_view letters = ligature_of(c); !letters.empty()) {
      for (const char32_t letter : letters) out += straight(letter);
    } else if (c == 0x3000) {
      out += U' ';
    } else if (c >= 0xFF01 && c <= 0xFFEF) {
      out += nfkc(c);
    } else {
      out += straight(c);
    }
  }
  return out.append(text, done);
}

constexpr bool is_removed_control(char32_t c) {
  return c < 0x09 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F || (c >= 0x206A && c <= 0x206F) ||
         c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}
constexpr bool is_line_break(char32_t c) {
  return c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85;
}

/// Line breaks, and surrogates in pairs or alone.
std::u32string with_plain_breaks(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i], next = i + 1 < text.size() ? text[i + 1] : U'\0';
    if (c == '\r' && next == '\n') continue;
    if (is_line_break(c)) {
      out += U'\n';
    } else if (!is_surrogate(c)) {
      out += c;
    } else if (c < 0xDC00 && next >= 0xDC00 && next <= 0xDFFF) {
      out += 0x10000 + ((c - 0xD800) << 10) + (next - 0xDC00);
      ++i;
    } else {
      out += kReplacement;
    }
  }
  return out;
}

/// Without a terminal's escape sequences (ESC [ numbers letter) and without control characters.
std::u32string without_controls(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == 0x1B && i + 1 < text.size() && text[i + 1] == '[') {
      std::size_t end = i + 2;
      while (end < text.size() && (text[end] == ';' || is_digit(text[end]))) ++end;
      if (end < text.size() && is_letter(text[end])) {
        i = end;
        continue;
      }
    }
    if (!is_removed_control(text[i])) out += text[i];
  }
  return out;
}

/// What there is to do for a character behind the repair of the encoding.
enum : unsigned { kC1 = 1, kMayBePlain = 2, kMayCompose = 4, kBreak = 8, kControl = 16 };
constexpr unsigned work_of(char32_t c) {
  return (c >= 0x80 && c < 0xA0 ? kC1 : 0u) | (may_be_plain(c) ? kMayBePlain : 0u) |
         (c >= kFirstPlain ? kMayCompose : 0u) | (is_line_break(c) || is_surrogate(c) ? kBreak : 0u) |
         (is_removed_control(c) ? kControl : 0u);
}

unsigned work_of(std::u32string_view text) {
  static constexpr auto kWork = [] {
    std::array<unsigned char, 0x2200> table{};  // most characters of captions
    for (char32_t c = 0; c < table.size(); ++c) table[c] = static_cast<unsigned char>(work_of(c));
    return table;
  }();
  unsigned work = 0;
  for (const char32_t c : text) work |= c < kWork.size() ? kWork[c] : work_of(c);
  return work;
}

bool replace(std::u32string& text, std::u32string with) {
  const bool changed = !std::equal(text.begin(), text.end(), with.begin(), with.end());
  text = std::move(with);
  return changed;
}

/// Everything behind the repair of the encoding; whether anything changed.
bool fix_characters(std::u32string& text) {
  unsigned work = work_of(text);
  bool changed = (work & kC1) && fix_c1_controls(text);
  if (changed) work = work_of(text);
  if (work & kMayBePlain) changed |= replace(text, with_plain_characters(text));
  if (work & kBreak) changed |= replace(text, with_plain_breaks(text));
  if (work & kControl) changed |= replace(text, without_controls(text));
  if (work & kMayCompose) changed |= replace(text, nfc(text));
  return changed;
}

/// One round of all steps; whether another one may change more.
bool fix_once(std::u32string& text, bool unescape, RepairBudget& budget) {
  const auto refers = [&] { return unescape && text.find(U'&') != std::u32string::npos; };
  bool changed = refers() && replace(text, to_utf32(unescape_clear_entities(to_utf8(text))));
  changed |= fix_encoding(text, budget);
  return fix_characters(text) || (changed && refers());
}

/// ASCII in which nothing is to be done.
bool is_fine(std::string_view segment, bool unescape) {
  return std::ranges::all_of(segment, [&](char byte) {
    const auto c = static_cast<unsigned char>(byte);
    return c < 0x7F && (c >= 0x20 || c == '\t' || c == '\n' || c == '\f') && !(unescape && c == '&');
  });
}

std::string fix_segment(std::string_view segment, bool unescape, RepairBudget& budget) {
  if (is_fine(segment, unescape)) return std::string(segment);
  std::u32string text = to_utf32(segment);
  while (fix_once(text, unescape, budget) && budget.take(text.size())) {
  }
  return to_utf8(text);
}

/// The end of the segment that begins at `from`: behind its line break, or where it is too long.
std::size_t end_of_segment(std::string_view text, std::size_t from) {
  const std::size_t line_break = text.find('\n', from);
  const std::size_t end = line_break == std::string_view::npos ? text.size() : line_break + 1;
  if (end - from <= kLongestSegment) return end;
  std::size_t at = from;
  for (std::size_t count = 0; count < kLongestSegment && at < end; ++count)
    at += code_point_at(text, at).bytes;
  return at;
}

}  // namespace

std::string fix_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  RepairBudget budget;   // of all its lines
  bool unescape = true;  // until what looks like markup is met
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = end_of_segment(text, at);
    const std::string_view segment = text.substr(at, end - at);
    unescape = unescape && segment.find('<') == std::string_view::npos;
    out += fix_segment(segment, unescape, budget);
    at = end;
  }
  return out;
}

}  // namespace microdit::text
