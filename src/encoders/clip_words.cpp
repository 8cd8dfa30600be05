// The pattern is matched by hand: no regular expression, no backtracking, one pass.
#include "encoders/clip_words.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "encoders/code_point.h"

namespace microdit::encoders {
namespace {

enum class CharacterClass : std::uint8_t { kOther, kSpace, kLetter, kNumber };

struct NewerRange {
  UChar32 first, last;
  CharacterClass kind;
  bool both;  ///< known to tokenizers too, not to regex alone
};

constexpr NewerRange kNewer[] = {
#include "encoders/newer_letters.inc"
};
constexpr int kTableVersion = 14;  // Unicode of everything that kNewer does not list
constexpr std::string_view kLongS = "\xC5\xBF";

CharacterClass newer_class(UChar32 c, ClipRules rules) {
  const auto* found =
      std::upper_bound(std::begin(kNewer), std::end(kNewer), c,
                       [](UChar32 value, const NewerRange& range) { return value < range.first; });
  if (found == std::begin(kNewer) || (--found)->last < c) return CharacterClass::kOther;
  return found->both || rules == ClipRules::kOpenClip ? found->kind : CharacterClass::kOther;
}

CharacterClass class_beyond_ascii(UChar32 c, ClipRules rules) {
  if (u_isUWhiteSpace(c)) return CharacterClass::kSpace;
  // Case folds U+0345 to a letter: without regard to case it is in neither class of the pattern.
  if (c == 0x345 && rules == ClipRules::kOpenClip) return CharacterClass::kSpace;
  const auto mask = U_GET_GC_MASK(c);
  UVersionInfo age;
  u_charAge(c, age);
  if (age[0] > kTableVersion || (mask & U_GC_CN_MASK) != 0) return newer_class(c, rules);
  if ((mask & U_GC_L_MASK) != 0) return CharacterClass::kLetter;
  return (mask & U_GC_N_MASK) != 0 ? CharacterClass::kNumber : CharacterClass::kOther;
}

constexpr auto kAscii = [] {
  std::array<CharacterClass, 128> classes{};
  for (const int c : {9, 10, 11, 12, 13, 32}) classes[static_cast<std::size_t>(c)] = CharacterClass::kSpace;
  for (std::size_t c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 32] = CharacterClass::kLetter;
  for (std::size_t c = '0'; c <= '9'; ++c) classes[c] = CharacterClass::kNumber;
  return classes;
}();

/// The class of the character at `at`, which moves behind it.
CharacterClass next_class(std::string_view text, std::size_t& at, ClipRules rules) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 128) {
    ++at;
    return kAscii[byte];
  }
  return class_beyond_ascii(static_cast<UChar32>(next_code_point(text, at)), rules);
}

/// "'s" and its like at the beginning of `text`; 0 when there is none. The text is in lower case.
std::size_t contraction(std::string_view text, ClipRules rules) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  if (text[1] == 's' || text[1] == 't' || text[1] == 'm' || text[1] == 'd') return 2;
  const std::string_view two = text.substr(1, 2);
  if (two == "re" || two == "ve" || two == "ll") return 3;
  return rules == ClipRules::kOpenClip && two == kLongS ? 3 : 0;
}

UChar32 lower_of(UChar32 c) {
  // Pairs newer than ICU's tables in the tables of tokenizers (Unicode 16 and 17): {first, last, distance}.
  static constexpr std::array<std::array<UChar32, 3>, 9> newer = {{{0x1C89, 0x1C89, 1},
                                                                   {0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                                                                   {0xA7CC, 0xA7CC, 1},
                                                                   {0xA7CE, 0xA7CE, 1},
                                                                   {0xA7D2, 0xA7D2, 1},
                                                                   {0xA7D4, 0xA7D4, 1},
                                                                   {0xA7DA, 0xA7DA, 1},
                                                                   {0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                                                                   {0x10D50, 0x10D65, 0x20}}};
  if (c >= 0x16EA0 && c <= 0x16EB8) return c + 0x1B;
  for (const auto& [first, last, distance] : newer)
    if (c >= first && c <= last) return c + distance;
  return u_tolower(c);
}

/// NFC over characters of Unicode 9 alone, as the crate inside tokenizers has it; others do not move.
const icu::Normalizer2& nfc_of_unicode_9() {
  static const icu::FilteredNormalizer2* const normalizer = [] {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* all = icu::Normalizer2::getNFCInstance(status);
    auto* known = new icu::UnicodeSet(u"[:age=9.0:]", status);  // both live as long as the program
    core::check(U_SUCCESS(status), "ICU has no NFC: {}", u_errorName(status));
    known->freeze();
    return new icu::FilteredNormalizer2(*all, *known);
  }();
  return *normalizer;
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 128; });
}

std::string clean_ascii(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (kAscii[static_cast<unsigned char>(c)] == CharacterClass::kSpace) {
      if (out.empty() || out.back() != ' ') out += ' ';
    } else {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
  }
  return out;
}

}  // namespace

std::size_t clip_word(std::string_view text, ClipRules rules) {
  if (const std::size_t bytes = contraction(text, rules)) return bytes;
  std::size_t end = 0;
  const CharacterClass kind = next_class(text, end, rules);
  if (kind == CharacterClass::kSpace) return 0;
  if (kind == CharacterClass::kNumber) return end;
  for (std::size_t after = end; end < text.size(); end = after)
    if (next_class(text, after, rules) != kind) break;
  return end;
}

std::string transformers_clean(std::string_view text) {
  if (is_ascii(text)) return clean_ascii(text);
  UErrorCode status = U_ZERO_ERROR;
  const auto given = icu::UnicodeString::fromUTF8({text.data(), static_cast<std::int32_t>(text.size())});
  const icu::UnicodeString composed = nfc_of_unicode_9().normalize(given, status);
  core::check(U_SUCCESS(status), "ICU normalisation failed: {}", u_errorName(status));
  icu::UnicodeString out;
  for (std::int32_t i = 0; i < composed.length(); i = composed.moveIndex32(i, 1)) {
    const UChar32 c = composed.char32At(i);
    if (u_isUWhiteSpace(c)) {
      if (out.isEmpty() || out[out.length() - 1] != u' ') out.append(u' ');
    } else if (c == 0x130) {  // the one character whose lower case is two
      out.append(u"i\u0307", 2);
    } else {
      out.append(lower_of(c));
    }
  }
  std::string utf8;
  return out.toUTF8String(utf8);
}

}  // namespace microdit::encoders
