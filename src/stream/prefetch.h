// Threads that keep the next slices ready, in order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "stream/latent_stream.h"

namespace microdit::stream {

class Prefetcher {
 public:
  /// `fill(slice, batch)` makes slice 0, 1, 2 ... into `batch`, whose memory may be a used one; called from
  /// `threads` threads. At most `depth` slices are made or ready ahead of next().
  Prefetcher(std::function<void(std::int64_t, Batch&)> fill, std::int64_t threads, std::int64_t depth);
  ~Prefetcher();

  /// The next slice; an exception of its fill is rethrown here, in its turn, and again at every later call.
  Batch next();
  void recycle(Batch&& used);
  /// Called by the thread that calls next().
  double waited_s() const { return waited_s_; }

 private:
  struct Slice {
    Batch batch;
    std::exception_ptr error;
  };
  void work();

  std::function<void(std::int64_t, Batch&)> fill_;
  std::int64_t depth_;
  std::mutex lock_;
  std::condition_variable wanted_, ready_;
  std::map<std::int64_t, Slice> slices_;
  std::vector<Batch> used_;
  std::int64_t started_ = 0;  ///< slices handed to a thread
  std::int64_t taken_ = 0;    ///< slices returned by next()
  bool stop_ = false;
  double waited_s_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace microdit::stream
