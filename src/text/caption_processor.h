// Captions cleaned as the original cleans them, or gently.
#pragma once

#include <string>
#include <string_view>

namespace microdit::text {

/// micro_diffusion's CaptionProcessor.clean_caption (micro_diffusion/datasets/captions.py): two runs of all its passes. Lower case, without
/// addresses, markup, CJK ideographs, codes and most punctuation. May be empty. Valid UTF-8 in and out; linear time.
std::string clean_caption(std::string_view text);

/// What leaves every caption's words alone: fix_text, then runs of white space -> one space, none at the ends.
/// May be empty. Valid UTF-8 in and out.
std::string gentle_caption(std::string_view text);

}  // namespace microdit::text
