// The table of HTML5's named references, and the two ways to take them out of a text.
#include "text/html_entities.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "text/character_classes.h"
#include "text/unicode_forms.h"

namespace microdit::text {
namespace {

constexpr Entity kEntities[] = {
#include "text/html_entities.inc"
};
static_assert(std::ranges::is_sorted(kEntities, {}, &Entity::name));

constexpr std::size_t kLongestName = 32;     // code points of a name that html.unescape looks at
constexpr std::size_t kLongestOptional = 6;  // of the names that need no semicolon
constexpr std::size_t kLongestClear = 24;    // letters and digits between & and ; for ftfy
constexpr char32_t kBeyondUnicode = 0x110000;

// What a browser makes of the numbers 80 to 9F: Windows-1252; 0 stands for the number itself.
constexpr std::array<char16_t, 32> kWindows1252 = {
    0x20AC, 0,      0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6,  0x2030, 0x160,
    0x2039, 0x152,  0,      0x17D,  0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0,      0x17E,  0x178};

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_nothing(char32_t c) {
  return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
         (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

void append_number(std::string& out, char32_t number) {
  if (number >= 0x80 && number < 0xA0) {
    const char32_t meant = kWindows1252[number - 0x80];
    append(out, meant != 0 ? meant : number);
  } else if (number == 0 || is_surrogate(number) || number >= kBeyondUnicode) {
    append(out, kReplacement);
  } else if (!is_nothing(number)) {
    append(out, number);
  }
}

/// Reads "#123;" or "#x1F;" at byte `at`; moves `at` behind it, or returns false.
bool take_number(std::string_view text, std::size_t& at, std::string& out) {
  std::size_t i = at + 1;
  const bool hex = i < text.size() && (text[i] == 'x' || text[i] == 'X');
  i += hex ? 1 : 0;
  const std::size_t first = i;
  char32_t number = 0;
  for (; i < text.size() && (hex ? is_hex(text[i]) : text[i] >= '0' && text[i] <= '9'); ++i) {
    const auto digit = static_cast<char32_t>(text[i] <= '9' ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10);
    number = std::min<char32_t>(number * (hex ? 16 : 10) + digit, kBeyondUnicode);
  }
  if (i == first) return false;
  append_number(out, number);
  at = i + (i < text.size() && text[i] == ';' ? 1 : 0);
  return true;
}

/// Reads a name at byte `at`, behind the ampersand; moves `at` behind what it stands for, or returns false.
bool take_name(std::string_view text, std::size_t& at, std::string& out) {
  static constexpr std::string_view kEnds = "\t\n\f <&#;";
  std::size_t end = at;
  for (std::size_t count = 0;
       count < kLongestName && end < text.size() && kEnds.find(text[end]) == std::string_view::npos; ++count)
    end += code_point_at(text, end).bytes;
  const std::string_view name = text.substr(at, end - at);
  const bool closed = end < text.size() && text[end] == ';';
  const Entity* entity = name.empty() ? nullptr : find_entity(name);
  if (entity != nullptr && (closed || entity->semicolon_optional)) {
    out += entity->value;
    at = end + (closed ? 1 : 0);
    return true;
  }
  for (std::size_t length = std::min(name.size(), kLongestOptional); length > 1; --length) {
    entity = find_entity(name.substr(0, length));
    if (entity == nullptr || !entity->semicolon_optional) continue;
    out += entity->value;
    at += length;
    return true;
  }
  return false;
}

/// Upper-case forms of lower-case names that mean nothing as they are: &EACUTE; -> its value in upper case.
std::unordered_map<std::string, std::string> make_shouted() {
  std::unordered_map<std::string, std::string> shouted;
  for (const Entity& entity : kEntities) {
    if (std::ranges::any_of(entity.name, [](char c) { return c >= 'A' && c <= 'Z'; })) continue;
    std::string name = upper(entity.name);
    const std::string reference = "&" + name + ";";
    if (html_unescape(reference) == reference) shouted.emplace(std::move(name), upper(entity.value));
  }
  return shouted;
}

/// What ftfy makes of "&NAME;"; false when it stays.
bool append_clear(std::string& out, std::string_view name) {
  if (name.front() == '#') {
    std::string number;
    std::size_t at = 0;
    if (!take_number(name, at, number) || at != name.size() || number == ";") return false;
    out += number;
    return true;
  }
  if (const Entity* entity = find_entity(name)) {
    out += entity->value;
    return true;
  }
  static const std::unordered_map<std::string, std::string> kShouted = make_shouted();
  const auto found = kShouted.find(std::string(name));
  if (found == kShouted.end()) return false;
  out += found->second;
  return true;
}

/// `take(text, at, out)`: whether what follows an ampersand is a reference; then its text is appended and `at` lies behind it.
template <class Take>
std::string replace_references(std::string_view text, const Take& take) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t ampersand = std::min(text.find('&', i), text.size());
    out += text.substr(i, ampersand - i);
    i = ampersand + 1;
    if (i > text.size()) break;
    if (!take(text, i, out)) out += '&';
  }
  return out;
}

}  // namespace

const Entity* find_entity(std::string_view name) {
  const auto found = std::ranges::lower_bound(kEntities, name, {}, &Entity::name);
  return found != std::end(kEntities) && found->name == name ? &*found : nullptr;
}

std::string html_unescape(std::string_view text) {
  return replace_references(text, [](std::string_view all, std::size_t& at, std::string& out) {
    const bool number = at < all.size() && all[at] == '#';
    return number ? take_number(all, at, out) : take_name(all, at, out);
  });
}

std::string unescape_clear_entities(std::string_view text) {
  return replace_references(text, [](std::string_view all, std::size_t& at, std::string& out) {
    const std::size_t letters = at + (at < all.size() && all[at] == '#' ? 1 : 0);
    std::size_t end = letters;
    while (end < all.size() && end - letters < kLongestClear &&
           ascii::is(static_cast<unsigned char>(all[end]), ascii::kLetter | ascii::kDigit))
      ++end;
    const bool closed = end > letters && end < all.size() && all[end] == ';';
    if (!closed || !append_clear(out, all.substr(at, end - at))) return false;
    at = end + 1;
    return true;
  });
}

}  // namespace microdit::text
