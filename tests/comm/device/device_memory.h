// Buffers on a fake GPU for tests: made on the current device, filled and read on a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "comm/communicator.h"
#include "comm/nccl_path.h"
#include "fake_gpus.h"

namespace microdit::comm {

/// Values of very different size, so that another order of summation gives other bits.
inline float test_value(int rank, std::int64_t i) {
  const auto h = (static_cast<std::uint64_t>(rank) * 1'000'003 + static_cast<std::uint64_t>(i) + 1) *
                 0x9E3779B97F4A7C15ULL;
  return std::ldexp(static_cast<float>(h >> 40) / 16777216.0F - 0.5F, static_cast<int>((h >> 20) % 16));
}

inline std::vector<float> test_values(int rank, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = test_value(rank, i);
  return values;
}

/// A buffer or a stream comes to a good end, unless something else went wrong before.
inline void must_end(cudaError_t code) {
  if (code == cudaSuccess || std::uncaught_exceptions() > 0) return;
  std::fprintf(stderr, "%s: %s\n", cudaGetErrorString(code), fakes::last_fault().c_str());
  std::abort();
}

class DeviceFloats {
 public:
  DeviceFloats(std::int64_t count, cudaStream_t stream) : count_(count), stream_(stream) {
    must_cuda(cudaMalloc(reinterpret_cast<void**>(&data_), bytes()), "cudaMalloc");
  }
  DeviceFloats(const std::vector<float>& values, cudaStream_t stream)
      : DeviceFloats(static_cast<std::int64_t>(values.size()), stream) {
    source_ = values;
    must_cuda(cudaMemcpyAsync(data_, source_.data(), bytes(), cudaMemcpyHostToDevice, stream_),
              "cudaMemcpyAsync");
  }
  ~DeviceFloats() { must_end(cudaFree(data_)); }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;

  float* data() const { return data_; }
  Buffer all() const { return part(0, count_); }
  Buffer part(std::int64_t begin, std::int64_t count) const { return {data_ + begin, count, true, stream_}; }
  std::vector<float> read() const {
    std::vector<float> values(static_cast<std::size_t>(count_));
    must_cuda(cudaMemcpyAsync(values.data(), data_, bytes(), cudaMemcpyDeviceToHost, stream_),
              "cudaMemcpyAsync");
    must_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    return values;
  }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(count_) * sizeof(float); }
  const std::int64_t count_;
  const cudaStream_t stream_;
  float* data_ = nullptr;
  std::vector<float> source_{};  // a late copy still reads it
};

/// A stream of torch's kind: not ordered with the default one.
class SideStream {
 public:
  SideStream() { must_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~SideStream() { must_end(cudaStreamDestroy(stream_)); }
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace microdit::comm
