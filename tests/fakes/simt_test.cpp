// Kernels on the CPU do what they do on a GPU, and what would hang or be nonsense there fails here.
#include "simt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "cuda_runtime.h"

namespace {

using microdit::fakes::KernelOutcome;
using microdit::fakes::Order;
using microdit::fakes::run_grid;

template <class Kernel, class... Arguments>
KernelOutcome run(dim3 grid, dim3 block, Order order, Kernel kernel, Arguments... arguments) {
  return run_grid(
      grid, block, [=] { kernel(arguments...); }, order);
}

__global__ void reverse_through_shared_memory(const int* in, int* out) {
  __shared__ int tile[96];
  tile[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

__global__ void sum_of_warp(const float* in, float* out) {
  float sum = in[threadIdx.x];
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(~0U, sum, bits);
  float down = in[threadIdx.x];
  for (unsigned by = 16; by > 0; by /= 2) down += __shfl_down_sync(~0U, down, by);
  out[threadIdx.x] = sum;
  if (threadIdx.x % 32 == 0) out[64 + threadIdx.x / 32] = down;
}

__global__ void vote(unsigned* odd, int* first) {
  const unsigned votes = __ballot_sync(~0U, static_cast<int>(threadIdx.x % 2));
  const int lane0 = __shfl_sync(~0U, static_cast<int>(threadIdx.x), 0);
  odd[threadIdx.x] = votes;
  first[threadIdx.x] = lane0;
}

__global__ void half_of_them_wait() {
  if (threadIdx.x < 16) return;
  __syncthreads();
}

__global__ void two_barriers() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void a_lane_is_missing(int* out) {
  if (threadIdx.x == 3) return;
  out[threadIdx.x] = __shfl_xor_sync(~0U, 1, 1);
}

__global__ void read_shared_memory(float* out) {
  __shared__ float tile[32];
  out[threadIdx.x] = tile[threadIdx.x];
  tile[threadIdx.x] = 1;
}

__global__ void count(int* all, int* last) {
  atomicAdd(all, 1);
  *last = static_cast<int>(blockIdx.x);
}

__global__ void write_to(int* address) {
  *address = 1;
}

class Simt : public testing::TestWithParam<Order> {};

TEST_P(Simt, BarriersSeparateWritesFromReads) {
  std::array<int, 192> in{}, out{};
  for (int i = 0; i < 192; ++i) in[static_cast<std::size_t>(i)] = i;
  EXPECT_EQ(run(2, 96, GetParam(), reverse_through_shared_memory, in.data(), out.data()).error, cudaSuccess);
  for (int i = 0; i < 192; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], i / 96 * 96 + 95 - i % 96);
}

TEST_P(Simt, WarpsExchangeValues) {
  std::array<float, 64> in{};
  for (int i = 0; i < 64; ++i) in[static_cast<std::size_t>(i)] = static_cast<float>(i);
  std::array<float, 66> out{};
  EXPECT_EQ(run(1, 64, GetParam(), sum_of_warp, in.data(), out.data()).error, cudaSuccess);
  EXPECT_EQ(out[5], 496);
  EXPECT_EQ(out[40], 1520);
  EXPECT_EQ(out[64], 496);
  EXPECT_EQ(out[65], 1520);
}

TEST_P(Simt, WarpsVote) {
  std::array<unsigned, 64> odd{};
  std::array<int, 64> first{};
  EXPECT_EQ(run(1, 64, GetParam(), vote, odd.data(), first.data()).error, cudaSuccess);
  EXPECT_THAT(odd, testing::Each(0xAAAAAAAAU));
  EXPECT_EQ(first[31], 0);
  EXPECT_EQ(first[32], 32);
}

TEST_P(Simt, ABarrierThatSomeNeverReachFails) {
  const KernelOutcome outcome = run(1, 32, GetParam(), half_of_them_wait);
  EXPECT_EQ(outcome.error, cudaErrorLaunchFailure);
  EXPECT_THAT(outcome.what, testing::HasSubstr("16 of 32 threads left the kernel"));
  EXPECT_EQ(run(1, 32, GetParam(), two_barriers).error, cudaErrorLaunchFailure);
}

TEST_P(Simt, AnExchangeWithoutALaneOfTheMaskFails) {
  std::array<int, 32> out{};
  EXPECT_EQ(run(1, 32, GetParam(), a_lane_is_missing, out.data()).error, cudaErrorLaunchFailure);
  EXPECT_EQ(run(1, 31, GetParam(), a_lane_is_missing, out.data()).error, cudaErrorLaunchFailure);
}

TEST_P(Simt, SharedMemoryBeginsAsNan) {
  std::array<float, 32> out{};
  EXPECT_EQ(run(2, 32, GetParam(), read_shared_memory, out.data()).error, cudaSuccess);
  EXPECT_THAT(out, testing::Each(testing::IsNan()));
}

TEST_P(Simt, ABadAddressEndsTheKernelAlone) {
  const KernelOutcome outcome = run(1, 1, GetParam(), write_to, reinterpret_cast<int*>(64));
  EXPECT_EQ(outcome.error, cudaErrorIllegalAddress);
  EXPECT_EQ(outcome.address, reinterpret_cast<void*>(64));
}

TEST_P(Simt, BlocksComeInTheOrderAskedFor) {
  int all = 0, last = -1;
  EXPECT_EQ(run(dim3(5), dim3(4, 2), GetParam(), count, &all, &last).error, cudaSuccess);
  EXPECT_EQ(all, 40);
  if (GetParam() != Order::kRandom) {
    EXPECT_EQ(last, GetParam() == Order::kForward ? 4 : 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, Simt, testing::Values(Order::kForward, Order::kReverse, Order::kRandom));

}  // namespace
