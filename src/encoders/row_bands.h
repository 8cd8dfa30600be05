// Pictures in bands of rows, so that what a layer needs beside its input and its output stays small. Private to encoders.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <array>

namespace microdit::encoders {

/// What the rows of a band take, at most (one row may take more).
inline constexpr std::int64_t kBandBytes = std::int64_t{32} << 20;

/// Padding of a 3x3 (or 2x2) convolution over rows_of: zeros beside the picture alone.
inline constexpr std::array<std::int64_t, 2> kPadColumns = {0, 1};

/// Whether a layer whose widest activation takes `bytes` runs in bands: on CPU, where no gradient is wanted, and the activation
/// is more than one band. (On a GPU whole pictures are faster, and pictures_at_once bounds them.)
inline bool in_bands(const torch::Tensor& x_BCHW, std::int64_t bytes) {
  const torch::ScalarType type = x_BCHW.scalar_type();
  return bytes > kBandBytes && !at::GradMode::is_enabled() && x_BCHW.is_cpu() &&
         (type == torch::kFloat32 || type == torch::kBFloat16);
}

/// Rows [first, last) of a picture; zeros stand for those that it does not have.
inline torch::Tensor rows_of(const torch::Tensor& x_BCHW, std::int64_t first, std::int64_t last) {
  const std::int64_t begin = std::max<std::int64_t>(first, 0), end = std::min(last, x_BCHW.size(2));
  const torch::Tensor rows = x_BCHW.narrow(2, begin, end - begin);
  return begin == first && end == last ? rows : at::constant_pad_nd(rows, {0, 0, begin - first, last - end});
}

/// Calls band(first, last) for one band after the other; `bytes`: of the widest activation of all `height` rows.
template <class Band>
void for_each_band(std::int64_t height, std::int64_t bytes, const Band& band) {
  const std::int64_t rows = std::max<std::int64_t>(1, kBandBytes * height / bytes);
  for (std::int64_t first = 0; first < height; first += rows) band(first, std::min(first + rows, height));
}

/// The rows that `band(first, last)` gives, one band after the other, as one channels-last picture of `height * scale` rows.
template <class Band>
torch::Tensor by_bands(std::int64_t height, std::int64_t bytes, std::int64_t scale, const Band& band) {
  torch::Tensor whole;
  for_each_band(height, bytes, [&](std::int64_t first, std::int64_t last) {
    const torch::Tensor part = band(first, last);
    if (!whole.defined())
      whole = torch::empty({part.size(0), part.size(1), height * scale, part.size(3)},
                           part.options().memory_format(at::MemoryFormat::ChannelsLast));
    whole.narrow(2, first * scale, (last - first) * scale).copy_(part);
  });
  return whole;
}

}  // namespace microdit::encoders
