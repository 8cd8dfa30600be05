// The order of the passes. A pass whose needed character is absent is left out.
#include "text/caption_processor.h"

#include <array>
#include <cstdint>

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

/// A set of ASCII characters.
struct AsciiSet {
  std::uint64_t low = 0, high = 0;
  template <std::size_t N>
  constexpr AsciiSet(const char (&characters)[N]) {
    for (std::size_t i = 0; i + 1 < N; ++i) add(static_cast<unsigned char>(characters[i]));
  }
  constexpr void add(unsigned char c) { (c < 64 ? low : high) |= std::uint64_t{1} << (c & 63); }
};
constexpr AsciiSet kDigits = "0123456789", kMarks = "#&@~)(][}{|\\/*";
/// What fix_text may change of ASCII; the blanks but for the space.
constexpr AsciiSet kControls = [] {
  AsciiSet set = "\x7f";
  for (unsigned char c = 0; c < ' '; ++c) set.add(c);
  return set;
}();

constexpr std::uint64_t lead(unsigned first) {
  return std::uint64_t{1} << (first - 0xC0);
}
/// First bytes of what is looked for beyond ASCII: not those of U+00C0 to U+057F.
constexpr std::uint64_t kLeads = lead(0xC2) | ~(lead(0xD6) - 1);

/// What a byte adds to what is present: a capital letter also its small one, which make_lower makes of it.
struct ByteBits {
  std::uint64_t low = 0, high = 0, leads = 0;
};
constexpr auto kByteBits = [] {
  std::array<ByteBits, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const std::uint64_t bit = std::uint64_t{1} << (c & 63);
    if (c < 64) table[c].low = bit;
    if (c >= 64 && c < 128) table[c].high = c >= 'A' && c <= 'Z' ? bit | bit << 32 : bit;
    if (c >= 0xC0) table[c].leads = bit;
  }
  return table;
}();

/// Which characters may occur in a text. The passes delete, or add spaces, quotes, '-' and ':' for others of their kind only.
/// Small letters that only make_lower makes of others beyond ASCII are not seen before the next look.
class Present {
 public:
  explicit Present(std::string_view text) {
    for (const char byte : text) {
      const ByteBits& bits = kByteBits[static_cast<unsigned char>(byte)];
      low_ |= bits.low;
      high_ |= bits.high;
      leads_ |= bits.leads;
    }
    digits_ = any(kDigits);
    dashes_ = any("-");
    quotes_ = any("`");
    marks_ = any(kMarks);
    if (leads_ & kLeads) look_beyond_ascii(text);
  }
  bool any(AsciiSet set) const { return ((set.low & low_) | (set.high & high_)) != 0; }
  bool all(AsciiSet set) const { return ((set.low & ~low_) | (set.high & ~high_)) == 0; }
  bool beyond_ascii() const { return leads_ != 0; }
  bool other_spaces() const { return spaces_; }
  bool cjk() const { return cjk_; }
  bool digits() const { return digits_; }
  bool dashes() const { return dashes_; }
  bool other_quotes() const { return quotes_; }
  bool marks() const { return marks_; }

 private:
  void look_beyond_ascii(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      const auto first = static_cast<unsigned char>(text[at]);
      if (first < 0xC0 || !(kLeads >> (first - 0xC0) & 1)) {
        ++at;
        continue;
      }
      const CodePoint c = code_point_at(text, at);
      at += c.bytes;
      cjk_ |= is_cjk(c.value);
      spaces_ |= is_space(c.value);
      digits_ |= is_digit(c.value);
      dashes_ |= is_dash(c.value);
      quotes_ |= quote_of(c.value) != '\0';
      marks_ |= is_stray_mark(c.value);
    }
  }

  std::uint64_t low_ = 0, high_ = 0, leads_ = 0;  // ASCII, first bytes of longer characters
  bool cjk_ = false, spaces_ = false, digits_ = false, dashes_ = false, quotes_ = false, marks_ = false;
};

void strip_in_place(std::string& text) {
  const std::string_view kept = strip(text);
  if (kept.size() < text.size()) text = std::string(kept);
}

void unmark_persons(std::string& caption) {
  constexpr std::string_view kPerson = "<person>";
  Rewrite rewrite(caption);
  const std::string_view text = rewrite.text();
  for (std::size_t at = 0; (at = text.find(kPerson, at)) != std::string_view::npos; at += kPerson.size())
    rewrite.replace(at, at + kPerson.size(), "person");
}

/// Percent and plus decoding, lower case, addresses and markup.
void read_markup(std::string& text, Present& present) {
  if (present.any("+%")) {
    text = unquote_plus(text);
    present = Present(text);
  }
  strip_in_place(text);
  make_lower(text);
  if (present.any("<")) unmark_persons(text);
  if (present.any(".:")) {
    const std::size_t size = text.size();
    delete_urls(text);
    // Where those are none, the second expression could find its own scheme alone.
    if (text.size() < size || present.any(":")) delete_www_urls(text);
  }
  // Without markup html_text changes nothing but a text of white space alone.
  if (!present.any("<&") && !strip(text).empty()) return;
  text = html_text(text);
  present = Present(text);
}

/// Everything up to the original's repair of Unicode.
void blank_marks(std::string& text, const Present& present) {
  if (present.any("@")) delete_handles(text);
  if (present.cjk()) delete_cjk(text);
  if (present.dashes()) unify_dashes(text);
  if (present.other_quotes()) unify_quotes(text);
  if (present.any("&")) delete_quot_and_amp(text);
  if (present.any(".") && present.digits()) blank_ip_addresses(text);
  if (present.any(":")) delete_final_time(text);
  if (present.any("\\")) blank_escaped_newlines(text);
  if (present.any("#")) delete_numbered_tags(text);
  if (present.digits()) delete_long_numbers(text);
  if (present.any(".")) delete_file_names(text);
  if (present.other_quotes() || present.any("\"'")) collapse_quotes(text);
  if (present.any(".")) collapse_dots(text);
  if (present.marks()) blank_punctuation(text);
  if (present.any(".")) blank_lone_dots(text);
  if (present.dashes() || present.any("_")) blank_joined_words(text);
}

/// The original's basic_clean.
void repair(std::string& text, Present& present) {
  if (present.beyond_ascii() || present.any("&") || present.any(kControls)) {
    text = fix_text(text);
    for (int time = 0; time < 2 && text.find('&') != std::string::npos; ++time) text = html_unescape(text);
    present = Present(text);
  }
  strip_in_place(text);
}

/// Codes, phrases and what is left of punctuation.
void tidy(std::string& text, const Present& present) {
  if (present.digits()) delete_codes(text);
  if (present.all("shipng")) delete_shipping(text);
  if (present.all("downla")) delete_download(text);
  if (present.all("click")) delete_click(text);
  if (present.any("p")) delete_extensions(text);  // each has a p
  if (present.digits()) {
    delete_page_numbers(text);
    blank_mixed_codes(text);
    delete_sizes(text);
  }
  if (present.any(":")) tidy_colons(text);
  if (present.any(",./")) space_after_punctuation(text);
  if (present.other_spaces() || present.any(kControls) || text.find("  ") != std::string::npos)
    collapse_spaces(text);
  trim_ends(text);
  strip_in_place(text);
}

void clean_once(std::string& text) {
  Present present(text);
  read_markup(text, present);
  blank_marks(text, present);
  repair(text, present);
  tidy(text, present);
}

}  // namespace

std::string clean_caption(std::string_view caption) {
  std::string text =
      core::first_invalid_utf8(caption) ? core::with_valid_utf8(caption) : std::string(caption);
  for (int time = 0; time < 2; ++time) clean_once(text);
  return text;
}

std::string gentle_caption(std::string_view caption) {
  std::string text = fix_text(core::with_valid_utf8(caption));
  collapse_spaces(text);
  return std::string(strip(text));
}

}  // namespace microdit::text
