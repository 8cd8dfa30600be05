// Grapheme clusters (UAX 29), as far as tokenizers need them.
#pragma once

#include <cstddef>
#include <string_view>

namespace microdit::encoders {

/// Bytes of the extended grapheme cluster at the beginning of `text`, which is valid UTF-8 and not empty. Regional indicators
/// are not paired and conjuncts (rule GB9c) not joined: such clusters are longer than those that Charsmap looks up.
std::size_t grapheme_bytes(std::string_view text);

}  // namespace microdit::encoders
