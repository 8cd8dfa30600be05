// Code pages from Python's codecs.
#include "text/code_page.h"

#include <algorithm>
#include <cstdint>

#include "text/code_points.h"

namespace microdit::text {
namespace {

constexpr char32_t kHighHalves[][128] = {
#include "text/code_pages.inc"
};
static_assert(std::size(kHighHalves) == CodePage::kCount - 1);  // Latin-1 needs none
constexpr char32_t kFirstBeyond = 0xF8FF;  // of the few behind the table: MacRoman's apple and ligatures
constexpr unsigned char kSubstitute = 0x1A;

/// What may stand behind the first byte of a UTF-8 sequence, or in place of what did.
bool may_trail(unsigned char byte) {
  return (byte >= 0x80 && byte < 0xC0) || byte == ' ' || byte == '?' || byte == '\n' || byte == kSubstitute;
}

}  // namespace

CodePage::CodePage(Name name) : sloppy_(name >= kWindows1252 && name <= kWindows1257) {
  for (char32_t byte = 0; byte < 256; ++byte)
    characters_[byte] = byte < 128 || name == kLatin1 ? byte : kHighHalves[name - 1][byte - 128];
  if (sloppy_) characters_[kSubstitute] = kReplacement;
  for (char32_t byte = 0; byte < 256; ++byte)
    if (const char32_t c = characters_[byte]; c < kTableEnd) bytes_[c] = static_cast<unsigned char>(byte);
}

unsigned char CodePage::byte_beyond(char32_t c) const {
  if (c == kReplacement) return sloppy_ ? kSubstitute : 0;
  if (c < kFirstBeyond) return 0;
  const auto found = std::ranges::find(characters_, c);
  return static_cast<unsigned char>(found == characters_.end() ? 0 : found - characters_.begin());
}

const CodePage& CodePage::get(Name name) {
  static const std::array<CodePage, kCount> kPages = {
      CodePage(kLatin1),      CodePage(kWindows1252), CodePage(kWindows1251), CodePage(kWindows1250),
      CodePage(kWindows1253), CodePage(kWindows1254), CodePage(kWindows1257), CodePage(kLatin2),
      CodePage(kMacRoman),    CodePage(kIbm437)};
  return kPages[name];
}

std::optional<std::string> CodePage::encode_sequences(std::u32string_view text) const {
  std::string bytes(text.size(), '\0');
  bool after_lead = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const unsigned char byte = byte_of(text[i]);
    if (byte == 0 && text[i] != 0) return std::nullopt;
    if (after_lead && !may_trail(byte)) return std::nullopt;
    after_lead = byte >= 0xC0;
    bytes[i] = static_cast<char>(byte);
  }
  return after_lead ? std::nullopt : std::optional(std::move(bytes));
}

unsigned CodePage::pages_of(std::u32string_view text) {
  static const auto kPagesOf = [] {
    std::array<std::uint16_t, kTableEnd> pages{};
    for (unsigned name = 0; name < kCount; ++name)
      for (const char32_t c : get(static_cast<Name>(name)).characters_)
        if (c < kTableEnd) pages[c] = static_cast<std::uint16_t>(pages[c] | 1u << name);
    return pages;
  }();
  unsigned common = (1u << kCount) - 1;
  for (const char32_t c : text) {
    if (c < kTableEnd) {
      common &= kPagesOf[c];
    } else {
      for (unsigned name = 0; name < kCount; ++name)
        if (common >> name & 1 && get(static_cast<Name>(name)).byte_of(c) == 0) common &= ~(1u << name);
    }
    if (common == 0) break;
  }
  return common;
}

}  // namespace microdit::text
