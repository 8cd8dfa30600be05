// The byte patterns of ftfy 6.3.1's transcoders.
#include "text/utf8_variants.h"

#include <algorithm>

namespace microdit::text {
namespace {

using Byte = unsigned char;

/// Patterns over the bytes from `i` on; what lies behind the end matches nothing.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  bool is(std::size_t i, Byte first, Byte last) const {
    return i < bytes_.size() && static_cast<Byte>(bytes_[i]) >= first && static_cast<Byte>(bytes_[i]) <= last;
  }
  template <std::size_t N>
  bool is(std::size_t i, const char (&set)[N]) const {
    return i < bytes_.size() && std::find(set, set + N - 1, bytes_[i]) != set + N - 1;
  }
  bool trails(std::size_t i) const { return is(i, 0x80, 0xbf); }

 private:
  std::string_view bytes_;
};

/// The bytes of a sequence at `i` that needs a space to be A0; 0 when there is none.
std::size_t altered_length(const Bytes& b, std::size_t i) {
  if (!b.is(i, 0xc2, 0xf0)) return 0;
  const auto trails = [&](std::size_t k) { return b.trails(k) && !b.is(k, "\x85\xa0"); };
  if (b.is(i, "\xc2\xc3\xc5\xce\xd0\xd9") && b.is(i + 1, " ")) return 2;
  if (b.is(i, 0xe2, 0xe3) && b.is(i + 1, " ") && trails(i + 2)) return 3;
  if (b.is(i, 0xe0, 0xe3) && trails(i + 1) && b.is(i + 2, " ")) return 3;
  if (!b.is(i, "\xf0")) return 0;
  const int spaces = b.is(i + 1, " ") + b.is(i + 2, " ") + b.is(i + 3, " ");
  const int trailers = b.trails(i + 1) + b.trails(i + 2) + b.trails(i + 3);
  return spaces == 1 && trailers == 2 ? 4 : 0;
}

/// The bytes of a sequence at `i` with a lost byte; 0 when there is none.
std::size_t lossy_length(const Bytes& b, std::size_t i) {
  const auto lost = [&](std::size_t k) { return b.is(k, "\x1a?"); };
  const auto trails = [&](std::size_t k) { return b.trails(k) || b.is(k, "\x1a"); };
  if (b.is(i, 0xc2, 0xdf) && b.is(i + 1, "\x1a")) return 2;
  if (b.is(i, 0xc2, 0xc3) && b.is(i + 1, "?")) return 2;
  if (b.is(i, "\xed") && b.is(i + 1, 0xa0, 0xaf) && b.is(i + 3, "\xed") && b.is(i + 4, 0xb0, 0xbf) &&
      ((lost(i + 2) && (lost(i + 5) || b.trails(i + 5))) || (b.trails(i + 2) && lost(i + 5))))
    return 6;
  if (b.is(i, 0xe0, 0xef) && ((lost(i + 1) && trails(i + 2)) || (trails(i + 1) && lost(i + 2)))) return 3;
  if (b.is(i, 0xf0, 0xf4)) {
    for (std::size_t k = 1; k <= 3; ++k) {
      const std::size_t others[] = {k == 1 ? i + 2 : i + 1, k == 3 ? i + 2 : i + 3};
      if (lost(i + k) && trails(others[0]) && trails(others[1])) return 4;
    }
  }
  return b.is(i, "\x1a") ? 1 : 0;
}

/// Bytes of the UTF-8 sequence that begins at `i` (RFC 3629); 0 when there is none.
std::size_t sequence_length(const Bytes& b, std::size_t i) {
  if (b.is(i, 0, 0x7f)) return 1;
  if (b.is(i, 0xc2, 0xdf)) return b.trails(i + 1) ? 2 : 0;
  if (b.is(i, 0xe0, 0xef)) {
    const bool second = b.is(i, "\xe0")   ? b.is(i + 1, 0xa0, 0xbf)
                        : b.is(i, "\xed") ? b.is(i + 1, 0x80, 0x9f)
                                          : b.trails(i + 1);
    return second && b.trails(i + 2) ? 3 : 0;
  }
  if (!b.is(i, 0xf0, 0xf4)) return 0;
  const bool second = b.is(i, "\xf0")   ? b.is(i + 1, 0x90, 0xbf)
                      : b.is(i, "\xf4") ? b.is(i + 1, 0x80, 0x8f)
                                        : b.trails(i + 1);
  return second && b.trails(i + 2) && b.trails(i + 3) ? 4 : 0;
}

char32_t value_of(std::string_view sequence) {
  if (sequence.size() == 1) return static_cast<Byte>(sequence[0]);
  char32_t value = static_cast<Byte>(sequence[0]) & (0xffu >> (sequence.size() + 1));
  for (const char byte : sequence.substr(1)) value = (value << 6) | (static_cast<Byte>(byte) & 0x3fu);
  return value;
}

/// A CESU-8 pair at `i`; its last byte may be a final line break, as ftfy's pattern has it.
bool is_surrogate_pair(const Bytes& b, std::size_t i, std::size_t size) {
  return b.is(i, "\xed") && b.is(i + 1, 0xa0, 0xaf) && b.trails(i + 2) && b.is(i + 3, "\xed") &&
         b.is(i + 4, 0xb0, 0xbf) && (b.trails(i + 5) || (b.is(i + 5, "\n") && i + 6 == size));
}

}  // namespace

std::string restore_byte_a0(std::string_view bytes) {
  std::string grave;  // "à" as a word of its own keeps the space behind it
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    grave += bytes[i];
    const std::string_view rest = bytes.substr(std::min(i + 2, bytes.size()));
    if (bytes[i] != '\xc3' || i + 1 >= bytes.size() || bytes[i + 1] != ' ') continue;
    constexpr std::string_view kOther[] = {" ", "quele", "quela", "quilo", "s "};
    if (std::ranges::any_of(kOther, [&](std::string_view word) { return rest.starts_with(word); })) continue;
    grave += "\xa0 ";
    ++i;
  }
  const Bytes b(grave);
  std::string out = grave;
  for (std::size_t i = 0; i < grave.size();) {
    const std::size_t length = altered_length(b, i);
    std::replace(out.begin() + static_cast<std::ptrdiff_t>(i),
                 out.begin() + static_cast<std::ptrdiff_t>(i + length), ' ', '\xa0');
    i += std::max<std::size_t>(length, 1);
  }
  return out;
}

bool has_altered_sequence(std::string_view bytes) {
  const Bytes b(bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (altered_length(b, i) > 0) return true;
  return false;
}

std::string replace_lossy_sequences(std::string_view bytes) {
  if (bytes.find('\x1a') == std::string_view::npos && bytes.find('?') == std::string_view::npos)
    return std::string(bytes);
  const Bytes b(bytes);
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    if (const std::size_t length = lossy_length(b, i)) {
      out += "\xef\xbf\xbd";
      i += length;
    } else {
      out += bytes[i++];
    }
  }
  return out;
}

std::optional<std::u32string> decode_utf8(std::string_view bytes) {
  const Bytes b(bytes);
  std::u32string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    if (const std::size_t length = sequence_length(b, i)) {
      out += value_of(bytes.substr(i, length));
      i += length;
    } else if (b.is(i, "\xc0") && (b.is(i + 1, "\x80") || (b.is(i + 1, "\n") && i + 2 == bytes.size()))) {
      out += U'\0';
      i += 2;
    } else if (is_surrogate_pair(b, i, bytes.size())) {
      const auto bits = [&](std::size_t k, unsigned mask) { return static_cast<Byte>(bytes[i + k]) & mask; };
      out += 0x10000 + ((bits(1, 0xf) << 16) | (bits(2, 0x3f) << 10) | (bits(4, 0xf) << 6) | bits(5, 0x3f));
      i += 6;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace microdit::text
