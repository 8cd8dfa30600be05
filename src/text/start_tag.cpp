// The attributes of a start tag, one by one.
#include "text/start_tag.h"

#include "text/character_classes.h"
#include "text/strip.h"

namespace microdit::text {
namespace {

// Attribute names and bare values end at Unicode white space as well: its lead bytes stop the fast search.
constexpr std::string_view kBlankLeads = "\t\n\v\f\r\x1c\x1d\x1e\x1f \xc2\xe1\xe2\xe3";

constexpr std::string_view kNameEnds("\t\n\r\f />\0", 8);
constexpr std::string_view kAttributeEnds = "/=>\t\n\v\f\r\x1c\x1d\x1e\x1f \xc2\xe1\xe2\xe3";
constexpr std::string_view kValueEnds = ">\t\n\v\f\r\x1c\x1d\x1e\x1f \xc2\xe1\xe2\xe3";
static_assert(kAttributeEnds.substr(3) == kBlankLeads && kValueEnds.substr(1) == kBlankLeads);

}  // namespace

StartTags::StartTags(std::string_view text)
    : text_(text),
      name_end_(text, kNameEnds),
      attribute_end_(text, kAttributeEnds),
      value_end_(text, kValueEnds),
      single_(text, "'"),
      double_(text, "\"") {}

/// The end of a run without the bytes of `ends` and without white space.
std::size_t StartTags::end_of_word(std::size_t at, NextByte& ends) const {
  for (;;) {
    at = ends.at(at);
    if (at == text_.size() || is_ascii_byte(text_[at]) || length_at<is_space>(text_, at) > 0) return at;
    at += code_point_at(text_, at).bytes;
  }
}

/// The end of a run of white space and slashes; a slash before '>' belongs to it only if `slash_before_end`.
std::size_t StartTags::skip_blank(std::size_t at, bool slash_before_end) const {
  for (;;) {
    if (at < text_.size() && text_[at] == '/' &&
        (slash_before_end || at + 1 >= text_.size() || text_[at + 1] != '>')) {
      ++at;
    } else if (const std::size_t bytes = length_at<is_space>(text_, at)) {
      at += bytes;
    } else {
      return at;
    }
  }
}

/// "= value" with its white space; false, with `at` untouched, when there is none.
bool StartTags::take_value(std::size_t& at) {
  const std::size_t sign = end_of<is_space>(text_, at);
  std::size_t value = sign;
  while (value < text_.size() && text_[value] == '=') ++value;
  if (value == sign) return false;
  const std::size_t signs_end = value;
  value = end_of<is_space>(text_, value);
  const char quote = value < text_.size() ? text_[value] : '\0';
  if (quote == '\'' || quote == '"') {
    const std::size_t close = (quote == '"' ? double_ : single_).at(value + 1);
    if (close < text_.size()) {
      at = close + 1;
      return true;
    }
    // A quote that never closes: the value is empty if white space stands before it, or begins with the last of several '='.
    if (value > signs_end) {
      at = value - code_point_before(text_, value).bytes;
      return true;
    }
    if (signs_end - sign < 2) return false;
    value = signs_end - 1;
  }
  at = end_of_word(value, value_end_);
  return true;
}

/// One attribute, its value and what blank follows; false when none begins at `at`.
bool StartTags::take_attribute(std::size_t& at) {
  if (at == 0 || at >= text_.size()) return false;
  const char32_t before = code_point_before(text_, at).value;
  if (before != '\'' && before != '"' && before != '/' && !is_space(before)) return false;
  const CodePoint first = code_point_at(text_, at);
  if (first.value == '/' || first.value == '>' || is_space(first.value)) return false;
  at = end_of_word(at + first.bytes, attribute_end_);
  take_value(at);
  at = skip_blank(at, false);
  return true;
}

StartTags::Tag StartTags::read(std::size_t start) {
  const std::size_t name_end = name_end_.at(start + 1);
  const std::string_view name = text_.substr(start + 1, name_end - start - 1);
  const Tag unfinished{Tag::kUnfinished, name, start};
  const std::size_t own_begin = skip_blank(name_end, false);  // of what is left when no attribute follows
  std::size_t at = skip_blank(name_end, true);
  std::vector<std::size_t> visited;
  bool any = false, known = false;
  for (;;) {
    if (!unfinished_.empty() && unfinished_[at]) {
      known = true;
      break;
    }
    visited.push_back(at);
    if (!take_attribute(at)) break;
    any = true;
  }
  const std::size_t rest = any ? at : own_begin;
  at = end_of<is_space>(text_, at);
  const char next = at < text_.size() ? text_[at] : '\0';
  const bool self_closing = text_.substr(at, 2) == "/>";
  if (known || at >= text_.size() || next == '=' || is_letter(static_cast<unsigned char>(next)) ||
      (next == '/' && !self_closing)) {
    if (unfinished_.empty()) unfinished_.resize(text_.size() + 1);
    for (const std::size_t position : visited) unfinished_[position] = true;
    return unfinished;
  }
  if (next != '>' && !self_closing) return {Tag::kText, name, at > start ? at : start + 1};
  const std::size_t end = at + (self_closing ? 2 : 1);
  const std::string_view tail = strip(text_.substr(std::min(rest, end), end - std::min(rest, end)));
  if (tail != ">" && tail != "/>") return {Tag::kText, name, end};
  return {tail == ">" ? Tag::kOpens : Tag::kOpensAndCloses, name, end};
}

}  // namespace microdit::text
