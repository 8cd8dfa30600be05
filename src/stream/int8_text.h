// Text rows stored as int8 with one scale per token -> f16.
#pragma once

#include <cstdint>
#include <span>

namespace microdit::stream {

/// out[l][d] = values[l][d] * scales[l], rounded to f16; values [L, D], scales [L].
void widen_text(std::span<const std::int8_t> values, std::span<const float> scales, std::uint16_t* out);

}  // namespace microdit::stream
