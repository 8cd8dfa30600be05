// Noise is a function of its keys alone, and one purpose never sees another's numbers.
#include "diffusion/noise.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

namespace microdit::diffusion {
namespace {

TEST(Noise, RowsDependOnTheirOwnKeyAlone) {
  const NoiseKey a{1, 7, 0}, b{1, 8, 0}, c{1, 7, 1}, d{2, 7, 0};
  const std::vector<NoiseKey> keys = {a, b, c, d}, last = {d};
  const torch::Tensor rows = normal_rows(keys, core::Purpose::noise, {3, 5});
  EXPECT_EQ(rows.sizes(), (at::IntArrayRef{4, 3, 5}));
  EXPECT_TRUE(torch::equal(normal_rows(last, core::Purpose::noise, {3, 5})[0], rows[3]));
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < i; ++k) EXPECT_FALSE(torch::equal(rows[i], rows[k]));
  EXPECT_FALSE(torch::equal(normal_rows(keys, core::Purpose::churn, {3, 5}), rows));
}

TEST(Noise, IsTheSameForAnyThreadCount) {
  std::vector<NoiseKey> keys;
  for (std::uint64_t i = 0; i < 7; ++i) keys.push_back({3, i, 1});
  const int before = at::get_num_threads();
  const auto drawn = [&](int threads) {
    at::set_num_threads(threads);
    return normal_rows(keys, core::Purpose::noise, {4, 111, 111});
  };
  const torch::Tensor alone = drawn(1);
  for (const int threads : {2, 3}) EXPECT_TRUE(torch::equal(drawn(threads), alone)) << threads;
  at::set_num_threads(before);
}

TEST(Noise, IsTheCountersOwn) {
  const std::vector<NoiseKey> keys = {{5, 11, 3}};
  const NoiseDraw draw = draw_noise(keys, TimeDraw::normal, {4, 2, 2}, 9);
  EXPECT_EQ(draw.time_B[0].item<float>(), core::CounterRng(5, core::Purpose::time, 11, 3).normal());
  EXPECT_EQ(draw_noise(keys, TimeDraw::uniform, {4, 2, 2}).time_B[0].item<float>(),
            core::CounterRng(5, core::Purpose::time, 11, 3).uniform());
  std::vector<float> expected(16), mask(9);
  core::CounterRng(5, core::Purpose::noise, 11, 3).fill_normal(expected);
  core::CounterRng(5, core::Purpose::mask, 11, 3).fill_uniform(mask);
  EXPECT_TRUE(torch::equal(draw.noise_BCHW.flatten(), torch::tensor(expected)));
  EXPECT_TRUE(torch::equal(draw.mask_noise_BT.flatten(), torch::tensor(mask)));
  EXPECT_FALSE(draw_noise(keys, TimeDraw::normal, {4, 2, 2}).mask_noise_BT.defined());
}

}  // namespace
}  // namespace microdit::diffusion
