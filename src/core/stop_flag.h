// SIGUSR1, SIGTERM and Ctrl-C set a flag; whoever loops looks at it.
#pragma once

#include <atomic>

namespace microdit::core {

class StopFlag {
 public:
  bool requested() const { return requested_.load(std::memory_order_relaxed); }
  void request() { requested_.store(true, std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
};

/// Thrown by what was given up because a stop was seen, where no result can say so.
struct Stopped {};

/// Routes SIGUSR1, SIGTERM and the first SIGINT (Ctrl-C) of this process to `flag`, which must outlive the process's
/// signals; a second SIGINT ends the process at once. Call it before any other thread begins: threads inherit that
/// they are blocked, so none is ever interrupted by them.
void stop_on_signals(StopFlag& flag);

}  // namespace microdit::core
