// The ends of HTML's constructs, found once each.
#pragma once

#include <cstddef>
#include <string_view>

#include "text/character_classes.h"

namespace microdit::text {

/// A place, and the byte after it.
struct Found {
  std::size_t begin = std::string_view::npos, end = std::string_view::npos;
};

/// The first match at or after a position that only grows; what was found is kept until it is passed.
template <Found (*Search)(std::string_view, std::size_t)>
class Next {
 public:
  Found at(std::string_view text, std::size_t from) {
    if (!known_ || (found_.begin != std::string_view::npos && found_.begin < from))
      found_ = Search(text, from);
    known_ = true;
    return found_;
  }

 private:
  bool known_ = false;
  Found found_;
};

/// `mark`, white space, '>'; with `twice` the mark, white space and the mark again before it.
inline Found search_close(std::string_view text, std::size_t from, std::string_view mark, bool twice) {
  for (std::size_t i = from; (i = text.find(mark, i)) != std::string_view::npos; ++i) {
    std::size_t end = end_of<is_space>(text, i + mark.size());
    if (twice) {
      if (text.substr(end, mark.size()) != mark) continue;
      end = end_of<is_space>(text, end + mark.size());
    }
    if (end < text.size() && text[end] == '>') return {i, end + 1};
  }
  return {};
}
inline Found search_comment_close(std::string_view text, std::size_t from) {
  return search_close(text, from, "--", false);
}
inline Found search_section_close(std::string_view text, std::size_t from) {
  return search_close(text, from, "]", true);
}
inline Found search_office_close(std::string_view text, std::size_t from) {
  return search_close(text, from, "]", false);
}
template <char C>
inline Found search_byte(std::string_view text, std::size_t from) {
  const std::size_t at = text.find(C, from);
  return at == std::string_view::npos ? Found{} : Found{at, at + 1};
}

}  // namespace microdit::text
