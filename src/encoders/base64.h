// Base64 (RFC 4648), strict.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace microdit::encoders {

/// The bytes; nothing when a character or the padding is wrong.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace microdit::encoders
