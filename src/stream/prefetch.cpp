// A slice belongs to one thread; only the hand-over is locked.
#include "stream/prefetch.h"

#include <chrono>
#include <utility>

namespace microdit::stream {

Prefetcher::Prefetcher(std::function<void(std::int64_t, Batch&)> fill, std::int64_t threads,
                       std::int64_t depth)
    : fill_(std::move(fill)), depth_(depth) {
  for (std::int64_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Prefetcher::~Prefetcher() {
  {
    const std::scoped_lock lock(lock_);
    stop_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Prefetcher::work() {
  std::unique_lock lock(lock_);
  while (true) {
    wanted_.wait(lock, [this] { return stop_ || started_ < taken_ + depth_; });
    if (stop_) return;
    const std::int64_t number = started_++;
    Slice slice;
    if (!used_.empty()) {
      slice.batch = std::move(used_.back());
      used_.pop_back();
    }
    lock.unlock();
    try {
      fill_(number, slice.batch);
    } catch (...) {
      slice.error = std::current_exception();
    }
    lock.lock();
    slices_.emplace(number, std::move(slice));
    ready_.notify_all();
  }
}

Batch Prefetcher::next() {
  std::unique_lock lock(lock_);
  const auto begin = std::chrono::steady_clock::now();
  ready_.wait(lock, [this] { return slices_.contains(taken_); });
  waited_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Slice& slice = slices_.at(taken_);
  if (slice.error) std::rethrow_exception(slice.error);
  Batch batch = std::move(slice.batch);
  slices_.erase(taken_++);
  wanted_.notify_one();
  return batch;
}

void Prefetcher::recycle(Batch&& used) {
  const std::scoped_lock lock(lock_);
  if (static_cast<std::int64_t>(used_.size()) < depth_) used_.push_back(std::move(used));
}

}  // namespace microdit::stream
