// Bytes that are UTF-8 but for what some program did to them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace microdit::text {

/// Does a sequence occur that would be likely UTF-8 if its space were A0?
bool has_altered_sequence(std::string_view bytes);

/// Spaces back to A0 where that makes a likely UTF-8 sequence: some program took the byte A0 for a space.
std::string restore_byte_a0(std::string_view bytes);

/// UTF-8 sequences of which bytes were lost (1A, or one '?') become U+FFFD.
std::string replace_lossy_sequences(std::string_view bytes);

/// Strict UTF-8; nothing when it is not. Where ED or C0 occur: also surrogate pairs of three bytes each (CESU-8), and C0 80
/// for the null character (Java). A C0 before a final line break eats that too, as in ftfy.
std::optional<std::u32string> decode_utf8(std::string_view bytes);

}  // namespace microdit::text
