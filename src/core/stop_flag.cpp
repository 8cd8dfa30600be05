// The two signals are blocked everywhere and taken by one thread that waits for them. A handler would run on
// the stack of whatever thread it interrupts, and numeric kernels keep data where a stack pointer should be:
// the signal's frame then overwrites the heap.
#include "core/stop_flag.h"

#include <csignal>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace microdit::core {
namespace {

std::atomic<StopFlag*> signalled{nullptr};

void wait_for_signals(sigset_t signals) {
  for (int signal = 0; sigwait(&signals, &signal) == 0;) signalled.load()->request();
}

}  // namespace

void stop_on_signals(StopFlag& flag) {
  signalled = &flag;
  static std::once_flag once;
  std::call_once(once, [] {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGTERM);
    check(pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0, "pthread_sigmask failed");
    std::thread(wait_for_signals, signals).detach();
  });
}

}  // namespace microdit::core
