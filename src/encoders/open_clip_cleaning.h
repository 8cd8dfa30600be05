// What open_clip does to a text before it is split into words.
#pragma once

#include <string>
#include <string_view>

namespace microdit::encoders {

/// open_clip 3.3's clean "lower": ftfy's fix_text, html.unescape twice, white space to single blanks (none at the ends), str.lower.
/// `text` is valid UTF-8.
std::string open_clip_clean(std::string_view text);

}  // namespace microdit::encoders
