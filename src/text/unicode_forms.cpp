// Letter case and NFC by ICU.
#include "text/unicode_forms.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <memory>

#include "core/error.h"
#include "text/code_points.h"

namespace microdit::text {
namespace {

constexpr char32_t kFirstComposable = 0x300;  // no text below it is changed by NFC
constexpr std::size_t kLongText = 4096;       // shorter ones are put in order by ICU soon enough
constexpr std::size_t kLongMarks = 32;        // combining marks in a row that are put in order here

void check_icu(UErrorCode status, const char* what) {
  core::check(U_SUCCESS(status), "ICU: {}: {}", what, u_errorName(status));
}

/// NFC of Unicode 14.0.0, for all that later versions assigned.
const icu::Normalizer2& composer() {
  static const icu::UnicodeSet kKnown = [] {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet set(UNICODE_STRING_SIMPLE("[:age=14.0:]"), status);
    check_icu(status, "the characters of Unicode 14");
    set.freeze();
    return set;
  }();
  static const icu::FilteredNormalizer2 kComposer = [] {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
    check_icu(status, "NFC");
    return icu::FilteredNormalizer2(*nfc, kKnown);
  }();
  return kComposer;
}

/// ICU and Python insert each mark into the run before it, which is quadratic: a long run is put into its canonical
/// order first, which changes no NFC.
void order_marks(std::u32string& text, const icu::Normalizer2& nfc) {
  const auto rank = [&](char32_t c) { return nfc.getCombiningClass(static_cast<UChar32>(c)); };
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && text[end] >= kFirstComposable && rank(text[end]) > 0) ++end;
    if (end - i > kLongMarks) {
      std::stable_sort(text.begin() + static_cast<std::ptrdiff_t>(i),
                       text.begin() + static_cast<std::ptrdiff_t>(end),
                       [&](char32_t a, char32_t b) { return rank(a) < rank(b); });
    }
    i = std::max(end, i + 1);
  }
}

/// What composes with nothing before it and stays as it is, of the first plane.
bool is_composed(char32_t c) {
  static const auto kComposed = [] {
    auto set = std::make_unique<std::bitset<0x10000>>();
    for (UChar32 point = 0; point < 0x10000; ++point)
      (*set)[static_cast<std::size_t>(point)] =
          u_getCombiningClass(point) == 0 && u_getIntPropertyValue(point, UCHAR_NFC_QUICK_CHECK) == UNORM_YES;
    return set;
  }();
  return c < kFirstComposable || (c < 0x10000 && (*kComposed)[c]);
}

std::u32string to_utf32(const icu::UnicodeString& text) {
  UErrorCode status = U_ZERO_ERROR;
  std::u32string out(static_cast<std::size_t>(text.countChar32()), U'\0');
  text.toUTF32(reinterpret_cast<UChar32*>(out.data()), static_cast<std::int32_t>(out.size()), status);
  check_icu(status, "UTF-32");
  return out;
}

void lower_ascii(std::string& text) {
  for (char& c : text) c = static_cast<char>(c + (c >= 'A' && c <= 'Z' ? 'a' - 'A' : 0));
}

/// Letters below 800, in two bytes each. False, perhaps after some are done, where another one occurs that ICU has to look at: of more
/// bytes, of another length in lower case, or a sigma, which depends on its neighbours.
bool lower_in_place(std::string& text) {
  static const auto kLower = [] {
    std::array<char16_t, 0x800> table{};
    for (UChar32 c = 0; c < 0x800; ++c) {
      const UChar32 other = u_tolower(c);
      const bool in_place = c != 0x130 && c != 0x3A3 && other < 0x800 && (c < 0x80) == (other < 0x80);
      table[static_cast<std::size_t>(c)] = static_cast<char16_t>(in_place ? other : 0);
    }
    return table;
  }();
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (c.bytes < 3) {
      const char16_t other = kLower[c.value];
      if (other == 0 && c.value != 0) return false;
      text[i] = static_cast<char>(c.bytes == 1 ? other : 0xC0 | (other >> 6));
      if (c.bytes == 2) text[i + 1] = static_cast<char>(0x80 | (other & 0x3F));
    } else if (u_tolower(static_cast<UChar32>(c.value)) != static_cast<UChar32>(c.value)) {
      return false;
    }
    i += c.bytes;
  }
  return true;
}

}  // namespace

void make_lower(std::string& text) {
  if (is_ascii(text)) {
    lower_ascii(text);
  } else if (!lower_in_place(text)) {
    text = lower(text);
  }
}

std::string lower(std::string_view text) {
  std::string out;
  if (is_ascii(text)) {
    out = text;
    lower_ascii(out);
    return out;
  }
  UErrorCode status = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&out, static_cast<std::int32_t>(text.size()));
  icu::CaseMap::utf8ToLower("", 0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())),
                            sink, nullptr, status);
  check_icu(status, "lower case");
  return out;
}

std::string upper(std::string_view text) {
  std::string out;
  UErrorCode status = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&out);
  icu::CaseMap::utf8ToUpper("", 0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())),
                            sink, nullptr, status);
  check_icu(status, "upper case");
  return out;
}

std::u32string nfkc(char32_t c) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* composer = icu::Normalizer2::getNFKCInstance(status);
  check_icu(status, "NFKC");
  const icu::UnicodeString out = composer->normalize(icu::UnicodeString(static_cast<UChar32>(c)), status);
  check_icu(status, "NFKC");
  return to_utf32(out);
}

std::u32string nfc(std::u32string text) {
  if (std::ranges::all_of(text, is_composed)) return text;
  const icu::Normalizer2& composed = composer();
  if (text.size() > kLongText) order_marks(text, composed);
  UErrorCode status = U_ZERO_ERROR;
  static_assert(sizeof(UChar32) == sizeof(char32_t));
  const icu::UnicodeString given = icu::UnicodeString::fromUTF32(
      reinterpret_cast<const UChar32*>(text.data()), static_cast<std::int32_t>(text.size()));
  // Composed by all that ICU knows is composed by what Unicode 14 knows.
  if (icu::Normalizer2::getNFCInstance(status)->isNormalized(given, status) && U_SUCCESS(status)) return text;
  const icu::UnicodeString out = composed.normalize(given, status);
  check_icu(status, "NFC");
  return to_utf32(out);
}

}  // namespace microdit::text
