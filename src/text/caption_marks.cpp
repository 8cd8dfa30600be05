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

/// The first bytes of the characters of a class, by which the others are passed over undecoded.
class FirstBytes {
 public:
  constexpr explicit FirstBytes(std::string_view bytes) {
    for (const char byte : bytes) has_[static_cast<unsigned char>(byte)] = true;
  }
  bool has(char byte) const { return has_[static_cast<unsigned char>(byte)]; }

 private:
  std::array<bool, 256> has_{};
};
constexpr FirstBytes kCjk("\xE3\xE4\xE5\xE6\xE7\xE8\xE9"), kDashes("-\xD6\xE1\xE2\xE3\xEF"),
    kQuotes("`\xC2\xE2"), kStraightQuotes("\"'"), kDot("."), kStrayMarks("#&@~)(][}{|\\/*\xC2\xE2"),
    kSpaces("\t\n\v\f\r\x1C\x1D\x1E\x1F \xC2\xE1\xE2\xE3");

/// Every run of the class -> `with`; runs of less than `least` characters stay.
template <bool (*IsOfClass)(char32_t)>
void replace_runs(std::string& caption, const FirstBytes& first, std::string_view with,
                  std::size_t least = 1) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; at < text.size();) {
    if (!first.has(text[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && first.has(text[end])) {
      const std::size_t bytes = length_at<IsOfClass>(text, end);
      if (bytes == 0) break;
      end += bytes;
    }
    if (end == at) {
      ++at;
      continue;
    }
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

/// Where the white space that ends at `at` begins, not before `from`.
std::size_t begin_of_spaces(std::string_view text, std::size_t at, std::size_t from) {
  while (at > from) {
    const CodePoint c = code_point_before(text, at);
    if (!is_space(c.value)) break;
    at -= c.bytes;
  }
  return at;
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
  replace_runs<is_cjk>(text, kCjk, "");
}
void unify_dashes(std::string& text) {
  replace_runs<is_dash>(text, kDashes, "-");
}

void unify_quotes(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; at < text.size();) {
    if (!kQuotes.has(text[at])) {
      ++at;
      continue;
    }
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
  replace_runs<is_quote_point>(text, kStraightQuotes, "\"", 2);
}
void collapse_dots(std::string& text) {
  replace_runs<is_dot_point>(text, kDot, " ", 2);
}
void blank_punctuation(std::string& text) {
  replace_runs<is_stray_mark>(text, kStrayMarks, " ");
}
void collapse_spaces(std::string& text) {
  replace_runs<is_space>(text, kSpaces, " ");
}

void blank_lone_dots(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t dot = 0; (dot = text.find('.', dot)) != kNone;) {
    const std::size_t begin = begin_of_spaces(text, dot, rewrite.done());
    const std::size_t end = end_of<is_space>(text, dot + 1);
    if (begin < dot && end > dot + 1) rewrite.replace(begin, end, " ");
    dot = end;
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
  for (std::size_t colon = 0; (colon = text.find(':', colon)) != kNone;) {
    const std::size_t begin = begin_of_spaces(text, colon, rewrite.done());
    const std::size_t end = end_of<is_space>(text, colon + 1);
    if (begin < colon && end > colon + 1 && word_before(text, begin)) rewrite.replace(begin, end, ": ");
    colon = end;
  }
}

void space_after_punctuation(std::string& caption) {
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 1; at < text.size(); ++at) {
    if ((text[at] != ',' && text[at] != '.' && text[at] != '/') || !word_at(text, at + 1) ||
        is_digit(code_point_before(text, at).value))
      continue;
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
