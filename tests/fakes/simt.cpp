// The fibres of a block, and who may go on.
#include "simt.h"

#include <fmt/format.h>
#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

// Shared memory of all kernels; the linker knows where it begins and ends, if there is any.
extern "C" {
__attribute__((weak, visibility("hidden"))) extern unsigned char __start_microdit_shared_memory[];
__attribute__((weak, visibility("hidden"))) extern unsigned char __stop_microdit_shared_memory[];
}

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace microdit::fakes {
namespace {

constexpr std::size_t kStackBytes = 128 << 10;

enum class State { kRunning, kAtBarrier, kAtWarp, kIdle };

/// Runs one thread after another; a thread that waits keeps its fibre.
struct Fibre {
  ucontext_t context{};
  State state = State::kRunning;
  unsigned thread = 0;
  unsigned mask = 0;
  std::source_location here{};
  Value given{};
  std::array<Value, 32> values{};
};

class Block {
 public:
  Block(unsigned num_threads, const std::function<void()>& thread, Order order);
  /// "" = every thread came to its end.
  std::string run();

  void wait();
  Fibre& current() { return *current_; }
  void leave_at(const void* address);
  bool is_broken() const { return is_broken_; }
  const void* bad_address() const { return bad_address_; }

 private:
  static void enter();
  void prepare(Fibre& fibre);
  void resume(Fibre& fibre);
  void start_threads();
  bool release();
  bool release_warp(Fibre& one);
  Fibre* waiting(unsigned thread);
  std::string stuck();

  const std::function<void()>& thread_;
  std::vector<unsigned> order_;
  std::size_t num_started_ = 0;
  unsigned num_done_ = 0;
  std::deque<Fibre> fibres_;  // stays put when it grows
  Fibre* current_ = nullptr;
  ucontext_t scheduler_{};
  bool is_broken_ = false;
  const void* bad_address_ = nullptr;
};

Block* active = nullptr;  // kernels run on one thread

void place(unsigned thread) {
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

std::vector<unsigned> in_order(unsigned count, Order order) {
  std::vector<unsigned> indices(count);
  std::iota(indices.begin(), indices.end(), 0U);
  if (order == Order::kReverse) std::reverse(indices.begin(), indices.end());
  if (order == Order::kRandom) {
    static std::mt19937 generator(1);  // another order each time, the same ones in each run
    std::shuffle(indices.begin(), indices.end(), generator);
  }
  return indices;
}

/// The stacks of one block serve the next.
char* stack_of(std::size_t fibre) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= fibre) stacks.push_back(std::make_unique_for_overwrite<char[]>(kStackBytes));
  return stacks[fibre].get();
}

Block::Block(unsigned num_threads, const std::function<void()>& thread, Order order)
    : thread_(thread), order_(in_order(num_threads, order)) {
  active = this;
}

void Block::enter() {
  Fibre& self = active->current();
  while (active->num_started_ < active->order_.size()) {
    self.thread = active->order_[active->num_started_++];
    place(self.thread);
    active->thread_();
    ++active->num_done_;
  }
  self.state = State::kIdle;
  active->wait();
}

void Block::wait() {
  swapcontext(&current_->context, &scheduler_);
}

void Block::resume(Fibre& fibre) {
  current_ = &fibre;
  place(fibre.thread);
  swapcontext(&scheduler_, &fibre.context);
  current_ = nullptr;
}

void Block::prepare(Fibre& fibre) {
  getcontext(&fibre.context);
  fibre.context.uc_stack.ss_sp = stack_of(fibres_.size() - 1);
  fibre.context.uc_stack.ss_size = kStackBytes;
  fibre.context.uc_link = nullptr;
  makecontext(&fibre.context, &Block::enter, 0);
}

void Block::start_threads() {
  while (num_started_ < order_.size() && !is_broken_) {
    prepare(fibres_.emplace_back());
    resume(fibres_.back());
  }
}

Fibre* Block::waiting(unsigned thread) {
  const auto found = std::ranges::find_if(fibres_, [&](const Fibre& fibre) {
    return fibre.thread == thread && (fibre.state == State::kAtBarrier || fibre.state == State::kAtWarp);
  });
  return found == fibres_.end() ? nullptr : &*found;
}

bool same_place(const Fibre& a, const Fibre& b) {
  return a.state == b.state && a.here.line() == b.here.line() && a.here.column() == b.here.column();
}

// All lanes of one's mask wait in the same exchange: each gets what all gave.
bool Block::release_warp(Fibre& one) {
  const unsigned first = one.thread / 32 * 32;
  std::array<Fibre*, 32> lanes{};
  std::array<Value, 32> values;
  std::memset(values.data(), 0xFF, sizeof(values));
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((one.mask >> lane & 1U) == 0) continue;
    lanes[lane] = waiting(first + lane);
    if (lanes[lane] == nullptr || !same_place(*lanes[lane], one) || lanes[lane]->mask != one.mask)
      return false;
    values[lane] = lanes[lane]->given;
  }
  for (Fibre* fibre : lanes) {
    if (fibre == nullptr) continue;
    fibre->values = values;
    fibre->state = State::kRunning;
  }
  return true;
}

bool Block::release() {
  bool any = false;
  for (Fibre& fibre : fibres_) {
    if (fibre.state == State::kAtWarp) any = release_warp(fibre) || any;
  }
  if (any) return true;
  if (num_done_ > 0 || fibres_.size() != order_.size()) return false;
  if (!std::ranges::all_of(fibres_, [&](const Fibre& f) { return same_place(f, fibres_.front()); }))
    return false;
  if (fibres_.front().state != State::kAtBarrier) return false;
  for (Fibre& fibre : fibres_) fibre.state = State::kRunning;
  return true;
}

std::string Block::stuck() {
  std::string text = fmt::format("{} of {} threads left the kernel", num_done_, order_.size());
  for (const State state : {State::kAtBarrier, State::kAtWarp}) {
    const auto one = std::ranges::find_if(fibres_, [&](const Fibre& fibre) { return fibre.state == state; });
    if (one == fibres_.end()) continue;
    text += fmt::format("; thread {} waits at the {} of line {}", one->thread,
                        state == State::kAtBarrier ? "barrier" : "warp exchange", one->here.line());
  }
  return text + ": a GPU would hang here";
}

std::string Block::run() {
  start_threads();
  while (!is_broken_ && num_done_ < order_.size()) {
    if (!release()) return stuck();
    for (Fibre& fibre : fibres_) {
      if (fibre.state == State::kRunning && !is_broken_) resume(fibre);
    }
  }
  return is_broken_ ? fmt::format("bad address {}", bad_address_) : std::string();
}

void Block::leave_at(const void* address) {
  bad_address_ = address;
  is_broken_ = true;
  setcontext(&scheduler_);
}

/// While it lives, a bad address in a kernel ends the kernel; elsewhere it ends the process as ever.
class AddressGuard {
 public:
  AddressGuard() {
    struct sigaction action {};
    action.sa_sigaction = &AddressGuard::handle;
    action.sa_flags = SA_SIGINFO;
    for (std::size_t i = 0; i < before_.size(); ++i) sigaction(kSignals[i], &action, &before_[i]);
  }
  ~AddressGuard() {
    for (std::size_t i = 0; i < before_.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  AddressGuard(const AddressGuard&) = delete;
  AddressGuard& operator=(const AddressGuard&) = delete;

 private:
  static constexpr std::array kSignals = {SIGSEGV, SIGBUS};
  static inline thread_local bool runs_kernels = false;

  static void handle(int number, siginfo_t* info, void*) {
    if (runs_kernels && active != nullptr) active->leave_at(info->si_addr);
    signal(number, SIG_DFL);  // another thread's own fault: it happens again, unhandled
  }

  std::array<struct sigaction, 2> before_{};

 public:
  struct Kernel {
    Kernel() { runs_kernels = true; }
    ~Kernel() { runs_kernels = false; }
  };
};

}  // namespace

KernelOutcome run_grid(dim3 grid, dim3 block, const std::function<void()>& thread, Order order) {
  const AddressGuard guard;
  const AddressGuard::Kernel kernel;
  gridDim = grid;
  blockDim = block;
  for (const unsigned index : in_order(grid.x * grid.y * grid.z, order)) {
    blockIdx = {index % grid.x, index / grid.x % grid.y, index / grid.x / grid.y};
    // Nothing is left of what the last block had there: all bits set is NaN in every float type.
    if (__start_microdit_shared_memory != nullptr) {
      std::fill(__start_microdit_shared_memory, __stop_microdit_shared_memory,
                static_cast<unsigned char>(0xFF));
    }
    Block state(block.x * block.y * block.z, thread, order);
    const std::string fault = state.run();
    active = nullptr;
    if (fault.empty()) continue;
    return {state.is_broken() ? cudaErrorIllegalAddress : cudaErrorLaunchFailure,
            fmt::format("block {}: {}", index, fault), state.bad_address()};
  }
  return {};
}

int lane() {
  return static_cast<int>(active->current().thread % 32);
}

void wait_for_block(const std::source_location& here) {
  Fibre& self = active->current();
  self.here = here;
  self.state = State::kAtBarrier;
  active->wait();
}

const std::array<Value, 32>& wait_for_warp(unsigned mask, const void* value, std::size_t bytes,
                                           const std::source_location& here) {
  Fibre& self = active->current();
  self.here = here;
  self.mask = mask;
  self.given = {};
  if (bytes > 0) std::memcpy(self.given.data(), value, bytes);
  self.state = State::kAtWarp;
  active->wait();
  return self.values;
}

}  // namespace microdit::fakes
