// CUDA buffers over NCCL: all-to-all of pieces and a rank-order sum, so that bits do not depend on NCCL's
// ring or tree.
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

constexpr std::int64_t kScratchFloats = std::int64_t{64} << 20;  // 256 MiB of received pieces, over all peers

void must_nccl(ncclResult_t code, const char* call) {
  if (code != ncclSuccess)
    core::fault_error("{} failed: {} ({})", call, ncclGetErrorString(code), ncclGetLastError(nullptr));
}

// Work enqueued on a stream and not yet seen to be complete: what the watchdog looks at.
class InFlight {
 public:
  ~InFlight() {
    for (const Entry& entry : entries_) cudaEventDestroy(entry.done);
    for (cudaEvent_t event : spare_) cudaEventDestroy(event);
  }

  void add(const char* what, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    cudaEvent_t done = nullptr;
    if (spare_.empty()) {
      must_cuda(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "cudaEventCreate");
    } else {
      done = spare_.back();
      spare_.pop_back();
    }
    must_cuda(cudaEventRecord(done, stream), "cudaEventRecord");
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
  std::mutex mutex_;
  std::deque<Entry> entries_;
  std::vector<cudaEvent_t> spare_;
};

class NcclPath final : public DevicePath {
 public:
  NcclPath(Communicator& comm, Watchdog& watchdog)
      : rank_(comm.rank()), size_(comm.size()), watchdog_(watchdog) {
    must_cuda(cudaGetDevice(&device_), "cudaGetDevice");
    ncclUniqueId id{};
    if (rank_ == 0) must_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    comm.broadcast(std::as_writable_bytes(std::span(&id, 1)), 0);
    {
      const Watchdog::Watch watch(watchdog_, "ncclCommInitRank", 0);
      must_nccl(ncclCommInitRank(&nccl_, size_, id, rank_), "ncclCommInitRank");
    }
    must_cuda(cudaEventCreateWithFlags(&scratch_free_, cudaEventDisableTiming), "cudaEventCreate");
    watchdog_.set_probe([this](double deadline_s) { return fault(deadline_s); });
    warm_up();
  }

  ~NcclPath() override {
    watchdog_.set_probe(nullptr);
    // Destroy waits for the peers; after a failure they may be gone.
    ncclResult_t state = ncclSuccess;
    if (std::uncaught_exceptions() > 0 || ncclCommGetAsyncError(nccl_, &state) != ncclSuccess ||
        state != ncclSuccess) {
      ncclCommAbort(nccl_);
    } else {
      ncclCommDestroy(nccl_);
    }
    cudaFree(scratch_);
    cudaEventDestroy(scratch_free_);
  }

  void reduce_scatter_sum(FloatBuffer in, FloatBuffer out) override {
    // Enqueueing may block as well: connections are set up at their first use.
    const Watchdog::Watch watch(watchdog_, "reduce_scatter_sum (enqueue)", in.count * 4);
    const auto stream = static_cast<cudaStream_t>(in.stream);
    const std::int64_t chunk = chunk_floats();
    // The scratch is one for all streams.
    must_cuda(cudaStreamWaitEvent(stream, scratch_free_, 0), "cudaStreamWaitEvent");
    for (std::int64_t begin = 0; begin < out.count; begin += chunk) {
      const std::int64_t count = std::min(chunk, out.count - begin);
      must_nccl(ncclGroupStart(), "ncclGroupStart");
      for (int peer = 0; peer < size_; ++peer) {
        if (peer == rank_) continue;
        must_nccl(ncclSend(in.data + peer * out.count + begin, static_cast<std::size_t>(count), ncclFloat,
                           peer, nccl_, stream),
                  "ncclSend");
        must_nccl(ncclRecv(scratch_ + peer * count, static_cast<std::size_t>(count), ncclFloat, peer, nccl_,
                           stream),
                  "ncclRecv");
      }
      must_nccl(ncclGroupEnd(), "ncclGroupEnd");
      const DevicePieces pieces{scratch_, count, size_, in.data + rank_ * out.count + begin, rank_};
      must_cuda(static_cast<cudaError_t>(sum_in_rank_order_cuda(pieces, count, out.data + begin, stream)),
                "sum kernel");
    }
    must_cuda(cudaEventRecord(scratch_free_, stream), "cudaEventRecord");
    if (watchdog_.active()) in_flight_.add("reduce_scatter_sum", stream);
  }

  void all_gather(FloatBuffer in, FloatBuffer out) override {
    const Watchdog::Watch watch(watchdog_, "all_gather (enqueue)", out.count * 4);
    const auto stream = static_cast<cudaStream_t>(in.stream);
    must_nccl(ncclAllGather(in.data, out.data, static_cast<std::size_t>(in.count), ncclFloat, nccl_, stream),
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

  std::int64_t chunk_floats() const { return std::max<std::int64_t>(kScratchFloats / size_, 1 << 20); }

  // Scratch, connections and NCCL's own buffers are made now: later the model's memory leaves no room for them.
  void warm_up() {
    const std::int64_t count = chunk_floats() * size_;
    must_cuda(cudaMalloc(reinterpret_cast<void**>(&scratch_), static_cast<std::size_t>(count) * sizeof(float)),
              "cudaMalloc of received pieces");
    float* probe = nullptr;  // one value per rank, and one
    const auto values = static_cast<std::size_t>(size_ + 1);
    must_cuda(cudaMalloc(reinterpret_cast<void**>(&probe), values * sizeof(float)), "cudaMalloc");
    must_cuda(cudaMemset(probe, 0, values * sizeof(float)), "cudaMemset");
    const FloatBuffer whole{probe, size_, true, nullptr}, piece{probe + size_, 1, true, nullptr};
    reduce_scatter_sum(whole, piece);
    all_gather(piece, whole);
    {
      const Watchdog::Watch watch(watchdog_, "NCCL's first collectives", 0);
      must_cuda(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    }
    must_cuda(cudaFree(probe), "cudaFree");
  }

  const int rank_;
  const int size_;
  Watchdog& watchdog_;
  int device_ = 0;
  ncclComm_t nccl_ = nullptr;
  InFlight in_flight_;
  float* scratch_ = nullptr;
  cudaEvent_t scratch_free_ = nullptr;
};

}  // namespace

std::unique_ptr<DevicePath> make_nccl_path(Communicator& comm, Watchdog& watchdog) {
  return std::make_unique<NcclPath>(comm, watchdog);
}

}  // namespace microdit::comm
