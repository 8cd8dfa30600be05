// The threads that a run asks for do work (at::parallel_for is a plain loop in a file that is compiled without OpenMP), and no kernel's bits
// depend on how many they are.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "nn/kernels/adamw.h"
#include "nn/kernels/attention.h"
#include "nn/kernels/expert_rows.h"
#include "nn/kernels/norm_modulate.h"
#include "nn/kernels/pointwise.h"

namespace microdit::nn {
namespace {

class ThreadsTest : public testing::Test {
 protected:
  void TearDown() override { at::set_num_threads(threads_); }
  const int threads_ = at::get_num_threads();
};

TEST_F(ThreadsTest, ParallelForHasAsManyAsAreAskedFor) {
  std::mutex lock;
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    std::set<std::thread::id> seen;
    at::parallel_for(0, count, 1, [&](std::int64_t, std::int64_t) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      const std::scoped_lock hold(lock);
      seen.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(count));
  }
}

/// The result and all gradients of `run` on `inputs`, with as many threads.
std::vector<torch::Tensor> with_threads(
    int count, const std::vector<torch::Tensor>& inputs,
    const std::function<torch::Tensor(const std::vector<torch::Tensor>&)>& run) {
  at::set_num_threads(count);
  std::vector<torch::Tensor> own;
  for (const torch::Tensor& input : inputs)
    own.push_back(input.is_floating_point() ? input.clone().requires_grad_(true) : input);
  const torch::Tensor out = run(own);
  out.backward(torch::linspace(-1, 1, out.numel()).view(out.sizes()));
  std::vector<torch::Tensor> all{out.detach()};
  for (const torch::Tensor& input : own)
    if (input.requires_grad()) all.push_back(input.grad());
  return all;
}

TEST_F(ThreadsTest, NoKernelsBitsDependOnThem) {
  namespace k = kernels;
  using Inputs = std::vector<torch::Tensor>;
  torch::manual_seed(8);
  const auto x = torch::randn({5, 13, 37}), y = torch::randn({5, 13, 37}), row = torch::randn({5, 37});
  const auto choice = torch::stack({torch::randperm(13).slice(0, 0, 4), torch::randperm(13).slice(0, 0, 4)})
                          .unsqueeze(1)
                          .expand({2, 5, 4})
                          .contiguous();
  const std::vector<std::tuple<const char*, Inputs, std::function<torch::Tensor(const Inputs&)>>> all = {
      {"norm_modulate",
       {x, torch::randn({37}), row, torch::randn({5, 37})},
       [](const Inputs& i) { return k::norm_modulate(i[0], i[1], i[2], i[3], 1e-6); }},
      {"gated_add", {x, y, row}, [](const Inputs& i) { return k::gated_add(i[0], i[1], i[2]); }},
      {"swiglu",
       {torch::randn({7, 61, 1037}), torch::randn({7, 61, 1037})},  // several grains, odd ends
       [](const Inputs& i) { return k::swiglu(i[0], i[1]); }},
      {"gather_rows", {x, choice}, [](const Inputs& i) { return k::gather_rows(i[0], i[1]); }},
      {"combine_rows",
       {torch::randn({2, 20, 37}), torch::rand({2, 5, 4}), choice},
       [](const Inputs& i) { return k::combine_rows(i[0], i[1], i[2], 13); }},
      {"self_attention",
       {torch::randn({5, 33, 3 * 48})},
       [](const Inputs& i) { return k::self_attention(i[0], 3, 1e-6); }},
      {"cross_attention",
       {torch::randn({5, 33, 48}), torch::randn({5, 11, 96})},
       [](const Inputs& i) { return k::cross_attention(i[0], i[1], 3, 1e-6); }},
  };
  for (const auto& [name, inputs, run] : all) {
    const auto one = with_threads(1, inputs, run);
    for (const int count : {2, 3}) {
      const auto more = with_threads(count, inputs, run);
      ASSERT_EQ(one.size(), more.size());
      for (std::size_t i = 0; i < one.size(); ++i)
        EXPECT_TRUE(torch::equal(one[i], more[i])) << name << ", " << count << " threads, output " << i;
    }
  }
}

TEST_F(ThreadsTest, NorTheOptimizers) {
  constexpr std::int64_t kCount = 1'000'003;
  torch::manual_seed(9);
  const auto start = torch::randn({5, kCount});
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    torch::Tensor all = start.clone();
    all[3].abs_();
    const auto part = [&](int i) { return all[i].mutable_data_ptr<float>(); };
    AdamWStep step{.lr = 1e-3, .weight_decay = 0.1, .gradient_scale = 0.7, .ema_decay = 0.99};
    adamw_cpu({part(0), part(1), part(2), part(3), part(4), kCount}, step);
    return std::pair{all, sum_of_squares_cpu(part(1), kCount)};
  };
  const auto [one, norm] = run(1);
  for (const int threads : {2, 3}) {
    const auto [more, its_norm] = run(threads);
    EXPECT_TRUE(torch::equal(one, more)) << threads;
    EXPECT_EQ(norm, its_norm) << threads;
  }
}

}  // namespace
}  // namespace microdit::nn
