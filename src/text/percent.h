// Form-encoded text.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

/// urllib.parse.unquote_plus: '+' -> space, %XX -> bytes; each run of ASCII is decoded as UTF-8 by itself, with U+FFFD for what
/// is none. Valid UTF-8 in and out.
std::string unquote_plus(std::string_view text);

}  // namespace microdit::text
