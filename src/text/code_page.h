// The single-byte encodings that text is wrongly decoded with.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace microdit::text {

/// One code page, both ways. A sloppy one gives unassigned bytes the characters of their numbers, and byte 1A is U+FFFD (a
/// character that an earlier program lost).
class CodePage {
 public:
  enum Name {
    kLatin1,
    kWindows1252,
    kWindows1251,
    kWindows1250,
    kWindows1253,
    kWindows1254,
    kWindows1257,
    kLatin2,
    kMacRoman,
    kIbm437,
    kCount
  };

  bool is_sloppy() const { return sloppy_; }
  /// The bytes of a text; nothing when a character has none, or when they can be no UTF-8, not even with lost or altered
  /// bytes (utf8_variants.h), because what follows a first byte does not belong to it.
  std::optional<std::string> encode_sequences(std::u32string_view text) const;
  char32_t decode(unsigned char byte) const { return characters_[byte]; }

  /// Of which pages every character of a text has a byte: bit i is page i.
  static unsigned pages_of(std::u32string_view text);

  /// In the order in which ftfy 6.3.1 tries them.
  static const CodePage& get(Name name);

 private:
  explicit CodePage(Name name);

  /// The byte of a character; 0 when there is none.
  unsigned char byte_of(char32_t c) const { return c < kTableEnd ? bytes_[c] : byte_beyond(c); }
  unsigned char byte_beyond(char32_t c) const;

  static constexpr char32_t kTableEnd = 0x2600;  // all but a few of the characters lie below
  bool sloppy_;
  std::array<char32_t, 256> characters_{};
  std::array<unsigned char, kTableEnd> bytes_{};
};

}  // namespace microdit::text
