// Categories of the characters that occur in mojibake, and the neighbourhoods that give it away.
#include "text/mojibake.h"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>

#include "text/character_classes.h"
#include "text/code_page.h"

namespace microdit::text {
namespace {

// Categories of ftfy's badness heuristic, then the places of a character in a UTF-8 sequence.
enum : std::uint32_t {
  kCommon = 1 << 0,
  kC1 = 1 << 1,
  kBad = 1 << 2,
  kLaw = 1 << 3,
  kCurrency = 1 << 4,
  kStart = 1 << 5,
  kEnd = 1 << 6,
  kNumeric = 1 << 7,
  kKaomoji = 1 << 8,
  kUpper = 1 << 9,
  kLower = 1 << 10,
  kUpperCommon = 1 << 11,
  kLowerCommon = 1 << 12,
  kBox = 1 << 13,
  kLead2 = 1 << 14,
  kLead3 = 1 << 15,
  kLead4 = 1 << 16,
  kTrail = 1 << 17,
  kStrictTrail = 1 << 18,
  kBeginsKnown = 1 << 19,  ///< a known pair, sequence or lone letter
};
constexpr std::uint32_t kCategoryBits = kLead2 - 1;

struct Category {
  std::uint32_t bit;
  std::u32string_view characters;  ///< pairs: first and last of a range
};
constexpr Category kCategories[] = {
    {kCommon, U"\u00a0\u00a0\u00ad\u00ad\u00b4\u00b4\u00b7\u00b7\u2013\u2015\u2019\u2019\u2026\u2026"},
    {kC1, U"\x80\x9f"},
    {kBad,
     U"\u00a4\u00a4\u00a6\u00a6\u00a8\u00a8\u00aa\u00aa\u00ac\u00ac\u00af\u00af\u00b8\u00b8\u00ba\u00ba\u0192"
     U"\u0192"
     U"\u02c6\u02c7\u02d8\u02d8\u02db\u02dc\u2020\u2021\u2030\u2030\u2310\u2310\u25ca\u25ca\ufffd\ufffd"},
    {kLaw, U"\u00a7\u00a7\u00b6\u00b6"},
    {kCurrency, U"\u00a2\u00a3\u00a5\u00a5\u20a7\u20a7\u20ac\u20ac"},
    {kStart,
     U"\u00a1\u00a1\u00a9\u00a9\u00ab\u00ab\u00bf\u00bf\u0384\u0385\u2018\u2018\u201a\u201a\u201c\u201c\u201e"
     U"\u201e"
     U"\u2022\u2022\u2039\u2039\uf8ff\uf8ff"},
    {kEnd, U"\u00ae\u00ae\u00bb\u00bb\u02dd\u02dd\u201d\u201d\u203a\u203a\u2122\u2122"},
    {kNumeric,
     U"\u00b1\u00b3\u00b5\u00b5\u00b9\u00b9\u00bc\u00be\u00d7\u00d7\u00f7\u00f7\u2044\u2044\u2116\u2116\u2202"
     U"\u2202"
     U"\u2206\u2206\u220f\u220f\u2211\u2211\u221a\u221a\u221e\u221e\u2229\u2229\u222b\u222b\u2248\u2248\u2260"
     U"\u2261"
     U"\u2264\u2265"},
    {kKaomoji,
     U"\u00b0\u00b0\u00d2\u00d6\u00d9\u00dc\u00f2\u00f6\u00f8\u00fc\u014c\u014c\u0150\u0150\u016a\u016a\u0172"
     U"\u0172"},
    {kUpper,
     U"\u00c0\u00d1\u00d8\u00d8\u00dc\u00dd\u0100\u0100\u0102\u0102\u0104\u0104\u0106\u0106\u010c\u010c\u010e"
     U"\u010e"
     U"\u0110\u0110\u0112\u0112\u0116\u0116\u0118\u0118\u011a\u011a\u011e\u011e\u0122\u0122\u012a\u012a\u0130"
     U"\u0130"
     U"\u0136\u0136\u0139\u0139\u013b\u013b\u013d\u013d\u0141\u0141\u0143\u0143\u0145\u0145\u0147\u0147\u0152"
     U"\u0152"
     U"\u0158\u0158\u015a\u015a\u015e\u015e\u0160\u0160\u0162\u0162\u0164\u0164\u016e\u016e\u0170\u0170\u0178"
     U"\u0179"
     U"\u017b\u017b\u017d\u017d\u0490\u0490"},
    {kLower,
     U"\u00df\u00f1\u00fc\u00fc\u0101\u0101\u0103\u0103\u0105\u0105\u0107\u0107\u010d\u010d\u010f\u010f\u0111"
     U"\u0111"
     U"\u0113\u0113\u0117\u0117\u0119\u0119\u011b\u011b\u011f\u011f\u0123\u0123\u012b\u012b\u012f\u012f\u0137"
     U"\u0137"
     U"\u013a\u013a\u013c\u013c\u013e\u013e\u0142\u0142\u0153\u0153\u0155\u0155\u015b\u015b\u015f\u015f\u0161"
     U"\u0161"
     U"\u0165\u0165\u017a\u017a\u017c\u017c\u017e\u017e\u0491\u0491\ufb01\ufb02"},
    {kUpperCommon, U"\u00de\u00de\u0386\u0386\u0388\u038a\u038c\u038c\u038e\u038f\u0391\u03ab\u0401\u042f"},
    {kLowerCommon, U"\u03ac\u03ac\u03ad\u03ae\u03af\u03af\u03b0\u03c9\u0430\u045f"},
    {kBox,
     U"\u2502\u2502\u250c\u250c\u2510\u2510\u2518\u2518\u251c\u251c\u2524\u2524\u252c\u252c"
     U"\u253c\u253c\u2550\u256c\u2580\u2580\u2584\u2584\u2588\u2588\u258c\u258c\u2590\u2593"},
};

constexpr char32_t kTableEnd = 0x2600;  // few characters of mojibake lie beyond
struct Traits {
  std::uint32_t bits = 0;
  std::uint32_t bad_before = 0;  ///< the categories that make a bad pair behind it
};
using Table = std::array<Traits, kTableEnd + 4>;
std::size_t place_of(char32_t c) {
  if (c < kTableEnd) return c;
  return kTableEnd + (c == 0xF8FF ? 0u : c == 0xFB01 ? 1u : c == 0xFB02 ? 2u : 3u);
}

/// Where the images of bytes 80 to FF stand in UTF-8: 80-BF follow, C2-DF, E0-EF, F0 and F3 lead.
void add_places(Table& table) {
  // Punctuation that stands for itself beside mojibake does not hide a sequence that begins after it.
  constexpr std::u32string_view kForItself =
      U"\u2013\u2014\u2015\u2018\u2019\u201a\u201c\u201d\u201e\u2022\u2026";
  for (int name = CodePage::kLatin1; name <= CodePage::kWindows1257; ++name) {
    const CodePage& page = CodePage::get(static_cast<CodePage::Name>(name));
    for (unsigned byte = 0x80; byte < 0x100; ++byte) {
      const char32_t c = page.decode(static_cast<unsigned char>(byte));
      std::uint32_t& bits = table[place_of(c)].bits;
      if (byte < 0xC0) bits |= kTrail | (kForItself.find(c) == std::u32string_view::npos ? kStrictTrail : 0u);
      if (byte >= 0xC2 && byte < 0xE0) bits |= kLead2;
      if (byte >= 0xE0 && byte < 0xF0) bits |= kLead3;
      if (byte == 0xF0 || byte == 0xF3) bits |= kLead4;
    }
  }
  for (char32_t c = 0x80; c < 0xC0; ++c) table[c].bits |= kTrail | kStrictTrail;
  table[U' '].bits |= kTrail;  // a no-break space that some program made plain
}

constexpr std::uint32_t kAccented = kLower | kUpper;
constexpr std::uint32_t kBesideBad = kAccented | kBox | kStart | kEnd | kCurrency | kNumeric | kLaw;

/// Pairs of categories.
bool is_bad_pair(std::uint32_t a, std::uint32_t b) {
  return ((a & (kBad | kBesideBad)) && (b & kBad)) || ((a & kBad) && (b & kBesideBad)) ||
         ((a & (kLower | kLowerCommon | kBox | kEnd | kCurrency | kNumeric)) && (b & kUpper)) ||
         ((a & (kBox | kEnd | kCurrency | kNumeric)) && (b & kLower)) ||
         ((a & (kLower | kBox | kEnd)) && (b & kCurrency)) ||
         ((a & (kUpper | kBox)) && (b & (kNumeric | kLaw))) ||
         ((a & (kCurrency | kNumeric | kBox)) && (b & kStart)) || ((a & kBox) && (b & (kKaomoji | kEnd))) ||
         ((a & (kAccented | kCurrency | kNumeric | kStart | kEnd | kLaw)) && (b & kBox));
}

std::unique_ptr<const Table> make_table() {
  auto table = std::make_unique<Table>();
  for (const Category& category : kCategories)
    for (std::size_t i = 0; i < category.characters.size(); i += 2)
      for (char32_t c = category.characters[i]; c <= category.characters[i + 1]; ++c) {
        if (c == 0xFFFD) continue;  // looked up below
        (*table)[place_of(c)].bits |= category.bit;
      }
  for (const char32_t c : std::u32string_view(U"ŒœÃÂÎÐ×à√≈вāØÙ‚βВГРСΒΓΞΟ")) (*table)[c].bits |= kBeginsKnown;
  add_places(*table);
  for (Traits& traits : *table)
    for (std::uint32_t bit = 1; bit < kLead2; bit <<= 1)
      if (is_bad_pair(traits.bits, bit)) traits.bad_before |= bit;
  return table;
}

const Table& table() {
  static const std::unique_ptr<const Table> kTable = make_table();
  return *kTable;
}

const Traits& traits_in(const Table& table, char32_t c) {
  static constexpr Traits kLost{kBad, kBad | kBesideBad};
  if (c < kTableEnd) return table[c];
  return c == kReplacement ? kLost : table[place_of(c)];
}
std::uint32_t bits_in(const Table& table, char32_t c) {
  return traits_in(table, c).bits;
}
std::uint32_t bits_of(char32_t c) {
  return bits_in(table(), c);
}

bool is_in(char32_t c, std::u32string_view set) {
  return set.find(c) != std::u32string_view::npos;
}
bool is_lower_ascii(char32_t c) {
  return c >= 'a' && c <= 'z';
}

/// Triples of categories, the first or last perhaps plain.
bool is_bad_triple(std::u32string_view text, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const char32_t first = text[0], third = text[2];
  return ((b & (kLowerCommon | kUpperCommon)) && (c & kBad) && is_letter(first)) ||
         ((b & kUpper) && (c & kCurrency) && is_space(first)) ||
         ((a & (kAccented | kBox | kCurrency | kEnd)) && (b & kStart) && (c & kNumeric)) ||
         ((a & (kAccented | kCurrency | kNumeric | kBox | kLaw)) && (b & kEnd) && (c & kStart)) ||
         (is_lower_ascii(first) && (b & kUpper) && (c & (kStart | kCurrency))) ||
         ((a & kAccented) && (b & (kStart | kEnd)) && is_word(third));
}

/// Pairs of single characters that two encodings make often.
bool is_known_pair(char32_t a, char32_t b, std::uint32_t of_a, std::uint32_t of_b) {
  switch (a) {
    case U'\u0152':
    case U'\u0153':
      return !is_letter(b);
    case U'Ã':
      if (b == U'\u00a0' || b == U'\u00a1') return true;
      [[fallthrough]];
    case U'Â':
    case U'Î':
    case U'Ð':
      if ((of_b & (kStart | kEnd)) || is_in(b, U"€œŠš¢£Ÿž\u00a0\u00ad®©°·»–—´")) return true;
      break;
    case U'×':
      return b == U'²' || b == U'³';
    case U'à':
      return is_in(b, U"²µ¹¼½¾");
    case U'√':
      return is_in(b, U"±∂†≠®™´≤≥¥µø");
    case U'≈':
      return b == U'°' || b == U'¢';
    case U'в':
      return b == U'Ђ';
    case U'ā':
      return b == U'€';
    default:
      break;
  }
  return (of_a & kUpper) && b == U'°';
}

/// Longer sequences of single characters, from text[0] on.
bool is_known_sequence(std::u32string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? text[i] : U'\0'; };
  const auto is_stray = [&](std::size_t i, std::uint32_t bits, std::u32string_view more) {
    return i < text.size() && ((bits_of(text[i]) & bits) || is_in(text[i], more));
  };
  constexpr std::uint32_t kStray = kC1 | kBad | kStart | kEnd | kCurrency;
  constexpr std::uint32_t kArabicTrail = kCommon | kCurrency | kBad | kNumeric | kStart;
  const char32_t first = text[0];
  if (first == U'Ø' || first == U'Ù')
    return is_stray(1, kArabicTrail, U"ŸŠ®°µ»") && (at(2) == U'Ø' || at(2) == U'Ù') &&
           is_stray(3, kArabicTrail, U"ŸŠ®°µ»");
  if (first == U'‚')
    return (at(1) == U'Ä' && text.size() > 2 && is_in(text[2], U"ìîïòôúùû†°¢π")) ||
           ((at(1) == U'â' || at(1) == U'ó') && text.size() > 2 && is_in(text[2], U"àä°ê"));
  if (first == U'β') return at(1) == U'€' && text.size() > 2 && is_in(text[2], U"™\u00a0Ά\u00ad®°");
  constexpr std::u32string_view kCyrillic = U"ВГРС", kGreek = U"ΒΓΞΟ";
  if (is_in(first, kGreek)) return is_stray(1, kStray, U"°") && text.size() > 2 && is_in(text[2], kGreek);
  if (!is_in(first, kCyrillic)) return false;
  if (is_stray(1, kStray, U"°µ") && text.size() > 2 && is_in(text[2], kCyrillic)) return true;
  return text.starts_with(U"ГўВЂВ") && text.size() > 6 && text[5] != U'\n' &&
         (is_letter(text[6]) || text[6] == U' ');
}

bool is_a(char32_t c) {
  return c == U'Â' || c == U'Ã';
}

/// A lone Â or Ã between plain characters; text[i] is it.
bool is_lone_a(std::u32string_view text, std::size_t i) {
  if (i + 1 >= text.size()) return false;
  const char32_t next = text[i + 1];
  const bool before_mark = next == U' ' || (text[i] == U'Â' && (bits_of(next) & (kStart | kEnd)));
  if (!before_mark) return false;
  if (next == U' ') {
    if (i == 0 || is_lower_ascii(text[i - 1])) return true;
    if (i > 1 && is_space(text[i - 1]) && is_lower_ascii(text[i - 2])) return true;
  }
  if (text[i] != U'Â' || i == 0) return false;
  const char32_t before = text[i - 1];
  return is_lower_ascii(before) || is_in(before, U".,?!") || (bits_of(before) & kEnd);
}

}  // namespace

bool is_bad(std::u32string_view text) {
  constexpr std::uint32_t kThird = kBad | kCurrency | kNumeric | kStart;
  const Table& all = table();
  const auto traits = [&](std::size_t i) { return i < text.size() ? traits_in(all, text[i]) : Traits{}; };
  Traits a, b = traits(0), c = traits(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    a = b;
    b = c;
    c = traits(i + 2);
    if (((a.bits | b.bits) & kCategoryBits) == 0)
      continue;  // every rule needs a category among the first two
    if ((a.bits & kC1) || (a.bad_before & b.bits)) return true;
    if (((c.bits & kThird) || (b.bits & (kStart | kEnd))) && i + 2 < text.size() &&
        is_bad_triple(text.substr(i, 3), a.bits, b.bits, c.bits))
      return true;
    if (!(a.bits & (kBeginsKnown | kUpper))) continue;
    if (is_a(text[i]) && is_lone_a(text, i)) return true;
    if (i + 1 == text.size()) break;
    if (is_known_pair(text[i], text[i + 1], a.bits, b.bits) || is_known_sequence(text.substr(i))) return true;
  }
  return false;
}

Suspect find_suspect(std::u32string_view text, std::size_t from) {
  const Table& all = table();
  const auto trails = [&](std::size_t i) { return i < text.size() && (bits_in(all, text[i]) & kTrail); };
  const auto length = [&](std::size_t i, std::uint32_t bits) -> std::size_t {
    if (!(bits & (kLead2 | kLead3 | kLead4)) || !trails(i + 1)) return 0;
    if (bits & kLead2) return 2;
    if (!trails(i + 2)) return 0;
    if (bits & kLead3) return 3;
    return trails(i + 3) ? 4 : 0;
  };
  std::uint32_t before = from > 0 ? bits_in(all, text[from - 1]) : 0;
  for (std::size_t i = from; i < text.size(); ++i) {
    const std::uint32_t bits = bits_in(all, text[i]);
    std::size_t end = i;
    if (!(before & kStrictTrail)) end += length(i, bits);
    if (end > i) {
      while (const std::size_t more = end < text.size() ? length(end, bits_in(all, text[end])) : 0)
        end += more;
      return {i, end};
    }
    before = bits;
  }
  return {text.size(), text.size()};
}

}  // namespace microdit::text
