// Replacing pieces of a text from left to right, as one regular expression's sub() does.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

/// The text is copied from the first replacement on only. Positions are of the text as it was given.
class Rewrite {
 public:
  explicit Rewrite(std::string& text) : text_(text) {}
  Rewrite(const Rewrite&) = delete;
  Rewrite& operator=(const Rewrite&) = delete;
  /// The rest, behind the last replacement, is kept.
  ~Rewrite() {
    if (!changed_) return;
    out_.append(text_, done_);
    text_.swap(out_);
  }

  /// begin >= done()
  void replace(std::size_t begin, std::size_t end, std::string_view with) {
    if (!changed_) out_.reserve(text_.size() + with.size());
    changed_ = true;
    out_.append(text_, done_, begin - done_).append(with);
    done_ = end;
  }
  std::string_view text() const { return text_; }
  std::size_t done() const { return done_; }

 private:
  std::string& text_;
  std::string out_;
  std::size_t done_ = 0;
  bool changed_ = false;
};

}  // namespace microdit::text
