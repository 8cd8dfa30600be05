// CPython 3.11.2's html.parser, with convert_charrefs off, feeding BeautifulSoup's tree.
#include "text/html_text.h"

#include <algorithm>
#include <optional>

#include "text/character_classes.h"
#include "text/html_entities.h"
#include "text/html_search.h"
#include "text/html_tree.h"
#include "text/start_tag.h"

namespace microdit::text {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

bool is_alnum(unsigned char c) {
  return ascii::is(c, ascii::kLetter | ascii::kDigit);
}
char32_t byte_at(std::string_view text, std::size_t at) {
  return at < text.size() ? static_cast<unsigned char>(text[at]) : U'\0';
}
bool is_hex(char32_t c) {
  return ascii::is(c, ascii::kDigit) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
std::string ascii_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

class HtmlParser {
 public:
  explicit HtmlParser(std::string_view text) : text_(text), start_tags_(text) {}

  std::string run() {
    go_ahead(false);
    go_ahead(true);
    return tree_.take_text();
  }

 private:
  static constexpr std::size_t kUnfinished = kNone;

  void go_ahead(bool end);
  std::size_t markup(std::size_t at);
  bool number_reference();
  bool named_reference(bool end);
  std::size_t start_tag(std::size_t at);
  std::size_t end_tag(std::size_t at);
  std::size_t declaration(std::size_t at);
  std::size_t marked_section(std::size_t at);
  std::size_t up_to_greater(std::size_t from, bool ends_string);
  std::size_t end_of_raw_content() const;

  std::string_view text_;
  std::size_t at_ = 0;
  StartTags start_tags_;
  HtmlTree tree_;
  std::string raw_element_;  ///< script or style, whose content is read up to its own end tag
  Next<search_comment_close> comment_close_;
  Next<search_section_close> section_close_;
  Next<search_office_close> office_close_;
  Next<search_byte<'>'>> greater_, rest_greater_;
  Next<search_byte<'<'>> less_;
};

/// Where the end tag of the raw element begins; kNone when there is none.
std::size_t HtmlParser::end_of_raw_content() const {
  for (std::size_t i = at_; (i = text_.find("</", i)) != kNone; ++i) {
    const std::size_t name = end_of<is_space>(text_, i + 2);
    if (ascii_lower(text_.substr(name, raw_element_.size())) != raw_element_) continue;
    if (byte_at(text_, end_of<is_space>(text_, name + raw_element_.size())) == '>') return i;
  }
  return kNone;
}

/// One of the parser's two runs: what it leaves unfinished, the second one (`end`) takes as text.
void HtmlParser::go_ahead(bool end) {
  while (at_ < text_.size()) {
    std::size_t next = raw_element_.empty() ? text_.find_first_of("&<", at_) : end_of_raw_content();
    if (next == kNone) {
      if (!raw_element_.empty()) break;
      next = text_.size();
    }
    if (next > at_) tree_.data(text_.substr(at_, next - at_));
    at_ = next;
    if (at_ == text_.size()) break;
    if (text_[at_] == '&') {
      if (!(byte_at(text_, at_ + 1) == '#' ? number_reference() : named_reference(end))) break;
      continue;
    }
    std::size_t after = markup(at_);
    if (after == at_) break;
    if (after == kUnfinished) {
      if (!end) break;
      after = rest_greater_.at(text_, at_ + 1).end;
      if (after == kNone) after = less_.at(text_, at_ + 1).begin;
      if (after == kNone) after = at_ + 1;
      tree_.data(text_.substr(at_, after - at_));
    }
    at_ = after;
  }
  if (end && at_ < text_.size() && raw_element_.empty()) tree_.data(text_.substr(at_));
}

/// The byte after the construct at '<'; `at` itself when '<' is the last byte.
std::size_t HtmlParser::markup(std::size_t at) {
  const std::string_view rest = text_.substr(at);
  if (is_letter(byte_at(text_, at + 1))) return start_tag(at);
  if (rest.starts_with("</")) return end_tag(at);
  if (rest.starts_with("<!--")) {
    const Found close = comment_close_.at(text_, at + 4);
    if (close.begin == kNone) return kUnfinished;
    tree_.end_string();
    return close.end;
  }
  if (rest.starts_with("<?")) return up_to_greater(at + 2, true);
  if (rest.starts_with("<!")) return declaration(at);
  if (rest.size() == 1) return at;
  tree_.data("<");
  return at + 1;
}

/// "&#65;" at the parser's place; false: the rest of this run is not parsed.
bool HtmlParser::number_reference() {
  std::size_t i = at_ + 2;
  const bool hex = (byte_at(text_, i) | 0x20) == 'x';
  if (hex) ++i;
  const std::size_t first = i;
  std::uint32_t number = 0;
  for (; i < text_.size() && (hex ? is_hex(byte_at(text_, i)) : ascii::is(byte_at(text_, i), ascii::kDigit));
       ++i) {
    const std::uint32_t c = byte_at(text_, i);
    number = std::min<std::uint32_t>(number * (hex ? 16 : 10) + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10),
                                     0x110000);
  }
  if (i == first || i == text_.size() || is_hex(byte_at(text_, i))) {
    if (text_.find(';', at_) != kNone) {
      tree_.data(text_.substr(at_, 2));
      at_ += 2;
    }
    return false;
  }
  // Numbers below 256 are bytes of Windows-1252 where it has them.
  if (number >= 0x80 && number < 0xA0) {
    tree_.data(html_unescape("&#" + std::to_string(number) + ";"));
  } else {
    tree_.data(number > 0x10FFFF ? kReplacement : static_cast<char32_t>(number));
  }
  at_ = i + (text_[i] == ';' ? 1 : 0);
  return true;
}

/// "&name;" at the parser's place; false: the rest of this run is not parsed.
bool HtmlParser::named_reference(bool end) {
  const std::size_t first = at_ + 1;
  if (!is_letter(byte_at(text_, first))) {
    if (first >= text_.size()) return false;
    tree_.data("&");
    ++at_;
    return true;
  }
  std::size_t i = first + 1;
  while (i < text_.size() &&
         (is_alnum(static_cast<unsigned char>(text_[i])) || text_[i] == '-' || text_[i] == '.'))
    ++i;
  // A name is followed by something that is no letter or digit; at the end of the text it gives back '-' or '.'.
  if (i == text_.size()) {
    while (i > first && is_alnum(static_cast<unsigned char>(text_[i - 1]))) --i;
    if (i > first) --i;
    if (i == first) {
      if (end && text_.size() - at_ == 2) ++at_;  // the parser loses this ampersand
      return false;
    }
  }
  const std::string_view name = text_.substr(first, i - first);
  if (const Entity* entity = find_entity(name)) {
    tree_.data(entity->value);
  } else {
    tree_.data("&");
    tree_.data(name);
  }
  at_ = i + (text_[i] == ';' ? 1 : 0);
  return true;
}

std::size_t HtmlParser::start_tag(std::size_t at) {
  const StartTags::Tag tag = start_tags_.read(at);
  if (tag.kind == StartTags::Tag::kUnfinished) return kUnfinished;
  if (tag.kind == StartTags::Tag::kText) {
    tree_.data(text_.substr(at, tag.end - at));
    return tag.end;
  }
  tree_.open(tag.name, tag.kind == StartTags::Tag::kOpensAndCloses);
  if (tag.kind == StartTags::Tag::kOpens) {
    const std::string name = ascii_lower(tag.name);
    if (name == "script" || name == "style") raw_element_ = name;
  }
  return tag.end;
}

std::size_t HtmlParser::end_tag(std::size_t at) {
  const Found greater = greater_.at(text_, at + 1);
  if (greater.begin == kNone) return kUnfinished;
  // "</ name >" in full: only this ends a raw element.
  const std::size_t begin = end_of<is_space>(text_, at + 2);
  std::size_t i = begin;
  if (is_letter(byte_at(text_, i))) {
    while (i < text_.size() && (is_alnum(static_cast<unsigned char>(text_[i])) ||
                                std::string_view("-.:_").find(text_[i]) != kNone))
      ++i;
    if (byte_at(text_, end_of<is_space>(text_, i)) == '>') {
      tree_.close(text_.substr(begin, i - begin));
      raw_element_.clear();
      return greater.end;
    }
  }
  if (!is_letter(byte_at(text_, at + 2)))
    return text_.substr(at, 3) == "</>" ? at + 3 : up_to_greater(at + 2, true);
  const std::size_t name_end =
      std::min(text_.find_first_of(std::string_view("\t\n\r\f />\0", 8), at + 2), text_.size());
  std::size_t rest = name_end;
  for (;;) {
    if (const std::size_t bytes = length_at<is_space>(text_, rest)) {
      rest += bytes;
    } else if (byte_at(text_, rest) == '/' && byte_at(text_, rest + 1) != '>') {
      ++rest;
    } else {
      break;
    }
  }
  tree_.close(text_.substr(at + 2, name_end - at - 2));
  return text_.find('>', rest) + 1;  // there is one: greater.begin
}

/// An instruction, a declaration or what the standard calls a bogus comment.
std::size_t HtmlParser::up_to_greater(std::size_t from, bool ends_string) {
  const Found greater = greater_.at(text_, from);
  if (greater.begin == kNone) return kUnfinished;
  if (ends_string) tree_.end_string();
  return greater.end;
}

std::size_t HtmlParser::declaration(std::size_t at) {
  if (text_.substr(at, 3) == "<![") return marked_section(at);
  constexpr std::string_view kDoctype = "<!doctype";
  const bool doctype = ascii_lower(text_.substr(at, kDoctype.size())) == kDoctype;
  return up_to_greater(at + (doctype ? kDoctype.size() : 2), true);
}

/// <![CDATA[ ... ]]>, and the office's <![if ...]>.
std::size_t HtmlParser::marked_section(std::size_t at) {
  const std::size_t begin = at + 3;
  std::size_t i = begin;
  if (is_letter(byte_at(text_, i)))
    while (i < text_.size() && (is_alnum(static_cast<unsigned char>(text_[i])) ||
                                std::string_view("-_.").find(text_[i]) != kNone))
      ++i;
  const std::string name = ascii_lower(text_.substr(begin, i - begin));
  if (end_of<is_space>(text_, i) == text_.size()) return kUnfinished;
  constexpr std::string_view kStandard[] = {"temp", "cdata", "ignore", "include", "rcdata"};
  constexpr std::string_view kOffice[] = {"if", "else", "endif"};
  Found close;
  if (std::ranges::find(kStandard, name) != std::end(kStandard)) {
    close = section_close_.at(text_, begin);
  } else if (std::ranges::find(kOffice, name) != std::end(kOffice)) {
    close = office_close_.at(text_, begin);
  }
  if (close.begin == kNone) return kUnfinished;
  const std::string_view content = text_.substr(begin, close.begin - begin);
  constexpr std::string_view kCdata = "cdata[";
  if (ascii_lower(content.substr(0, kCdata.size())) == kCdata) {
    tree_.cdata(content.substr(kCdata.size()));
  } else {
    tree_.end_string();
  }
  return close.end;
}

}  // namespace

std::string html_text(std::string_view text) {
  return HtmlParser(text).run();
}

}  // namespace microdit::text
