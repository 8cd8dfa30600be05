// Output pixel (2h+p, 2w+q) of the enlarged picture sees input rows h-1+p, h+p and columns w-1+q, w+q only.
// So the 3x3 kernel folds into four 2x2 kernels, one per parity (p, q); one convolution computes all four as
// 4 O channels on (H+1) x (W+1) places, and an interleaving copy picks each parity's H x W of them.
#include "encoders/upsample_conv.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>

#include "encoders/row_bands.h"
#include "nn/precision.h"

namespace microdit::encoders {
namespace {

struct Sizes {
  std::int64_t batch, channels, height, width;  ///< of the picture that is enlarged; channels of the result
};

/// Calls copy(place, pixel) for every used group of `channels` floats: offsets into places [B, H+1, W+1, 2,
/// 2, O] and into pixels [B, 2H, 2W, O].
template <class Copy>
void for_each_pixel(const Sizes& s, const Copy& copy) {
  at::parallel_for(0, s.batch * s.height, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t b = row / s.height, h = row % s.height;
      for (std::int64_t p = 0; p < 2; ++p) {
        const std::int64_t place_row = (b * (s.height + 1) + h + p) * (s.width + 1);
        const std::int64_t pixel_row = (b * 2 * s.height + 2 * h + p) * 2 * s.width;
        for (std::int64_t w = 0; w < s.width; ++w)
          for (std::int64_t q = 0; q < 2; ++q)
            copy(((place_row + w + q) * 4 + 2 * p + q) * s.channels, (pixel_row + 2 * w + q) * s.channels);
      }
    }
  });
}

/// The values of a tensor, whatever their type.
class Elements {
 public:
  explicit Elements(const torch::Tensor& tensor)
      : bytes_(static_cast<std::byte*>(tensor.data_ptr())),
        size_(static_cast<std::int64_t>(tensor.element_size())) {}
  void copy(std::int64_t to, const Elements& other, std::int64_t from, std::int64_t count) const {
    std::memcpy(bytes_ + to * size_, other.bytes_ + from * size_, static_cast<std::size_t>(count * size_));
  }

 private:
  std::byte* bytes_;
  std::int64_t size_;
};

Sizes sizes_of(const torch::Tensor& places) {
  return {places.size(0), places.size(1) / 4, places.size(2) - 1, places.size(3) - 1};
}

/// places [B, 4 O, H+1, W+1] -> [B, O, 2H, 2W], both channels-last.
torch::Tensor interleaved(const torch::Tensor& input) {
  const torch::Tensor places = input.contiguous(at::MemoryFormat::ChannelsLast);
  const Sizes s = sizes_of(places);
  torch::Tensor pixels = torch::empty({s.batch, s.channels, 2 * s.height, 2 * s.width},
                                      places.options().memory_format(at::MemoryFormat::ChannelsLast));
  const Elements from(places), to(pixels);
  for_each_pixel(s, [&](std::int64_t place, std::int64_t pixel) { to.copy(pixel, from, place, s.channels); });
  return pixels;
}

/// The same, differentiable.
class Interleave : public torch::autograd::Function<Interleave> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& places) {
    const Sizes s = sizes_of(places);
    context->saved_data["sizes"] = std::vector<std::int64_t>{s.batch, s.channels, s.height, s.width};
    return interleaved(places);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->saved_data["sizes"].toIntVector();
    const Sizes s{saved[0], saved[1], saved[2], saved[3]};
    const torch::Tensor upstream = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    // Places at the rim belong to no pixel for some parities: their gradient is zero.
    torch::Tensor places = torch::empty({s.batch, 4 * s.channels, s.height + 1, s.width + 1},
                                        upstream.options().memory_format(at::MemoryFormat::ChannelsLast))
                               .zero_();
    const Elements from(upstream), to(places);
    for_each_pixel(s,
                   [&](std::int64_t place, std::int64_t pixel) { to.copy(place, from, pixel, s.channels); });
    return {places};
  }
};

/// [9, 16]: which of the 3x3 taps (k, l) fall together on which of the 2x2 taps (r, s) for parity (p, q).
torch::Tensor folding() {
  // along one axis: parity 0 has tap 0 on row h-1 and taps 1, 2 on row h; parity 1 has taps 0, 1 on h and 2
  // on h+1
  const auto falls_on = [](int parity, int tap) { return (parity + tap + 1) / 2 - parity; };
  torch::Tensor matrix = torch::zeros({9, 16});
  auto entry = matrix.accessor<float, 2>();
  for (int p = 0; p < 2; ++p)
    for (int q = 0; q < 2; ++q)
      for (int k = 0; k < 3; ++k)
        for (int l = 0; l < 3; ++l) entry[3 * k + l][8 * p + 4 * q + 2 * falls_on(p, k) + falls_on(q, l)] = 1;
  return matrix;
}

}  // namespace

torch::Tensor upsample_conv(const torch::Tensor& x_BCHW, const torch::Tensor& weight_OC33,
                            const torch::Tensor& bias_O) {
  const torch::ScalarType type = x_BCHW.scalar_type();
  const bool folded = x_BCHW.device().is_cpu() && (type == torch::kFloat32 || type == torch::kBFloat16) &&
                      weight_OC33.scalar_type() == torch::kFloat32;
  if (!folded)
    return at::conv2d(at::upsample_nearest2d(x_BCHW, {2 * x_BCHW.size(2), 2 * x_BCHW.size(3)}), weight_OC33,
                      bias_O, {1, 1}, {1, 1});
  const auto out = weight_OC33.size(0), in = weight_OC33.size(1);
  const auto folded_kernels = [&] {
    const nn::Fp32Island in_fp32(x_BCHW.device());
    return weight_OC33.reshape({out * in, 9})
        .matmul(folding())
        .view({out, in, 2, 2, 2, 2})
        .permute({2, 3, 0, 1, 4, 5})
        .reshape({4 * out, in, 2, 2})
        .to(type);
  };
  const torch::Tensor kernels = folded_kernels(), bias = bias_O.repeat({4}).to(type);
  const std::int64_t height = x_BCHW.size(2);
  const std::int64_t bytes = 4 * out * (x_BCHW.numel() / in) * x_BCHW.element_size();  // of the places
  if (!in_bands(x_BCHW, bytes)) return Interleave::apply(at::conv2d(x_BCHW, kernels, bias, {1, 1}, {1, 1}));
  return by_bands(height, bytes, 2, [&](std::int64_t first, std::int64_t last) {
    return interleaved(at::conv2d(rows_of(x_BCHW, first - 1, last + 1), kernels, bias, {1, 1}, kPadColumns));
  });
}

}  // namespace microdit::encoders
