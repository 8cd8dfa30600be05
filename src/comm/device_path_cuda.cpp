// The GPUs of this process, and the staged way of CUDA buffers: through pinned host memory, for ranks that share a GPU.
#include <algorithm>
#include <cstdlib>

#include "comm/nccl_path.h"
#include "core/environment.h"
#include "core/log.h"

namespace microdit::comm {
namespace {

// Pinned host memory, so that copies run at full speed.
class PinnedBytes {
 public:
  PinnedBytes() = default;
  PinnedBytes(const PinnedBytes&) = delete;
  PinnedBytes& operator=(const PinnedBytes&) = delete;
  ~PinnedBytes() { cudaFreeHost(data_); }

  std::byte* reserve(std::int64_t count) {
    if (count > count_) {
      must_cuda(cudaFreeHost(data_), "cudaFreeHost");
      data_ = nullptr;
      must_cuda(cudaMallocHost(reinterpret_cast<void**>(&data_), static_cast<std::size_t>(count)),
                "cudaMallocHost");
      count_ = count;
    }
    return data_;
  }

 private:
  std::byte* data_ = nullptr;
  std::int64_t count_ = 0;
};

class StagedPath final : public DevicePath {
 public:
  StagedPath(Communicator& comm, std::int64_t staged_floats)
      : comm_(comm), chunk_values_(std::max<std::int64_t>(staged_floats / comm.size(), 1)) {}

  void reduce_scatter_sum(Buffer in, Buffer out) override {
    const auto stream = static_cast<cudaStream_t>(in.stream);
    for_chunks(out, [&](std::int64_t begin, std::int64_t count) {
      const Chunk chunk = take(in, out, begin, count);
      must_cuda(cudaMemcpy2DAsync(chunk.whole, chunk.bytes, in.bytes() + chunk.begin, chunk.pitch,
                                  chunk.bytes, chunk.rows, cudaMemcpyDeviceToHost, stream),
                "copy to the host");
      must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      comm_.reduce_scatter_sum({.data = chunk.whole, .count = comm_.size() * count},
                               {.data = chunk.piece, .count = count});
      must_cuda(cudaMemcpyAsync(out.bytes() + chunk.begin, chunk.piece, chunk.bytes, cudaMemcpyHostToDevice,
                                stream),
                "copy to the GPU");
    });
    must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

  void all_gather(Buffer in, Buffer out) override {
    const auto stream = static_cast<cudaStream_t>(in.stream);
    for_chunks(in, [&](std::int64_t begin, std::int64_t count) {
      const Chunk chunk = take(out, in, begin, count);
      must_cuda(
          cudaMemcpyAsync(chunk.piece, in.bytes() + chunk.begin, chunk.bytes, cudaMemcpyDeviceToHost, stream),
          "copy to the host");
      must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      comm_.all_gather({.data = chunk.piece, .count = count, .dtype = in.dtype},
                       {.data = chunk.whole, .count = comm_.size() * count, .dtype = in.dtype});
      must_cuda(cudaMemcpy2DAsync(out.bytes() + chunk.begin, chunk.pitch, chunk.whole, chunk.bytes,
                                  chunk.bytes, chunk.rows, cudaMemcpyHostToDevice, stream),
                "copy to the GPU");
    });
    must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  }

 private:
  /// Values [begin, begin + count) of every piece, as bytes; pinned memory for them.
  struct Chunk {
    std::int64_t begin;  ///< within a piece
    std::size_t bytes, pitch, rows;
    std::byte *whole, *piece;
  };
  Chunk take(const Buffer& whole, const Buffer& piece, std::int64_t begin, std::int64_t count) {
    const auto size = static_cast<std::int64_t>(core::size_of(whole.dtype));
    return {begin * size,
            static_cast<std::size_t>(count * size),
            static_cast<std::size_t>(piece.num_bytes()),
            static_cast<std::size_t>(comm_.size()),
            whole_.reserve(comm_.size() * count * size),
            piece_.reserve(count * size)};
  }

  // The next chunk's first step waits for the stream, so the pinned buffers are free again by then.
  template <class Body>
  void for_chunks(const Buffer& piece, const Body& body) {
    for (std::int64_t begin = 0; begin < piece.count; begin += chunk_values_)
      body(begin, std::min(chunk_values_, piece.count - begin));
  }

  Communicator& comm_;
  const std::int64_t chunk_values_;  ///< of one piece, per round
  PinnedBytes whole_;
  PinnedBytes piece_;
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

void copy_on_device(const Buffer& in, const Buffer& out) {
  must_cuda(cudaMemcpyAsync(out.data, in.data, static_cast<std::size_t>(in.num_bytes()),
                            cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(in.stream)),
            "cudaMemcpyAsync");
}

}  // namespace microdit::comm
