// Loops that the compiler vectorises, for each instruction set that matters.
#include "encoders/norm_silu_rows.h"

#include <bit>

namespace microdit::encoders {
namespace {

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define MICRODIT_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MICRODIT_CLONES
#endif

// 1 / (1 + exp(-x)), relative error about 2e-7; branch-free so that it vectorises.
inline float sigmoid(float x) {
  float t = -x;
  t = t > 87.0F ? 87.0F : t;
  t = t < -87.0F ? -87.0F : t;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer kept in the low bits
  const float shifted = t * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (t - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23U;
  return 1.0F / (1.0F + p * std::bit_cast<float>(exponent));
}

}  // namespace

MICRODIT_CLONES void add_rows(const float* x, std::int64_t rows, std::int64_t width, float* sum) {
  for (std::int64_t r = 0; r < rows; ++r, x += width)
    for (std::int64_t i = 0; i < width; ++i) sum[i] += x[i];
}

MICRODIT_CLONES void add_square_rows(const float* x, const float* mean, std::int64_t rows, std::int64_t width,
                                     float* sum) {
  for (std::int64_t r = 0; r < rows; ++r, x += width)
    for (std::int64_t i = 0; i < width; ++i) sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
}

MICRODIT_CLONES void apply_rows(const float* __restrict x, const float* __restrict scale,
                                const float* __restrict offset, std::int64_t rows, std::int64_t width,
                                float* __restrict y) {
  for (std::int64_t r = 0; r < rows; ++r, x += width, y += width)
    for (std::int64_t i = 0; i < width; ++i) {
      const float h = scale[i] * x[i] + offset[i];
      y[i] = h * sigmoid(h);
    }
}

MICRODIT_CLONES void backward_rows(const float* __restrict x, const float* __restrict dy,
                                   const float* __restrict tables, std::int64_t rows, std::int64_t width,
                                   float* __restrict dh, float* __restrict sum, float* __restrict sum_x) {
  const float* scale = tables;
  const float* offset = tables + width;
  const float* mean = tables + 2 * width;
  for (std::int64_t r = 0; r < rows; ++r, x += width, dy += width, dh += width)
    for (std::int64_t i = 0; i < width; ++i) {
      const float h = scale[i] * x[i] + offset[i];
      const float s = sigmoid(h);
      const float d = dy[i] * s * (1.0F + h * (1.0F - s));
      dh[i] = d;
      sum[i] += d;
      sum_x[i] += d * (x[i] - mean[i]);
    }
}

MICRODIT_CLONES void combine_rows(const float* __restrict x, const float* __restrict tables,
                                  std::int64_t rows, std::int64_t width, float* __restrict dx) {
  const float* a = tables;
  const float* b = tables + width;
  const float* c = tables + 2 * width;
  for (std::int64_t r = 0; r < rows; ++r, x += width, dx += width)
    for (std::int64_t i = 0; i < width; ++i) dx[i] = a[i] * dx[i] + b[i] * x[i] + c[i];
}

MICRODIT_CLONES void widen(const std::uint16_t* bf16, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(bf16[i]) << 16U);
}

MICRODIT_CLONES void narrow(const float* x, std::int64_t count, std::uint16_t* bf16) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(x[i]);
    const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
    bf16[i] = static_cast<std::uint16_t>((bits & 0x7FFFFFFFU) > 0x7F800000U ? 0x7FC0U : rounded);
  }
}

}  // namespace microdit::encoders
