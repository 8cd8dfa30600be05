// The kernel of the optimizer pass against its CPU twin, bit for bit, whatever the order of blocks and threads.
#include "nn/kernels/adamw.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "fake_gpus.h"

namespace microdit::nn {
namespace {

enum Field { kWeights, kGradients, kExpAvg, kExpAvgSq, kEma, kNumFields };
using State = std::array<std::vector<float>, kNumFields>;

State make_state(std::int64_t count) {
  State state;
  for (std::size_t field = 0; field < state.size(); ++field) {
    for (std::int64_t i = 0; i < count; ++i) {
      const double x = std::sin(0.37 * static_cast<double>(i) + static_cast<double>(field));
      state[field].push_back(static_cast<float>(field == kExpAvgSq ? x * x * 1e-4 : x));
    }
  }
  return state;
}

AdamWBuffers buffers_of(const std::array<float*, kNumFields>& data, std::int64_t count, bool with_ema) {
  return {data[kWeights], data[kGradients], data[kExpAvg], data[kExpAvgSq], with_ema ? data[kEma] : nullptr,
          count};
}

void step_on_cpu(State& state, const AdamWStep& step, bool with_ema) {
  std::array<float*, kNumFields> data{};
  for (std::size_t f = 0; f < data.size(); ++f) data[f] = state[f].data();
  adamw_cpu(buffers_of(data, static_cast<std::int64_t>(state[0].size()), with_ema), step);
}

void step_on_gpu(State& state, const AdamWStep& step, bool with_ema) {
  std::array<float*, kNumFields> data{};
  const std::size_t bytes = state[0].size() * sizeof(float);
  for (std::size_t f = 0; f < data.size(); ++f) {
    ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&data[f]), bytes), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(data[f], state[f].data(), bytes, cudaMemcpyHostToDevice), cudaSuccess);
  }
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  adamw_cuda(buffers_of(data, static_cast<std::int64_t>(state[0].size()), with_ema), step, stream);
  ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  for (std::size_t f = 0; f < data.size(); ++f) {
    ASSERT_EQ(cudaMemcpy(state[f].data(), data[f], bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    ASSERT_EQ(cudaFree(data[f]), cudaSuccess);
  }
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST(AdamWOnTheGpu, HasTheCpusBits) {
  for (const fakes::Order order : {fakes::Order::kForward, fakes::Order::kReverse, fakes::Order::kRandom}) {
    fakes::plug_in(1);
    fakes::set_order(order);
    for (const std::int64_t count : {0, 1, 7, 256, 1'000'003}) {
      if (count > 10'000 && order != fakes::Order::kForward) continue;
      for (const bool with_ema : {false, true}) {
        State cpu = make_state(count), gpu = cpu;
        AdamWStep step{
            .lr = 3e-3, .eps = 1e-8, .weight_decay = 0.02, .gradient_scale = 0.7, .ema_decay = 0.93};
        for (step.step = 1; step.step <= 3; ++step.step) {
          step_on_cpu(cpu, step, with_ema);
          step_on_gpu(gpu, step, with_ema);
        }
        EXPECT_EQ(cpu, gpu) << count << " values";
        EXPECT_EQ(cpu == make_state(count), count == 0);
      }
    }
  }
}

TEST(AdamWOnTheGpu, ABrokenGpuIsAFault) {
  fakes::plug_in(1);
  void* data = nullptr;
  ASSERT_EQ(cudaMalloc(&data, 64), cudaSuccess);
  fakes::break_gpu(0, cudaErrorECCUncorrectable);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);  // nothing has run on it since
  auto* values = static_cast<float*>(data);
  const AdamWBuffers buffers{values, values, values, values, nullptr, 16};
  adamw_cuda(buffers, {}, nullptr);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
  EXPECT_THROW(adamw_cuda(buffers, {}, nullptr), core::FaultError);
}

}  // namespace
}  // namespace microdit::nn
