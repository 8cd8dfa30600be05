// The order of the passes. A pass whose needed character is absent is left out.
#include "text/caption_processor.h"

#include <array>

#include "core/utf8.h"
#include "text/caption_rules.h"
#include "text/character_classes.h"
#include "text/fix_text.h"
#include "text/html_entities.h"
#include "text/html_text.h"
#include "text/percent.h"
#include "text/rewrite.h"
#include "text/strip.h"
#include "text/unicode_forms.h"

namespace microdit::text {
namespace {

/// Which ASCII characters may occur in a text. The passes delete, or add space, quotes, '-' and ':' of their kind only.
class Present {
 public:
  explicit Present(std::string_view text) {
    for (const char byte : text) seen_[static_cast<unsigned char>(byte)] = true;
    for (std::size_t byte = 0x80; byte < seen_.size(); ++byte) beyond_ascii_ |= seen_[byte];
    for (std::size_t digit = '0'; digit <= '9'; ++digit) digits_ |= seen_[digit];
    digits_ |= beyond_ascii_;
    seen_['-'] = seen_['-'] || beyond_ascii_;  // the dashes and quotes that become these
    seen_['"'] = seen_['"'] || seen_['`'] || beyond_ascii_;
    seen_['\''] = seen_['\''] || beyond_ascii_;
  }
  bool any(std::string_view characters) const {
    for (const char c : characters)
      if (seen_[static_cast<unsigned char>(c)]) return true;
    return false;
  }
  bool beyond_ascii() const { return beyond_ascii_; }
  bool digits() const { return digits_; }

 private:
  std::array<bool, 256> seen_{};
  bool beyond_ascii_ = false, digits_ = false;
};

void unmark_persons(std::string& caption) {
  constexpr std::string_view kPerson = "<person>";
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find(kPerson, at)) != std::string_view::npos; at += kPerson.size())
    rewrite.replace(at, at + kPerson.size(), "person");
}

/// Addresses and markup.
void read_markup(std::string& text) {
  const Present present(text);
  if (present.any("<")) unmark_persons(text);
  if (present.any(".:")) {
    delete_urls(text);
    delete_www_urls(text);
  }
  // Without markup html_text changes nothing but a text of white space alone.
  if (present.any("<&") || strip(text).empty()) text = html_text(text);
}

/// Everything up to the original's repair of Unicode.
void blank_marks(std::string& text) {
  const Present present(text);
  if (present.any("@")) delete_handles(text);
  if (present.beyond_ascii()) delete_cjk(text);
  if (present.any("-")) unify_dashes(text);
  if (present.any("`") || present.beyond_ascii()) unify_quotes(text);
  if (present.any("&")) delete_quot_and_amp(text);
  if (present.digits() && present.any(".")) blank_ip_addresses(text);
  if (present.any(":")) delete_final_time(text);
  if (present.any("\\")) blank_escaped_newlines(text);
  if (present.any("#")) delete_numbered_tags(text);
  if (present.digits()) delete_long_numbers(text);
  if (present.any(".")) delete_file_names(text);
  if (present.any("\"'")) collapse_quotes(text);
  if (present.any(".")) collapse_dots(text);
  if (present.any("#&@~)(][}{|\\/*") || present.beyond_ascii()) blank_punctuation(text);
  if (present.any(".")) blank_lone_dots(text);
  if (present.any("-_")) blank_joined_words(text);
}

/// The original's basic_clean.
void repair(std::string& text) {
  text = fix_text(text);
  for (int time = 0; time < 2 && text.find('&') != std::string::npos; ++time) text = html_unescape(text);
  text = std::string(strip(text));
}

/// Codes, phrases and what is left of punctuation.
void tidy(std::string& text) {
  const Present present(text);
  if (present.digits()) delete_codes(text);
  delete_shipping(text);
  delete_download(text);
  delete_click(text);
  delete_extensions(text);
  if (present.digits()) {
    delete_page_numbers(text);
    blank_mixed_codes(text);
    delete_sizes(text);
  }
  if (present.any(":")) tidy_colons(text);
  if (present.any(",./")) space_after_punctuation(text);
  collapse_spaces(text);
  trim_ends(text);
}

std::string clean_once(std::string_view caption) {
  std::string text = lower(strip(unquote_plus(caption)));
  read_markup(text);
  blank_marks(text);
  repair(text);
  tidy(text);
  return std::string(strip(text));
}

}  // namespace

std::string clean_caption(std::string_view text) {
  return clean_once(clean_once(core::with_valid_utf8(text)));
}

std::string gentle_caption(std::string_view caption) {
  std::string text = fix_text(core::with_valid_utf8(caption));
  collapse_spaces(text);
  return std::string(strip(text));
}

}  // namespace microdit::text
