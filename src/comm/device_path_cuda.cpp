// The GPUs of this process, and the staged way of CUDA buffers: through pinned host memory, for ranks that share a GPU.
#include <algorithm>
#include <cstdlib>

#include "comm/nccl_path.h"
#include "core/environment.h"
#include "core/log.h"

namespace microdit::comm {
namespace {

// Pinned host memory, so that copies run at full speed.
class PinnedFloats {
 public:
  PinnedFloats() = default;
  PinnedFloats(const PinnedFloats&) = delete;
  PinnedFloats& operator=(const PinnedFloats&) = delete;
  ~PinnedFloats() { cudaFreeHost(data_); }

  float* reserve(std::int64_t count) {
    if (count > count_) {
      must_cuda(cudaFreeHost(data_), "cudaFreeHost");
      data_ = nullptr;
      must_cuda(
          cudaMallocHost(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(count) * sizeof(float)),
          "cudaMallocHost");
      count_ = count;
    }
    return data_;
  }

 private:
  float* data_ = nullptr;
  std::int64_t count_ = 0;
};

class StagedPath final : public DevicePath {
 public:
  StagedPath(Communicator& comm, std::int64_t staged_floats)
      : comm_(comm), chunk_floats_(std::max<std::int64_t>(staged_floats / comm.size(), 1)) {}

  void reduce_scatter_sum(FloatBuffer in, FloatBuffer out) override {
    const auto stream = static_cast<cudaStream_t>(in.stream);
    for_chunks(out.count, [&](std::int64_t begin, std::int64_t count) {
      const std::int64_t rows = comm_.size();
      float* whole = whole_.reserve(rows * count);
      float* piece = piece_.reserve(count);
      must_cuda(cudaMemcpy2DAsync(whole, bytes(count), in.data + begin, bytes(out.count), bytes(count),
                                  static_cast<std::size_t>(rows), cudaMemcpyDeviceToHost, stream),
                "copy to the host");
      must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      comm_.reduce_scatter_sum({.data = whole, .count = rows * count}, {.data = piece, .count = count});
      must_cuda(cudaMemcpyAsync(out.data + begin, piece, bytes(count), cudaMemcpyHostToDevice, stream),
                "copy to the GPU");
    });
    must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  void all_gather(FloatBuffer in, FloatBuffer out) override {
    const auto stream = static_cast<cudaStream_t>(in.stream);
    for_chunks(in.count, [&](std::int64_t begin, std::int64_t count) {
      const std::int64_t rows = comm_.size();
      float* whole = whole_.reserve(rows * count);
      float* piece = piece_.reserve(count);
      must_cuda(cudaMemcpyAsync(piece, in.data + begin, bytes(count), cudaMemcpyDeviceToHost, stream),
                "copy to the host");
      must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      comm_.all_gather({.data = piece, .count = count}, {.data = whole, .count = rows * count});
      must_cuda(cudaMemcpy2DAsync(out.data + begin, bytes(in.count), whole, bytes(count), bytes(count),
                                  static_cast<std::size_t>(rows), cudaMemcpyHostToDevice, stream),
                "copy to the GPU");
    });
    must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

 private:
  static std::size_t bytes(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); }

  // The next chunk's first step waits for the stream, so the pinned buffers are free again by then.
  template <class Body>
  void for_chunks(std::int64_t piece_count, const Body& body) {
    for (std::int64_t begin = 0; begin < piece_count; begin += chunk_floats_)
      body(begin, std::min(chunk_floats_, piece_count - begin));
  }

  Communicator& comm_;
  const std::int64_t chunk_floats_;  ///< of one piece, per round
  PinnedFloats whole_;
  PinnedFloats piece_;
};

}  // namespace

std::unique_ptr<DevicePath> make_staged_path(Communicator& comm, std::int64_t staged_floats) {
  return std::make_unique<StagedPath>(comm, staged_floats);
}

std::unique_ptr<DevicePath> make_device_path(Communicator& comm, bool own_gpus, Watchdog& watchdog) {
  return own_gpus ? make_nccl_path(comm, watchdog) : make_staged_path(comm);
}

VisibleGpus visible_gpus() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return {count, {}};
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (error == cudaErrorInsufficientDriver)
    return {0, "the NVIDIA driver here is older than this build's CUDA, or there is none"};
  if (visible != nullptr && error == cudaErrorNoDevice)
    return {0, fmt::format("CUDA_VISIBLE_DEVICES=\"{}\" leaves no GPU: ask Slurm for GPUs (--gpus-per-node)",
                           visible)};
  return {0, fmt::format("CUDA sees none ({}): ask Slurm for GPUs (--gpus-per-node)",
                         cudaGetErrorString(error == cudaSuccess ? cudaErrorNoDevice : error))};
}

std::string take_gpu(int index) {
  must_cuda(cudaSetDevice(index), "cudaSetDevice");
  cudaDeviceProp about{};
  must_cuda(cudaGetDeviceProperties(&about, index), "cudaGetDeviceProperties");
  if (std::string_view(about.name).find(" MIG ") != std::string_view::npos)
    return fmt::format("{} {:x}:{:x}:{:x}", core::boot_id(), about.pciDomainID, about.pciBusID,
                       about.pciDeviceID);
  std::string uuid;
  for (const char byte : about.uuid.bytes) uuid += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return uuid;
}

void copy_on_device(const FloatBuffer& in, const FloatBuffer& out) {
  must_cuda(cudaMemcpyAsync(out.data, in.data, static_cast<std::size_t>(in.count) * sizeof(float),
                            cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(in.stream)),
            "cudaMemcpyAsync");
}

}  // namespace microdit::comm
