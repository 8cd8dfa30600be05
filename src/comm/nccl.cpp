// CUDA buffers over NCCL: all-to-all of pieces and a rank-order sum, so that bits do not depend on NCCL's ring or tree.
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <exception>
#include <mutex>

#include "comm/nccl_path.h"
#include "comm/rank_order_sum.h"

namespace microdit::comm {
namespace {

// NCCL has no code of its own for a lack of memory.
void must_nccl(ncclResult_t code, const char* call) {
  if (code == ncclSuccess) return;
  const std::string_view last = ncclGetLastError(nullptr);
  const std::string text = fmt::format("{} failed: {} ({})", call, ncclGetErrorString(code), last);
  if (last.find("out of memory") != std::string_view::npos) throw core::SystemError(text + kLessMemory);
  throw core::FaultError(text);
}

float* reserve(std::int64_t count, const char* what) {
  void* data = nullptr;
  const auto bytes = static_cast<std::size_t>(count) * sizeof(float);
  const cudaError_t code = cudaMalloc(&data, bytes);
  std::size_t free = 0, total = 0;
  if (code == cudaErrorMemoryAllocation && cudaMemGetInfo(&free, &total) == cudaSuccess) {
    core::system_error("no {} MiB of GPU memory for {}: {} MiB are free of {}, before the model is made{}",
                       bytes >> 20, what, free >> 20, total >> 20, kLessMemory);
  }
  must_cuda(code, "cudaMalloc");
  return static_cast<float*>(data);
}

// Work enqueued on a stream and not yet seen to be complete: what the watchdog looks at.
class InFlight {
 public:
  ~InFlight() {
    for (const Entry& entry : entries_) cudaEventDestroy(entry.done);
    for (cudaEvent_t event : spare_) cudaEventDestroy(event);
  }

  // CUDA's calls block when the GPU's queue is full: not under the lock that the watchdog needs.
  void add(const char* what, cudaStream_t stream) {
    cudaEvent_t done = take_spare();
    if (done == nullptr)
      must_cuda(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "cudaEventCreate");
    must_cuda(cudaEventRecord(done, stream), "cudaEventRecord");
    const std::lock_guard lock(mutex_);
    entries_.push_back({what, done, std::chrono::steady_clock::now()});
  }

  std::string fault(double deadline_s) {
    const std::lock_guard lock(mutex_);
    while (!entries_.empty()) {
      const Entry& oldest = entries_.front();
      const cudaError_t state = cudaEventQuery(oldest.done);
      if (state != cudaSuccess && state != cudaErrorNotReady)
        return fmt::format("{} on the GPU: {}", oldest.what, cudaGetErrorString(state));
      if (state == cudaErrorNotReady) {
        const double age_s =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - oldest.enqueued).count();
        if (age_s > deadline_s)
          return fmt::format("{} on the GPU has lasted longer than {} s", oldest.what, deadline_s);
        return {};
      }
      spare_.push_back(oldest.done);
      entries_.pop_front();
    }
    return {};
  }

 private:
  struct Entry {
    const char* what;
    cudaEvent_t done;
    std::chrono::steady_clock::time_point enqueued;
  };
  cudaEvent_t take_spare() {
    const std::lock_guard lock(mutex_);
    if (spare_.empty()) return nullptr;
    const cudaEvent_t event = spare_.back();
    spare_.pop_back();
    return event;
  }

  std::mutex mutex_;
  std::deque<Entry> entries_;
  std::vector<cudaEvent_t> spare_;
};

class NcclPath final : public DevicePath {
 public:
  NcclPath(Communicator& comm, Watchdog& watchdog, std::int64_t scratch_floats)
      : rank_(comm.rank()),
        size_(comm.size()),
        chunk_floats_(std::max<std::int64_t>(scratch_floats / size_, 1)),
        watchdog_(watchdog) {
    must_cuda(cudaGetDevice(&device_), "cudaGetDevice");
    ncclUniqueId id{};
    if (rank_ == 0) must_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    comm.broadcast(std::as_writable_bytes(std::span(&id, 1)), 0);
    {
      const Watchdog::Watch watch(watchdog_, "ncclCommInitRank", 0);
      must_nccl(ncclCommInitRank(&nccl_, size_, id, rank_), "ncclCommInitRank");
    }
    must_cuda(cudaEventCreateWithFlags(&scratch_free_, cudaEventDisableTiming), "cudaEventCreate");
    watchdog_.add_probe(this, [this](double deadline_s) { return fault(deadline_s); });
  }

  ~NcclPath() override {
    watchdog_.remove_probe(this);
    // Destroying waits for the peers; after a failure they may be gone.
    ncclResult_t state = ncclSuccess;
    if (std::uncaught_exceptions() > 0 || ncclCommGetAsyncError(nccl_, &state) != ncclSuccess ||
        state != ncclSuccess) {
      ncclCommAbort(nccl_);
    } else {
      const Watchdog::Watch watch(watchdog_, "NCCL's end", 0);
      ncclCommDestroy(nccl_);
    }
    cudaFree(scratch_);
    cudaEventDestroy(scratch_free_);
  }

  /// Scratch, connections and NCCL's own buffers are made now: later the model's memory leaves no room for
  /// them.
  void warm_up() {
    scratch_ = reserve(chunk_floats_ * size_, "received pieces");
    float* probe = reserve(size_ + 1, "a first collective");  // one value per rank, and one
    must_cuda(cudaMemset(probe, 0, static_cast<std::size_t>(size_ + 1) * sizeof(float)), "cudaMemset");
    const Buffer whole{probe, size_, true, nullptr}, piece{probe + size_, 1, true, nullptr};
    reduce_scatter_sum(whole, piece);
    all_gather(piece, whole);
    {
      const Watchdog::Watch watch(watchdog_, "NCCL's first collectives", 0);
      must_cuda(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    }
    must_cuda(cudaFree(probe), "cudaFree");
  }

  void reduce_scatter_sum(Buffer in, Buffer out) override {
    // Enqueueing may block as well: connections are set up at their first use.
    const Watchdog::Watch watch(watchdog_, "reduce_scatter_sum (enqueue)", in.count * 4);
    const auto stream = static_cast<cudaStream_t>(in.stream);
    // The scratch is one for all streams.
    must_cuda(cudaStreamWaitEvent(stream, scratch_free_, 0), "cudaStreamWaitEvent");
    for (std::int64_t begin = 0; begin < out.count; begin += chunk_floats_) {
      const std::int64_t count = std::min(chunk_floats_, out.count - begin);
      must_nccl(ncclGroupStart(), "ncclGroupStart");
      for (int peer = 0; peer < size_; ++peer) {
        if (peer == rank_) continue;
        must_nccl(ncclSend(in.floats() + peer * out.count + begin, static_cast<std::size_t>(count), ncclFloat,
                           peer, nccl_, stream),
                  "ncclSend");
        must_nccl(ncclRecv(scratch_ + peer * count, static_cast<std::size_t>(count), ncclFloat, peer, nccl_,
                           stream),
                  "ncclRecv");
      }
      must_nccl(ncclGroupEnd(), "ncclGroupEnd");
      const DevicePieces pieces{scratch_, count, size_, in.floats() + rank_ * out.count + begin, rank_};
      must_cuda(static_cast<cudaError_t>(sum_in_rank_order_cuda(pieces, count, out.floats() + begin, stream)),
                "sum kernel");
    }
    must_cuda(cudaEventRecord(scratch_free_, stream), "cudaEventRecord");
    if (watchdog_.active()) in_flight_.add("reduce_scatter_sum", stream);
  }

  void all_gather(Buffer in, Buffer out) override {
    const Watchdog::Watch watch(watchdog_, "all_gather (enqueue)", out.num_bytes());
    const auto stream = static_cast<cudaStream_t>(in.stream);
    must_nccl(
        ncclAllGather(in.data, out.data, static_cast<std::size_t>(in.num_bytes()), ncclChar, nccl_, stream),
        "ncclAllGather");
    if (watchdog_.active()) in_flight_.add("all_gather", stream);
  }

 private:
  // On the watchdog's thread, which has its own current device.
  std::string fault(double deadline_s) {
    cudaSetDevice(device_);
    ncclResult_t state = ncclSuccess;
    ncclCommGetAsyncError(nccl_, &state);
    if (state != ncclSuccess && state != ncclInProgress)
      return fmt::format("rank {}: NCCL: {}", rank_, ncclGetErrorString(state));
    const std::string late = in_flight_.fault(deadline_s);
    return late.empty() ? late : fmt::format("rank {}: {}", rank_, late);
  }

  const int rank_;
  const int size_;
  const std::int64_t chunk_floats_;  ///< of one piece, per round
  Watchdog& watchdog_;
  int device_ = 0;
  ncclComm_t nccl_ = nullptr;
  InFlight in_flight_;
  float* scratch_ = nullptr;
  cudaEvent_t scratch_free_ = nullptr;
};

}  // namespace

std::unique_ptr<DevicePath> make_nccl_path(Communicator& comm, Watchdog& watchdog,
                                           std::int64_t scratch_floats) {
  auto path = std::make_unique<NcclPath>(comm, watchdog, scratch_floats);
  path->warm_up();
  return path;
}

}  // namespace microdit::comm
