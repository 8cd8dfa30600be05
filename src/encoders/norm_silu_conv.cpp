// Whole, or band by band: a band of n rows takes n + 2 rows of its input, normed with the whole picture's statistics.
#include "encoders/norm_silu_conv.h"

#include "encoders/norm_silu.h"
#include "encoders/row_bands.h"

namespace microdit::encoders {
namespace {

torch::Tensor whole(const torch::Tensor& x, const NormSiluConv& l) {
  return at::conv2d(norm_silu(x, l.gain_C, l.shift_C, l.num_groups, l.eps), l.weight_OC33, l.bias_O, {1, 1},
                    {1, 1});
}

/// Rows [first, last) of the layer's output.
class Bands {
 public:
  Bands(const torch::Tensor& x, const NormSiluConv& layer)
      : x_(x), layer_(layer), moments_(group_moments(x, layer.num_groups, layer.eps)) {}

  torch::Tensor rows(std::int64_t first, std::int64_t last) const {
    const std::int64_t begin = std::max<std::int64_t>(first - 1, 0), end = std::min(last + 1, x_.size(2));
    const torch::Tensor normed =
        norm_silu_rows(x_.narrow(2, begin, end - begin), moments_, layer_.gain_C, layer_.shift_C);
    return at::conv2d(rows_of(normed, first - 1 - begin, last + 1 - begin), layer_.weight_OC33, layer_.bias_O,
                      {1, 1}, kPadColumns);
  }

 private:
  const torch::Tensor& x_;
  const NormSiluConv& layer_;
  torch::Tensor moments_;
};

std::int64_t bytes_of(const torch::Tensor& x) {
  return static_cast<std::int64_t>(x.nbytes());
}

}  // namespace

torch::Tensor norm_silu_conv(const torch::Tensor& x, const NormSiluConv& layer) {
  if (!in_bands(x, bytes_of(x))) return whole(x, layer);
  const Bands bands(x, layer);
  return by_bands(x.size(2), bytes_of(x), 1,
                  [&](std::int64_t first, std::int64_t last) { return bands.rows(first, last); });
}

torch::Tensor add_norm_silu_conv(torch::Tensor onto, const torch::Tensor& x, const NormSiluConv& layer) {
  if (at::GradMode::is_enabled()) return whole(x, layer) + onto;
  if (!in_bands(x, bytes_of(x))) return onto.add_(whole(x, layer));
  const Bands bands(x, layer);
  for_each_band(x.size(2), bytes_of(x), [&](std::int64_t first, std::int64_t last) {
    onto.narrow(2, first, last - first).add_(bands.rows(first, last));
  });
  return onto;
}

torch::Tensor halving_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  const std::int64_t height = (x.size(2) - 2) / 2 + 1;
  if (!in_bands(x, bytes_of(x)))
    return at::conv2d(at::constant_pad_nd(x, {0, 1, 0, 1}), weight, bias, {2, 2});
  return by_bands(height, bytes_of(x), 1, [&](std::int64_t first, std::int64_t last) {
    const torch::Tensor padded = at::constant_pad_nd(rows_of(x, 2 * first, 2 * last + 1), {0, 1});
    return at::conv2d(padded, weight, bias, {2, 2});
  });
}

}  // namespace microdit::encoders
