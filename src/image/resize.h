// Pillow's resize: bicubic (a = -0.5) with antialias, 8-bit fixed point, two passes: 0 differing pixels.
#pragma once

#include <vector>

#include "image/image.h"

namespace microdit::image {

/// Equal to PIL.Image.resize((width, height), BICUBIC) of Pillow 13. It resizes vertically first when that
/// removes over twice as many rows as columns; older ones always horizontally first, which rounds otherwise.
Image resize_bicubic(const Image& source, std::int64_t width, std::int64_t height);

/// Channel by channel in floating point, as Pillow resizes pictures of mode F: fp64 sums, fp32 between the passes, values from 0 to
/// 255 and somewhat beyond. height x width x 3. It rounds as Pillow does to within 1e-4.
std::vector<float> resize_bicubic_exact(const Image& source, std::int64_t width, std::int64_t height);

/// The shorter edge to `size` (longer = int(size * long / short), torchvision's rule), then the centre crop
/// to size x size (offset int(round((long - size) / 2.0)), torchvision's rule).
Image resize_and_center_crop(const Image& source, std::int64_t size);

}  // namespace microdit::image
