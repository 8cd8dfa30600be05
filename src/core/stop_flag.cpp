// The signals are blocked everywhere and taken by one thread that waits for them. A handler would run on
// the stack of whatever thread it interrupts, and numeric kernels keep data where a stack pointer should be:
// the signal's frame then overwrites the heap.
#include "core/stop_flag.h"

#include <csignal>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/log.h"

namespace microdit::core {
namespace {

std::atomic<StopFlag*> signalled{nullptr};

/// What a shell starts with `&` in a script ignores Ctrl-C, which is meant for others.
bool is_ignored(int signal) {
  struct sigaction present {};
  return ::sigaction(signal, nullptr, &present) == 0 && present.sa_handler == SIG_IGN;
}

/// As if the signal had never been taken, so that a shell sees what ended the process.
void end_at_once(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  std::signal(signal, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(signal);
}

void wait_for_signals(sigset_t signals) {
  bool interrupted = false;
  for (int signal = 0; sigwait(&signals, &signal) == 0;) {
    if (signal == SIGINT) {
      if (interrupted) end_at_once(signal);
      interrupted = true;
      log_info("interrupt: stopping with the work saved; again to abort at once");
    }
    signalled.load()->request();
  }
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
    if (!is_ignored(SIGINT)) sigaddset(&signals, SIGINT);
    check(pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0, "pthread_sigmask failed");
    std::thread(wait_for_signals, signals).detach();
  });
}

}  // namespace microdit::core
