// What BeautifulSoup keeps of a document: which tags are open, and the strings that count as text.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace microdit::text {

/// Takes the parser's events in order. All of them together take linear time.
class HtmlTree {
 public:
  void data(std::string_view piece);
  void data(char32_t code_point);
  void open(std::string_view name, bool closes_itself);
  void close(std::string_view name);
  /// A comment, a declaration or an instruction: it ends the string before it and is no text itself.
  void end_string();
  /// CDATA is text, also where other strings are not.
  void cdata(std::string_view content);
  std::string take_text();

 private:
  struct Open {
    std::string name;
    bool hides, preserves;  ///< strings in it are no text; white space stays as it is
  };
  void append_string(bool hidden);
  void push(std::string_view name);
  void pop_to(const std::string& name);

  std::string text_, string_;
  bool has_string_ = false;  ///< an empty string is one too
  std::vector<Open> open_;
  std::unordered_map<std::string, std::size_t> num_open_;
  std::unordered_map<std::string, std::size_t>
      closed_already_;  ///< <br> and its like, whose </br> is still to come
  std::size_t hiding_ = 0, preserving_ = 0;
};

}  // namespace microdit::text
