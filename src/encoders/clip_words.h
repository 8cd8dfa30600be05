// CLIP's splitting of a cleaned text into words, and the characters it tells apart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace microdit::encoders {

/// Whose Unicode tables and quirks: the package regex (open_clip), or Oniguruma in tokenizers (transformers).
enum class ClipRules : std::uint8_t { kOpenClip, kTransformers };

/// The length in bytes of the next word at `text`'s beginning; 0 when a white space stands there, which belongs to no word.
/// `text` is valid UTF-8 and not empty. The pattern of CLIP's SimpleTokenizer: 's 't 're 've 'm 'll 'd | letters | one
/// number | a run of others. open_clip takes it without regard to case, so that U+017F is an s too.
std::size_t clip_word(std::string_view text, ClipRules rules);

/// The normalisation of transformers' CLIPTokenizer: NFC, white space to one space, lower case character by character.
/// `text` is valid UTF-8.
std::string transformers_clean(std::string_view text);

}  // namespace microdit::encoders
