// Is text that came from outside UTF-8? Everything that goes on into JSON, PNG or YAML must be.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace microdit::core {

/// Where the first byte stands that is not UTF-8; nothing when all is.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

/// The text with U+FFFD for every byte that is not UTF-8 (names of files, for messages and records).
std::string with_valid_utf8(std::string_view text);

/// At most `bytes` bytes, cut between characters, with "..." for the rest (messages).
std::string shortened(std::string_view text, std::size_t bytes);

/// UserError, "<where> is not UTF-8 (byte N); ..." with what to do, when it is not, or holds a zero byte.
void check_text(std::string_view text, const std::string& where);

/// What a file's first bytes say when it is UTF-16 or UTF-32 with a mark; "" when they say nothing.
std::string_view marked_encoding(std::string_view bytes);

}  // namespace microdit::core
