// Pillow's cubic and its fixed point.
#include "image/resize_taps.h"

#include <cmath>

namespace microdit::image {
namespace {

constexpr double kSupport = 2.0;  // of the cubic, in source pixels at scale 1

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

std::int32_t to_fixed_point(double weight) {
  const double scaled = weight * (1 << kPrecisionBits);
  return static_cast<std::int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

void split_weights(Taps& taps) {
  taps.pairs = (taps.window + 1) / 2;
  const std::size_t outputs = taps.first.size();
  taps.high.assign(outputs * static_cast<std::size_t>(taps.pairs), 0);
  taps.low = taps.high;
  for (std::size_t i = 0; i < outputs; ++i) {
    for (std::int64_t k = 0; k < taps.count[i]; ++k) {
      const std::int32_t weight =
          taps.weights[i * static_cast<std::size_t>(taps.window) + static_cast<std::size_t>(k)];
      const std::size_t at = i * static_cast<std::size_t>(taps.pairs) + static_cast<std::size_t>(k / 2);
      const int shift = k % 2 == 0 ? 0 : 16;
      taps.high[at] |= (static_cast<std::uint32_t>(weight >> kSplitBits) & 0xffffU) << shift;
      taps.low[at] |= (static_cast<std::uint32_t>(weight) & ((1U << kSplitBits) - 1)) << shift;
    }
  }
}

}  // namespace

ExactTaps make_exact_taps(std::int64_t from, std::int64_t to, Span wanted) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double filter_scale = std::max(scale, 1.0);  // antialias: the cubic widens with the reduction
  const double support = kSupport * filter_scale;
  ExactTaps taps;
  taps.window = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  taps.weights.assign(static_cast<std::size_t>(wanted.count * taps.window), 0);
  for (std::int64_t i = 0; i < wanted.count; ++i) {
    const double center = (static_cast<double>(wanted.first + i) + 0.5) * scale;
    const auto begin = std::max<std::int64_t>(static_cast<std::int64_t>(center - support + 0.5), 0);
    const auto end = std::min<std::int64_t>(static_cast<std::int64_t>(center + support + 0.5), from);
    double* weights = taps.weights.data() + i * taps.window;
    double sum = 0.0;
    for (std::int64_t x = begin; x < end; ++x) {
      weights[x - begin] = cubic((static_cast<double>(x) - center + 0.5) * (1.0 / filter_scale));
      sum += weights[x - begin];
    }
    for (std::int64_t k = 0; k < end - begin && sum != 0.0; ++k) weights[k] /= sum;
    taps.first.push_back(begin);
    taps.count.push_back(end - begin);
  }
  return taps;
}

Taps make_taps(std::int64_t from, std::int64_t to, Span wanted) {
  ExactTaps exact = make_exact_taps(from, to, wanted);
  Taps taps;
  taps.window = exact.window;
  taps.first = std::move(exact.first);
  taps.count = std::move(exact.count);
  taps.weights.resize(exact.weights.size());
  std::transform(exact.weights.begin(), exact.weights.end(), taps.weights.begin(), to_fixed_point);
  split_weights(taps);
  return taps;
}

}  // namespace microdit::image
