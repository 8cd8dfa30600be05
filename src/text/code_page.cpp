// Code pages from Python's codecs.
#include "text/code_page.h"

#include "text/code_points.h"

namespace microdit::text {
namespace {

constexpr char32_t kHighHalves[][128] = {
#include "text/code_pages.inc"
};
static_assert(std::size(kHighHalves) == CodePage::kCount - 1);  // Latin-1 needs none
constexpr unsigned char kSubstitute = 0x1A;

}  // namespace

CodePage::CodePage(Name name) : sloppy_(name >= kWindows1252 && name <= kWindows1257) {
  for (char32_t byte = 0; byte < 256; ++byte)
    characters_[byte] = byte < 128 || name == kLatin1 ? byte : kHighHalves[name - 1][byte - 128];
  if (sloppy_) characters_[kSubstitute] = kReplacement;
  for (char32_t byte = 0; byte < 256; ++byte)
    if (characters_[byte] >= 128) bytes_.emplace(characters_[byte], static_cast<unsigned char>(byte));
}

const CodePage& CodePage::get(Name name) {
  static const std::array<CodePage, kCount> kPages = {
      CodePage(kLatin1),      CodePage(kWindows1252), CodePage(kWindows1251), CodePage(kWindows1250),
      CodePage(kWindows1253), CodePage(kWindows1254), CodePage(kWindows1257), CodePage(kLatin2),
      CodePage(kMacRoman),    CodePage(kIbm437)};
  return kPages[name];
}

std::optional<std::string> CodePage::encode(std::u32string_view text) const {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t c : text) {
    if (c < 128) {
      if (characters_[c] != c) return std::nullopt;
      bytes += static_cast<char>(c);
      continue;
    }
    const auto found = bytes_.find(c);
    if (found == bytes_.end()) return std::nullopt;
    bytes += static_cast<char>(found->second);
  }
  return bytes;
}

}  // namespace microdit::text
