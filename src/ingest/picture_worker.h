// Foreign pictures are decoded in worker processes with limits of their own: what kills one costs one picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/stop_flag.h"
#include "image/image.h"
#include "ingest/limits.h"
#include "ingest/picture_rules.h"

namespace microdit::ingest {

/// What became of one picture.
struct PictureResult {
  std::string reason;      ///< "" = good; else why it is left out: filtered.*, damaged.*, unsupported.*
  std::string detail;      ///< the decoder's words; may be empty
  std::int64_t width = 0;  ///< from the header; 0 where there is none
  std::int64_t height = 0;
  double decode_s = 0, resize_s = 0;  ///< what it took the worker
  std::vector<image::Image> squares;  ///< as asked for, in the order of the sizes
};

/// What `decode()` returns; an InputFault of it says whose picture it was.
template <class Decode>
auto naming(const std::string& file, const std::string& key, Decode&& decode) {
  try {
    return decode();
  } catch (const core::InputFault& fault) {
    throw core::InputFault(fmt::format("{}: the picture of '{}': {}", file, key, fault.what()));
  }
}

/// One worker process, started at the first use and again after its death. For one thread at a time.
/// Reasons: filtered.too_small, filtered.several_frames, damaged.header, damaged.picture, damaged.inside, damaged.crashed (the process died),
/// damaged.time (over its seconds of CPU), unsupported.format, unsupported.too_large (pixels), unsupported.memory.
/// SystemError when no worker can be started. InputFault when one is killed from outside twice over the same picture: that is
/// no verdict on it, and another machine may have the memory. It does not know the picture's name: callers add it (naming).
class PictureWorker {
 public:
  /// A picture in hand when `stop` comes is given up: reason "stopped". Null: never.
  PictureWorker(const PictureSection& rules, int cpu_seconds, const core::StopFlag* stop = nullptr);
  explicit PictureWorker(const PictureSection& rules);
  ~PictureWorker();
  PictureWorker(const PictureWorker&) = delete;

  /// Header, shorter side >= min_side, then one full decode.
  PictureResult check(std::span<const std::byte> bytes, std::int64_t min_side);
  /// One decode, then image::resize_and_center_crop to each size (empty Image where `enlarge` is false and the size is
  /// larger than the picture's shorter side).
  PictureResult squares(std::span<const std::byte> bytes, std::span<const std::int64_t> sizes, bool enlarge);

 private:
  struct Process;
  std::unique_ptr<Process> process_;
};

/// What a pool will say of a picture. Waits when it goes: the workers read the picture's bytes where they lie, so it
/// stands behind them in whatever holds both.
class PictureFuture : public std::future<PictureResult> {
 public:
  PictureFuture() = default;
  PictureFuture(std::future<PictureResult>&& future) : std::future<PictureResult>(std::move(future)) {}
  PictureFuture(PictureFuture&&) = default;
  PictureFuture& operator=(PictureFuture&& other) {
    let_go();
    std::future<PictureResult>::operator=(std::move(other));
    return *this;
  }
  ~PictureFuture() { let_go(); }

 private:
  void let_go() const {
    if (valid()) wait();
  }
};

/// Several workers, one thread each; results in the order in which the caller takes the futures.
class PicturePool {
 public:
  /// `cpu_seconds` of each picture; `stop`: as for PictureWorker.
  PicturePool(const PictureSection& rules, std::int64_t workers, int cpu_seconds = limits::kPictureSeconds,
              const core::StopFlag* stop = nullptr);
  ~PicturePool();  ///< gives up what was not begun
  PicturePool(const PicturePool&) = delete;

  /// `bytes` must stay until the future is ready.
  PictureFuture check(std::span<const std::byte> bytes, std::int64_t min_side);
  PictureFuture squares(std::span<const std::byte> bytes, std::vector<std::int64_t> sizes, bool enlarge);
  /// The same at once, by a process that has seen no other picture and ends with this one.
  PictureResult squares_alone(std::span<const std::byte> bytes, std::span<const std::int64_t> sizes,
                              bool enlarge) const;
  std::int64_t workers() const { return workers_; }
  /// So many pictures keep all workers busy; more only take memory.
  std::int64_t most_pending() const { return 4 * workers_; }

 private:
  struct Queue;
  PictureSection rules_;
  int cpu_seconds_;
  const core::StopFlag* stop_;
  std::int64_t workers_;
  std::unique_ptr<Queue> queue_;
};

}  // namespace microdit::ingest
