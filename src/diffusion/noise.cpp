// Counter streams into tensors, row by row.
#include "diffusion/noise.h"

#include <vector>

namespace microdit::diffusion {
namespace {

template <class Fill>
torch::Tensor rows(std::span<const NoiseKey> keys, core::Purpose purpose, at::IntArrayRef row_shape,
                   const Fill& fill) {
  std::vector<std::int64_t> shape = {static_cast<std::int64_t>(keys.size())};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  torch::Tensor out = torch::empty(shape, torch::kFloat32);
  const auto count = static_cast<std::size_t>(c10::multiply_integers(row_shape));
  float* next = out.data_ptr<float>();
  for (const NoiseKey& key : keys) {
    core::CounterRng rng(key.seed, purpose, key.a, key.b);
    fill(rng, std::span(next, count));
    next += count;
  }
  return out;
}

}  // namespace

torch::Tensor normal_rows(std::span<const NoiseKey> keys, core::Purpose purpose, at::IntArrayRef row_shape) {
  return rows(keys, purpose, row_shape,
              [](core::CounterRng& rng, std::span<float> out) { rng.fill_normal(out); });
}

NoiseDraw draw_noise(std::span<const NoiseKey> keys, at::IntArrayRef latent_CHW, std::int64_t tokens) {
  NoiseDraw draw;
  draw.time_normal_B = normal_rows(keys, core::Purpose::time, {});
  draw.noise_BCHW = normal_rows(keys, core::Purpose::noise, latent_CHW);
  if (tokens > 0) {
    draw.mask_noise_BT = rows(keys, core::Purpose::mask, {tokens},
                              [](core::CounterRng& rng, std::span<float> out) { rng.fill_uniform(out); });
  }
  return draw;
}

}  // namespace microdit::diffusion
