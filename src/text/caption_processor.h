// Captions cleaned as the original cleans them, or gently.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

/// micro_diffusion's CaptionProcessor.clean_caption (micro_diffusion/datasets/captions.py): two runs of all its passes. Lower case, without
/// addresses, markup, CJK ideographs, codes and most punctuation. May be empty. Other bytes than UTF-8 are U+FFFD each. Linear time.
std::string clean_caption(std::string_view text);

/// What leaves every caption's words alone: fix_text, then runs of white space -> one space, none at the ends.
/// May be empty. Other bytes than UTF-8 are U+FFFD each.
std::string gentle_caption(std::string_view text);

}  // namespace microdit::text
