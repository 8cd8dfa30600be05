// Letter case and composition as in Python 3.11 (Unicode 14.0.0), by ICU.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

/// str.lower(): full mappings, the final sigma by its neighbours. `text` is valid UTF-8.
std::string lower(std::string_view text);
/// The same, in place.
void make_lower(std::string& text);
/// str.upper(). `text` is valid UTF-8.
std::string upper(std::string_view text);

/// unicodedata.normalize("NFC", text), in linear time. `text` holds no surrogates. Characters that Unicode 14.0.0 does
/// not have stay as they are, whatever ICU knows of them.
std::u32string nfc(std::u32string text);

/// unicodedata.normalize("NFKC", c)
std::u32string nfkc(char32_t c);

}  // namespace microdit::text
