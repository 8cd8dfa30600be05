// The fake GPUs of this process and one thread that does their work: streams in order, each beside the others.
#pragma once

#include <atomic>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>

#include "fake_gpus.h"
#include "heap.h"

/// So much of a stream's work.
struct Moment {
  std::shared_ptr<CUstream_st> stream{};  ///< null: no work at all
  std::uint64_t count = 0;
};

struct Work {
  std::function<cudaError_t()> run;  ///< cudaErrorNotReady: call again later
  std::vector<Moment> after;
  std::chrono::steady_clock::time_point begin;
};

struct CUstream_st {
  int device = 0;
  bool joins_default = true;  ///< ordered with the default stream (not cudaStreamNonBlocking)
  std::deque<Work> queue{};
  std::uint64_t enqueued = 0, done = 0, wanted = 0;
};

struct CUevent_st {
  int device = 0;
  Moment recorded{};
};

namespace microdit::fakes {

struct Device {
  explicit Device(const Gpu& gpu) : gpu(gpu), heap(gpu.memory_bytes) {}
  Gpu gpu;
  Heap heap;
  bool has_context = false;
  cudaError_t breaks = cudaSuccess;  ///< at the next work
  cudaError_t broken = cudaSuccess;
  std::shared_ptr<CUstream_st> default_stream{};
};

class Machine {
 public:
  explicit Machine(const std::vector<Gpu>& gpus);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  int num_gpus() const { return static_cast<int>(devices_.size()); }
  Device& device(int index) { return *devices_.at(static_cast<std::size_t>(index)); }
  Heap& pinned() { return pinned_; }
  /// The heap that this address belongs to, null = host memory.
  Heap* heap_at(const void* data);

  /// A call needs this GPU: it has a context from now on. The GPU's sticky error, if it has one.
  cudaError_t use(int device);
  std::set<int> used();
  void break_gpu(int device, cudaError_t error);

  cudaStream_t add_stream(int device, bool joins_default);
  void remove_stream(cudaStream_t stream);
  /// `device`: the current one, whose default stream null means.
  std::shared_ptr<CUstream_st> stream(cudaStream_t handle, int device);

  /// Puts `run` behind all that is on the stream, and behind `after`.
  Moment enqueue(const std::shared_ptr<CUstream_st>& stream, std::function<cudaError_t()> run,
                 const Moment& after = {});
  /// All that was enqueued on a GPU so far.
  std::vector<Moment> all_of(int device);
  cudaError_t wait(const Moment& moment);
  cudaError_t query(const Moment& moment);

  void set_fault(const std::string& what);
  std::string fault();

  std::atomic<double> lateness_s = 0;
  std::atomic<Order> order = Order::kForward;
  std::atomic<int> calls_left = INT_MAX;  ///< that enqueue; then one never returns

 private:
  void loop();
  void want(const Moment& moment);
  bool is_ready(const CUstream_st& stream) const;
  bool step(CUstream_st& stream, std::unique_lock<std::mutex>& lock);

  std::vector<std::unique_ptr<Device>> devices_;
  Heap pinned_;
  std::mutex mutex_;
  std::condition_variable work_, progress_;
  std::vector<std::shared_ptr<CUstream_st>> streams_;
  std::string fault_;
  bool stopping_ = false;
  std::thread thread_;
};

/// The one of this process. There is always one, if without GPUs.
std::shared_ptr<Machine> machine();

/// The device that this thread chose.
int current_device();
void choose_current_device(int device);

}  // namespace microdit::fakes
