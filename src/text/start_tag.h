// Where a start tag ends: the tolerant rules of CPython 3.11.2's html.parser.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace microdit::text {

/// The next position of a byte of a fixed set, for questions that need not come in order: what lies between a question
/// and its answer is not searched twice.
class NextByte {
 public:
  NextByte(std::string_view text, std::string_view set) : text_(text), set_(set) {}
  /// text.size() when there is none at or after `from`.
  std::size_t at(std::size_t from) {
    if (from < from_ || from > found_) {
      from_ = from;
      found_ = text_.find_first_of(set_, from);
      if (found_ == std::string_view::npos) found_ = text_.size();
    }
    return found_;
  }

 private:
  std::string_view text_, set_;
  std::size_t from_ = 1, found_ = 0;  // nothing is known
};

/// Finds the ends of start tags of one text. All questions together take linear time.
class StartTags {
 public:
  explicit StartTags(std::string_view text);

  struct Tag {
    enum Kind { kUnfinished, kText, kOpens, kOpensAndCloses } kind;
    std::string_view name;  ///< as written
    std::size_t end;        ///< the byte after it
  };
  /// `at`: of '<', with a letter behind it. kText: no tag, and its bytes are text; kUnfinished: the input ends within.
  Tag read(std::size_t at);

 private:
  bool take_attribute(std::size_t& at);
  bool take_value(std::size_t& at);
  std::size_t end_of_word(std::size_t at, NextByte& ends) const;
  std::size_t skip_blank(std::size_t at, bool slash_before_end) const;

  std::string_view text_;
  NextByte name_end_, attribute_end_, value_end_, single_, double_;
  std::vector<bool> unfinished_;  ///< attributes that begin here run to the end of the text
};

}  // namespace microdit::text
