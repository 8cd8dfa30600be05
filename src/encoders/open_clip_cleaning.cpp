// The parts are the library text's, equal to Python's.
#include "encoders/open_clip_cleaning.h"

#include "text/character_classes.h"
#include "text/fix_text.h"
#include "text/html_entities.h"
#include "text/unicode_forms.h"

namespace microdit::encoders {

std::string open_clip_clean(std::string_view text) {
  std::string fixed = text::fix_text(text);
  if (fixed.find('&') != fixed.npos) fixed = text::html_unescape(text::html_unescape(fixed));
  std::string out;
  out.reserve(fixed.size());
  for (std::size_t at = 0; at < fixed.size();) {
    const std::size_t begin = text::end_of<text::is_space>(fixed, at);
    at = begin;
    while (at < fixed.size() && text::length_at<text::is_space>(fixed, at) == 0)
      at += text::code_point_at(fixed, at).bytes;
    if (at > begin && !out.empty()) out += ' ';
    out.append(fixed, begin, at - begin);
  }
  return text::lower(out);
}

}  // namespace microdit::encoders
