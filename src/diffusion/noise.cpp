// Counter streams into tensors: each row has its own, so that threads share them.
#include "diffusion/noise.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

namespace microdit::diffusion {
namespace {

constexpr std::int64_t kValuesPerThread = 1 << 15;  // fewer are drawn before another thread has woken

template <class Fill>
torch::Tensor rows(std::span<const NoiseKey> keys, core::Purpose purpose, at::IntArrayRef row_shape,
                   const Fill& fill) {
  std::vector<std::int64_t> shape = {static_cast<std::int64_t>(keys.size())};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  torch::Tensor out = torch::empty(shape, torch::kFloat32);
  const std::int64_t count = c10::multiply_integers(row_shape);
  float* const values = out.data_ptr<float>();
  const std::int64_t rows_per_thread =
      std::max<std::int64_t>(1, kValuesPerThread / std::max<std::int64_t>(1, count));
  at::parallel_for(0, shape[0], rows_per_thread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const NoiseKey& key = keys[static_cast<std::size_t>(row)];
      core::CounterRng rng(key.seed, purpose, key.a, key.b);
      fill(rng, std::span(values + row * count, static_cast<std::size_t>(count)));
    }
  });
  return out;
}

torch::Tensor uniform_rows(std::span<const NoiseKey> keys, core::Purpose purpose, at::IntArrayRef row_shape) {
  return rows(keys, purpose, row_shape,
              [](core::CounterRng& rng, std::span<float> out) { rng.fill_uniform(out); });
}

}  // namespace

torch::Tensor normal_rows(std::span<const NoiseKey> keys, core::Purpose purpose, at::IntArrayRef row_shape) {
  return rows(keys, purpose, row_shape,
              [](core::CounterRng& rng, std::span<float> out) { rng.fill_normal(out); });
}

NoiseDraw draw_noise(std::span<const NoiseKey> keys, TimeDraw time, at::IntArrayRef latent_CHW,
                     std::int64_t tokens) {
  NoiseDraw draw;
  draw.time_B = time == TimeDraw::normal ? normal_rows(keys, core::Purpose::time, {})
                                         : uniform_rows(keys, core::Purpose::time, {});
  draw.noise_BCHW = normal_rows(keys, core::Purpose::noise, latent_CHW);
  if (tokens > 0) draw.mask_noise_BT = uniform_rows(keys, core::Purpose::mask, {tokens});
  return draw;
}

}  // namespace microdit::diffusion
