// The watchdog's thread: looks at the collective in progress a few times per deadline.
#include "comm/watchdog.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"

namespace microdit::comm {
namespace {

constexpr unsigned kEndJobGrace_s = 10;

extern "C" void exit_with_fault(int) {
  _exit(core::kHardwareFault);
}

}  // namespace

Watchdog::Watchdog(double deadline_s, int rank, std::function<void(int)> end_job)
    : deadline_s_(deadline_s), rank_(rank), end_job_(std::move(end_job)) {
  thread_ = std::thread([this] { loop(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::set_deadline(double seconds) {
  {
    const std::lock_guard lock(mutex_);
    deadline_s_ = seconds;
  }
  wake_.notify_all();  // the thread may sleep for a longer one's tick
}

void Watchdog::add_probe(const void* owner, Probe probe) {
  const std::lock_guard lock(mutex_);
  probes_[owner] = std::move(probe);
}

void Watchdog::remove_probe(const void* owner) {
  const std::lock_guard lock(mutex_);
  probes_.erase(owner);
}

Watchdog::Watch::Watch(Watchdog& watchdog, const char* what, std::int64_t bytes) : watchdog_(watchdog) {
  const std::lock_guard lock(watchdog_.mutex_);
  outer_what_ = watchdog_.what_;
  outer_bytes_ = watchdog_.bytes_;
  outer_started_ = watchdog_.started_;
  watchdog_.what_ = what;
  watchdog_.bytes_ = bytes;
  watchdog_.started_ = std::chrono::steady_clock::now();
}

Watchdog::Watch::~Watch() {
  const std::lock_guard lock(watchdog_.mutex_);
  watchdog_.what_ = outer_what_;
  watchdog_.bytes_ = outer_bytes_;
  watchdog_.started_ = outer_started_;
  ++watchdog_.num_done_;
}

// Under the lock. "" = all is well.
std::string Watchdog::fault() {
  if (!active()) return {};
  if (what_ != nullptr && core::seconds_since(started_) > deadline_s_) {
    return fmt::format(
        "rank {}: {} of {} bytes (collective {}) has lasted longer than {} s: a peer, its node or the "
        "network is gone",
        rank_, what_, bytes_, num_done_, deadline_s_.load());
  }
  for (const auto& [owner, probe] : probes_)
    if (std::string found = probe(deadline_s_); !found.empty()) return found;
  return {};
}

std::chrono::duration<double> Watchdog::tick() const {
  return std::chrono::duration<double>(active() ? std::clamp(deadline_s_ / 10, 0.01, 5.0) : 5.0);
}

void Watchdog::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, tick());  // also woken by a new deadline
    if (stopping_) return;
    if (const std::string reason = fault(); !reason.empty()) end(reason);
  }
}

void Watchdog::end(const std::string& reason) {
  // The launcher must hear the code from the one way that reaches it, but that way may hang as well, and so may the log.
  struct sigaction action {};
  action.sa_handler = exit_with_fault;
  sigaction(SIGALRM, &action, nullptr);
  alarm(kEndJobGrace_s);
  core::log_error("{}; exit {}", reason, static_cast<int>(core::kHardwareFault));
  end_job_(core::kHardwareFault);
  _exit(core::kHardwareFault);
}

}  // namespace microdit::comm
