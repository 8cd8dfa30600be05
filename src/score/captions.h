// Captions of a dataset as prompts: what a zero-shot evaluation paints.
#pragma once

#include <cstdint>
#include <filesystem>

#include "score/pictures.h"

namespace microdit::score {

/// Writes a file for `generate --prompts`: the captions of `count` of the pictures, each drawn once, a function of the list and of
/// `seed`; line breaks become blanks. UserError when fewer have a caption.
void draw_captions(const Pictures& pictures, std::int64_t count, std::uint64_t seed,
                   const std::filesystem::path& file);

}  // namespace microdit::score
