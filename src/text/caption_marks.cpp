// Punctuation, quotes, dashes and white space of captions.
#include <algorithm>
#include <array>

#include "text/caption_rules.h"
#include "text/character_classes.h"
#include "text/rewrite.h"

namespace microdit::text {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

char byte_at(std::string_view text, std::size_t at) {
  return at < text.size() ? text[at] : '\0';
}

constexpr auto kAsciiMarks = [] {
  std::array<bool, 128> marks{};
  for (const char c : std::string_view("#&@~)(][}{|\\/*")) marks[static_cast<std::size_t>(c)] = true;
  return marks;
}();

}  // namespace

bool is_cjk(char32_t c) {
  return c >= 0x31C0 && c <= 0x9FFF;
}

bool is_dash(char32_t c) {
  if (c < 0x58A) return c == '-';
  if (c >= 0x2010 && c <= 0x2015) return true;
  constexpr std::u32string_view kOthers =
      U"\u058A\u05BE\u1400\u1806\u2E17\u2E1A\u2E3A\u2E3B\u2E40\u301C\u3030\u30A0\uFE31\uFE32\uFE58\uFE63"
      U"\uFF0D";
  return kOthers.find(c) != std::u32string_view::npos;
}

char quote_of(char32_t c) {
  switch (c) {
    case U'`':
    case 0xB4:
    case 0xAB:
    case 0xBB:
    case 0x201C:
    case 0x201D:
    case 0xA8:
      return '"';
    case 0x2018:
    case 0x2019:
      return '\'';
    default:
      return '\0';
  }
}

bool is_stray_mark(char32_t c) {
  if (c < 0x80) return kAsciiMarks[c];
  constexpr std::u32string_view kOthers =
      U"\u00AE\u2022\u00A9\u2122\u00B7\u00BA\u00BD\u00BE\u00BF\u00A1\u00A7";
  return (c < 0xC0 || c >= 0x2022) && kOthers.find(c) != std::u32string_view::npos;
}

namespace {

/// Every run of the class -> `with`; runs of less than `least` characters stay.
template <bool (*IsOfClass)(char32_t)>
void replace_runs(std::string& caption, std::string_view with, std::size_t least = 1) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (!IsOfClass(c.value)) {
      at += c.bytes;
      continue;
    }
    const std::size_t end = end_of<IsOfClass>(text, at);
    if (end - at >= least && text.substr(at, end - at) != with) rewrite.replace(at, end, with);
    at = end;
  }
}

bool is_quote(char c) {
  return c == '"' || c == '\'';
}
bool is_quote_point(char32_t c) {
  return c == '"' || c == '\'';
}
bool is_dot_point(char32_t c) {
  return c == '.';
}

void delete_literal(std::string& caption, std::string_view literal, char optional_end) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find(literal, at)) != kNone;) {
    std::size_t end = at + literal.size();
    if (optional_end != '\0' && byte_at(text, end) == optional_end) ++end;
    rewrite.replace(at, end, "");
    at = end;
  }
}

}  // namespace

void delete_handles(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find('@', at)) != kNone;) {
    const std::size_t end = end_of<is_word>(text, at + 1);
    if (end > at + 1) rewrite.replace(at, end, "");
    at = end;
  }
}

void delete_cjk(std::string& text) {
  replace_runs<is_cjk>(text, "");
}
void unify_dashes(std::string& text) {
  replace_runs<is_dash>(text, "-");
}

void unify_quotes(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (const char quote = quote_of(c.value)) rewrite.replace(at, at + c.bytes, {&quote, 1});
    at += c.bytes;
  }
}

void delete_quot_and_amp(std::string& text) {
  delete_literal(text, "&quot", ';');
  delete_literal(text, "&amp", '\0');
}

void blank_escaped_newlines(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find("\\n", at)) != kNone; at += 2) rewrite.replace(at, at + 2, " ");
}

void collapse_quotes(std::string& text) {
  replace_runs<is_quote_point>(text, "\"", 2);
}
void collapse_dots(std::string& text) {
  replace_runs<is_dot_point>(text, " ", 2);
}
void blank_punctuation(std::string& text) {
  replace_runs<is_stray_mark>(text, " ");
}
void collapse_spaces(std::string& text) {
  replace_runs<is_space>(text, " ");
}

void blank_lone_dots(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t dot = end_of<is_space>(text, at);
    if (dot == at) {
      at += code_point_at(text, at).bytes;
      continue;
    }
    const std::size_t end = byte_at(text, dot) == '.' ? end_of<is_space>(text, dot + 1) : dot;
    if (end > dot + 1) rewrite.replace(at, end, " ");
    at = end > dot + 1 ? end : dot;
  }
}

void blank_joined_words(std::string& text) {
  constexpr std::ptrdiff_t kLetJoined = 3;
  const auto joins = [](char c) { return c == '-' || c == '_'; };
  if (std::ranges::count_if(text, joins) > kLetJoined) std::ranges::replace_if(text, joins, ' ');
}

void tidy_colons(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t colon = end_of<is_space>(text, at);
    if (colon == at) {
      at += code_point_at(text, at).bytes;
      continue;
    }
    const std::size_t end = byte_at(text, colon) == ':' ? end_of<is_space>(text, colon + 1) : colon;
    const bool found = end > colon + 1 && word_before(text, at);
    if (found) rewrite.replace(at, end, ": ");
    at = found ? end : colon;
  }
}

void space_after_punctuation(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find_first_of(",./", at)) != kNone; ++at) {
    if (at == 0 || !word_at(text, at + 1) || is_digit(code_point_before(text, at).value)) continue;
    rewrite.replace(at + 1, at + 1, " ");
  }
}

void trim_ends(std::string& text) {
  if (text.size() > 2 && is_quote(text.front()) && is_quote(text.back()))
    text = text.substr(1, text.size() - 2);
  constexpr std::string_view kFirst = "'_,-:;", kLast = "'_,-:+";
  if (!text.empty() && kFirst.find(text.front()) != kNone) text.erase(0, 1);
  if (!text.empty() && kLast.find(text.back()) != kNone) text.pop_back();
  if (text.size() > 1 && text.front() == '.') {
    for (std::size_t at = 1; at < text.size(); at += code_point_at(text, at).bytes)
      if (length_at<is_space>(text, at) > 0) return;
    text.clear();
  }
}

}  // namespace microdit::text
