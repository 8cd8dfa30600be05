// Does a text look like UTF-8 that was decoded with a single-byte encoding? ftfy 6.3.1's two detectors.
#pragma once

#include <cstddef>
#include <string_view>

namespace microdit::text {

/// ftfy's badness heuristic: some characters stand beside each other as they hardly do but in mojibake.
bool is_bad(std::u32string_view text);

/// A run of characters that are the images of UTF-8 sequences in one of the single-byte encodings.
struct Suspect {
  std::size_t begin, end;  ///< begin == end: none
};
/// The first run at or after `from`.
Suspect find_suspect(std::u32string_view text, std::size_t from);

}  // namespace microdit::text
