// Signal handlers that do nothing but set a flag.
#include "core/stop_flag.h"

#include <csignal>

#include "core/error.h"

namespace microdit::core {
namespace {

static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<StopFlag*>::is_always_lock_free,
              "a signal handler may touch only lock-free atomics");
std::atomic<StopFlag*> signalled{nullptr};

extern "C" void on_stop_signal(int) {
  if (StopFlag* flag = signalled.load()) flag->request();
}

}  // namespace

void stop_on_signals(StopFlag& flag) {
  signalled = &flag;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;  // libraries that forget EINTR keep working
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGUSR1, SIGTERM}) {
    check(sigaction(signal, &action, nullptr) == 0, "sigaction({}) failed", signal);
  }
}

}  // namespace microdit::core
