// BeautifulSoup's rules for strings and open tags.
#include "text/html_tree.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/code_points.h"
#include "text/unicode_forms.h"

namespace microdit::text {
namespace {

constexpr std::array<std::string_view, 24> kEmptyElements = {
    "area",     "base", "basefont", "bgsound", "br",     "col",     "command", "embed",
    "frame",    "hr",   "image",    "img",     "input",  "isindex", "keygen",  "link",
    "menuitem", "meta", "nextid",   "param",   "source", "spacer",  "track",   "wbr"};
constexpr std::array<std::string_view, 5> kNoText = {"script", "style", "template", "rt", "rp"};
constexpr std::array<std::string_view, 2> kPreserving = {"pre", "textarea"};

bool is_one_of(std::string_view name, const auto& names) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

void HtmlTree::data(std::string_view piece) {
  string_ += piece;
  has_string_ = true;
}

void HtmlTree::data(char32_t code_point) {
  append(string_, code_point);
  has_string_ = true;
}

/// White space alone becomes one line break or one space.
void HtmlTree::append_string(bool hidden) {
  if (!has_string_) return;
  if (!hidden) {
    const bool blank = string_.find_first_not_of(" \n\t\f\r") == std::string::npos;
    if (!blank || preserving_ > 0) {
      text_ += string_;
    } else {
      text_ += string_.find('\n') != std::string::npos ? '\n' : ' ';
    }
  }
  string_.clear();
  has_string_ = false;
}

void HtmlTree::end_string() {
  append_string(hiding_ > 0);
}

void HtmlTree::cdata(std::string_view content) {
  end_string();
  data(content);
  append_string(false);
}

void HtmlTree::push(std::string_view name) {
  Open tag{std::string(name), is_one_of(name, kNoText), is_one_of(name, kPreserving)};
  hiding_ += tag.hides ? 1 : 0;
  preserving_ += tag.preserves ? 1 : 0;
  ++num_open_[tag.name];
  open_.push_back(std::move(tag));
}

void HtmlTree::pop_to(const std::string& name) {
  const auto found = num_open_.find(name);
  if (found == num_open_.end()) return;
  while (found->second > 0) {
    const Open tag = std::move(open_.back());
    open_.pop_back();
    hiding_ -= tag.hides ? 1 : 0;
    preserving_ -= tag.preserves ? 1 : 0;
    --num_open_[tag.name];
    if (tag.name == name) break;
  }
}

void HtmlTree::open(std::string_view written, bool closes_itself) {
  end_string();
  const std::string name = lower(written);
  push(name);
  if (closes_itself) {
    close(name);
  } else if (is_one_of(std::string_view(name), kEmptyElements)) {
    pop_to(name);
    ++closed_already_[name];
  }
}

void HtmlTree::close(std::string_view written) {
  const std::string name = lower(written);
  if (const auto found = closed_already_.find(name); found != closed_already_.end() && found->second > 0) {
    --found->second;
    return;
  }
  end_string();
  pop_to(name);
}

std::string HtmlTree::take_text() {
  end_string();
  return std::move(text_);
}

}  // namespace microdit::text
