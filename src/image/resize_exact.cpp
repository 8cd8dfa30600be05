// Pillow's bicubic resize of floating-point pictures.
#include <cstddef>

#include "core/error.h"
#include "image/resize.h"
#include "image/resize_taps.h"

namespace microdit::image {
namespace {

/// [rows, columns, 3] -> [rows, outputs, 3]
template <class T>
std::vector<float> across(const T* source, std::int64_t rows, std::int64_t columns, std::int64_t outputs) {
  const ExactTaps taps = make_exact_taps(columns, outputs, {0, outputs});
  std::vector<float> out(static_cast<std::size_t>(rows * outputs * 3));
  for (std::int64_t y = 0; y < rows; ++y) {
    const T* line = source + y * columns * 3;
    float* to = out.data() + y * outputs * 3;
    for (std::int64_t x = 0; x < outputs; ++x, to += 3) {
      const double* weights = taps.weights.data() + x * taps.window;
      const T* from = line + taps.first[static_cast<std::size_t>(x)] * 3;
      double sums[3] = {};
      for (std::int64_t k = 0; k < taps.count[static_cast<std::size_t>(x)]; ++k)
        for (std::int64_t c = 0; c < 3; ++c) sums[c] += weights[k] * static_cast<double>(from[k * 3 + c]);
      for (std::int64_t c = 0; c < 3; ++c) to[c] = static_cast<float>(sums[c]);
    }
  }
  return out;
}

/// [rows, width] -> [outputs, width]
template <class T>
std::vector<float> down(const T* source, std::int64_t rows, std::int64_t width, std::int64_t outputs) {
  const ExactTaps taps = make_exact_taps(rows, outputs, {0, outputs});
  std::vector<float> out(static_cast<std::size_t>(outputs * width));
  std::vector<double> sums(static_cast<std::size_t>(width));
  for (std::int64_t y = 0; y < outputs; ++y) {
    std::fill(sums.begin(), sums.end(), 0.0);
    const double* weights = taps.weights.data() + y * taps.window;
    for (std::int64_t k = 0; k < taps.count[static_cast<std::size_t>(y)]; ++k) {
      const T* from = source + (taps.first[static_cast<std::size_t>(y)] + k) * width;
      for (std::int64_t x = 0; x < width; ++x)
        sums[static_cast<std::size_t>(x)] += weights[k] * static_cast<double>(from[x]);
    }
    for (std::int64_t x = 0; x < width; ++x)
      out[static_cast<std::size_t>(y * width + x)] = static_cast<float>(sums[static_cast<std::size_t>(x)]);
  }
  return out;
}

}  // namespace

std::vector<float> resize_bicubic_exact(const Image& source, std::int64_t width, std::int64_t height) {
  core::check(source.width > 0 && source.height > 0 && width > 0 && height > 0,
              "resize of {} x {} to {} x {}", source.width, source.height, width, height);
  const bool wide = width != source.width, tall = height != source.height;
  if (!wide && !tall) return {source.pixels.begin(), source.pixels.end()};
  if (!wide) return down(source.pixels.data(), source.height, width * 3, height);
  const std::vector<float> rows = across(source.pixels.data(), source.height, source.width, width);
  return tall ? down(rows.data(), source.height, width * 3, height) : rows;
}

}  // namespace microdit::image
