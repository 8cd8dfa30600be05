// One picture on its way to noise, under every path.
#pragma once

#include <cstdint>
#include <string>

#include "explain/chapter.h"

namespace microdit::explain {

/// The user's picture, its middle square brought to the strips' size; a drawn one for "". UserError, with the file: no picture.
image::Image read_picture(const std::string& file);

/// A landscape with large areas, an edge in every direction and small things.
image::Image test_card(std::int64_t side);

/// A row for each path, with the same noise. `whose`: what the caption calls the picture.
Chapter strips_chapter(const image::Image& picture, const std::string& whose, std::uint64_t seed);

}  // namespace microdit::explain
