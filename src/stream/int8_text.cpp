// A token has 256 possible values: they are rounded once, then looked up.
#include "stream/int8_text.h"

#include <array>

#include "core/dtype.h"

namespace microdit::stream {

void widen_text(std::span<const std::int8_t> values, std::span<const float> scales, std::uint16_t* out) {
  const std::size_t width = scales.empty() ? 0 : values.size() / scales.size();
  std::array<std::uint16_t, 256> halves;
  for (std::size_t token = 0; token < scales.size(); ++token) {
    for (int value = -128; value < 128; ++value)
      halves[static_cast<std::uint8_t>(value)] =
          core::float_to_half(static_cast<float>(value) * scales[token]);
    for (std::size_t i = token * width; i < (token + 1) * width; ++i)
      out[i] = halves[static_cast<std::uint8_t>(values[i])];
  }
}

}  // namespace microdit::stream
