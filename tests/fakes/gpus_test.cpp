// The fake GPUs keep what they promise: memory of their own, streams that may run late, errors that stay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cuda_runtime.h"
#include "fake_gpus.h"

namespace microdit::fakes {
namespace {

__global__ void add_one(float* values, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) values[i] += 1;
}

cudaError_t launch(float* values, int count, cudaStream_t stream = nullptr) {
  cudaLaunchConfig_t config{};
  config.gridDim = 4;
  config.blockDim = 64;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, add_one, values, count);
}

float* allocate(std::size_t count) {
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, count * sizeof(float)), cudaSuccess);
  return static_cast<float*>(data);
}

float* zeros(std::size_t count) {
  float* data = allocate(count);
  EXPECT_EQ(cudaMemset(data, 0, count * sizeof(float)), cudaSuccess);
  return data;
}

std::vector<float> read(const float* data, std::size_t count) {
  std::vector<float> values(count);
  EXPECT_EQ(cudaMemcpy(values.data(), data, count * sizeof(float), cudaMemcpyDeviceToHost), cudaSuccess);
  return values;
}

cudaStream_t side_stream() {
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  return stream;
}

class Gpus : public testing::Test {
 protected:
  void SetUp() override {
    plug_in(2);
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  }
};
using GpusDeathTest = Gpus;

TEST_F(Gpus, RunKernelsOnTheirOwnMemory) {
  float* data = zeros(200);
  EXPECT_EQ(launch(data, 200), cudaSuccess);
  EXPECT_THAT(read(data, 200), testing::Each(1.0F));
  EXPECT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(used_bytes(0), 0U);
}

TEST_F(Gpus, FreshMemoryIsNan) {
  EXPECT_THAT(read(allocate(300), 300), testing::Each(testing::IsNan()));
}

TEST_F(Gpus, AnotherGpusMemoryIsAnIllegalAddressForGood) {
  float* data = zeros(100);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(launch(data, 100), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  EXPECT_THAT(last_fault(), testing::HasSubstr("which is GPU 0's"));
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 4), cudaErrorIllegalAddress);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(launch(data, 100), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(Gpus, OneValuePastTheEndIsFound) {
  float* data = zeros(100);
  launch(data, 101);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
}

TEST_F(Gpus, WhatEndsBetweenTwoPagesIsFoundWhenItIsFreed) {
  float* data = zeros(99);
  launch(data, 100);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(cudaFree(data), cudaSuccess);  // NaN + 1 is the NaN that was there
  data = zeros(99);
  std::vector<float> values(100);
  EXPECT_EQ(cudaMemcpy(data, values.data(), 400, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_THAT(last_fault(), testing::HasSubstr("past an end"));
}

TEST_F(Gpus, FreedMemoryIsGone) {
  float* data = zeros(100);
  EXPECT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(cudaFree(data), cudaErrorInvalidValue);
  launch(data, 100);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
}

TEST_F(GpusDeathTest, TheHostMayNotTouchThem) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(std::exit(static_cast<int>(*zeros(10))), testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(Gpus, ALateStreamShowsWhoDoesNotWait) {
  float* data = zeros(50);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  set_lateness(60);
  cudaStream_t stream = side_stream();
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 200), cudaSuccess);
  launch(data, 50, stream);
  EXPECT_EQ(cudaMemcpyAsync(pinned, data, 200, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_TRUE(std::isnan(static_cast<float*>(pinned)[7]));
  EXPECT_THAT(read(data, 50), testing::Each(0.0F));  // the default stream does not wait for this one
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(static_cast<float*>(pinned)[7], 1.0F);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(Gpus, AnEventOrdersTwoStreams) {
  float* data = zeros(50);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  set_lateness(60);
  cudaStream_t first = side_stream(), second = side_stream();
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);  // never recorded: nothing to wait for
  launch(data, 50, first);
  EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
  launch(data, 25, second);
  EXPECT_EQ(cudaStreamSynchronize(second), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(read(data, 50)[0], 2.0F);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(Gpus, TheDefaultStreamJoinsTheOrdinaryOnes) {
  float* data = zeros(50);
  set_lateness(60);
  cudaStream_t ordinary = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&ordinary, cudaStreamDefault), cudaSuccess);
  launch(data, 50, ordinary);
  EXPECT_THAT(read(data, 50), testing::Each(1.0F));
}

TEST_F(Gpus, AKernelGoesToTheCurrentGpuAlone) {
  float* data = zeros(10);
  cudaStream_t here = side_stream();
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(launch(data, 10, here), cudaErrorInvalidResourceHandle);
}

TEST_F(Gpus, BreakWhenTheyAreTold) {
  break_gpu(0, cudaErrorECCUncorrectable);
  float* data = allocate(10);
  EXPECT_EQ(launch(data, 10), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
  EXPECT_EQ(launch(data, 10), cudaErrorECCUncorrectable);
}

TEST_F(Gpus, RunOutOfMemory) {
  leave_memory(0, 1000);
  float* most = allocate(200);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 400), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaFree(most), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&more, 400), cudaSuccess);
}

TEST_F(Gpus, RefuseCopiesThatAreNotWhatTheySay) {
  float* data = zeros(10);
  std::vector<float> host(10);
  EXPECT_EQ(cudaMemcpy(data, host.data(), 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), host.data(), 40, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy2DAsync(host.data(), 20, data, 20, 21, 1, cudaMemcpyDeviceToHost, nullptr),
            cudaErrorInvalidValue);
}

TEST(NoGpus, SayWhy) {
  hide_gpus(cudaErrorInsufficientDriver);
  int count = -1;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
  EXPECT_EQ(count, 0);
  EXPECT_EQ(cudaSetDevice(0), cudaErrorInvalidDevice);
}

}  // namespace
}  // namespace microdit::fakes
