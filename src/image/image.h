// An 8-bit picture in memory.
#pragma once

#include <cstdint>
#include <vector>

namespace microdit::image {

/// HWC, 3 channels RGB, rows packed.
struct Image {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<std::uint8_t> pixels;  ///< height * width * 3

  Image() = default;
  Image(std::int64_t h, std::int64_t w, std::uint8_t fill = 255)
      : height(h), width(w), pixels(static_cast<std::size_t>(h * w * 3), fill) {}
  std::uint8_t* row(std::int64_t y) { return pixels.data() + y * width * 3; }
  const std::uint8_t* row(std::int64_t y) const { return pixels.data() + y * width * 3; }
};

}  // namespace microdit::image
