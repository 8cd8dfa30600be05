// Repair of Unicode text: ftfy's fix_text.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

/// ftfy 6.3.1's fix_text with its defaults: entities, mojibake, C1 controls, ligatures, width, quotes, line breaks,
/// surrogates, terminal escapes, control characters, NFC. `text` may hold lone surrogates; what comes out is valid UTF-8.
std::string fix_text(std::string_view text);

}  // namespace microdit::text
