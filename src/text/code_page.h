// The single-byte encodings that text is wrongly decoded with.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace microdit::text {

/// One code page, both ways. A sloppy one gives unassigned bytes the characters of their numbers, and byte 1A is U+FFFD (a
/// character that an earlier program lost).
class CodePage {
 public:
  enum Name { kLatin1, kWindows1252, kWindows1251, kWindows1250, kWindows1253, kWindows1254, kWindows1257,
              kLatin2, kMacRoman, kIbm437, kCount };

  bool is_sloppy() const { return sloppy_; }
  /// Nothing when a character has no byte.
  std::optional<std::string> encode(std::u32string_view text) const;
  char32_t decode(unsigned char byte) const { return characters_[byte]; }

  /// In the order in which ftfy 6.3.1 tries them.
  static const CodePage& get(Name name);

 private:
  explicit CodePage(Name name);

  bool sloppy_;
  std::array<char32_t, 256> characters_{};
  std::unordered_map<char32_t, unsigned char> bytes_;  ///< beyond ASCII
};

}  // namespace microdit::text
