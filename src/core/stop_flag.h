// SIGUSR1 and SIGTERM set a flag; whoever loops looks at it.
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

/// Routes SIGUSR1 and SIGTERM of this process to `flag`, which must outlive the process's signals. Call it
/// before any other thread begins: threads inherit that the two are blocked, so none is ever interrupted by
/// them.
void stop_on_signals(StopFlag& flag);

}  // namespace microdit::core
