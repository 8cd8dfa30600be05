// Streams and the thread that works on them.
#include "machine.h"

#include <fmt/format.h>

#include <algorithm>

namespace microdit::fakes {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPoll = std::chrono::microseconds(300);
constexpr std::size_t kPinnedBytes = std::size_t{8} << 30;

thread_local int current = 0;

std::mutex plug_mutex;
std::shared_ptr<Machine>& plugged() {
  // Never destroyed: the last calls may come from other threads while the process exits.
  static auto& machine = *new std::shared_ptr<Machine>(std::make_shared<Machine>(std::vector<Gpu>()));
  return machine;
}

}  // namespace

std::shared_ptr<Machine> machine() {
  const std::lock_guard lock(plug_mutex);
  return plugged();
}

void plug_in(const std::vector<Gpu>& gpus) {
  auto fresh = std::make_shared<Machine>(gpus);
  const std::lock_guard lock(plug_mutex);
  plugged() = std::move(fresh);
}

int current_device() {
  return current;
}

void choose_current_device(int device) {
  current = device;
}

Machine::Machine(const std::vector<Gpu>& gpus) : pinned_(kPinnedBytes, true) {
  for (const Gpu& gpu : gpus) {
    devices_.push_back(std::make_unique<Device>(gpu));
    Device& device = *devices_.back();
    device.default_stream = std::make_shared<CUstream_st>();
    device.default_stream->device = num_gpus() - 1;
    streams_.push_back(device.default_stream);
  }
  thread_ = std::thread([this] { loop(); });
}

Machine::~Machine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  thread_.join();
}

Heap* Machine::heap_at(const void* data) {
  for (const auto& device : devices_) {
    if (device->heap.is_in_range(data)) return &device->heap;
  }
  return nullptr;
}

cudaError_t Machine::use(int index) {
  if (index < 0 || index >= num_gpus()) return num_gpus() == 0 ? cudaErrorNoDevice : cudaErrorInvalidDevice;
  const std::lock_guard lock(mutex_);
  device(index).has_context = true;
  return device(index).broken;
}

std::set<int> Machine::used() {
  const std::lock_guard lock(mutex_);
  std::set<int> indices;
  for (int index = 0; index < num_gpus(); ++index) {
    if (device(index).has_context) indices.insert(index);
  }
  return indices;
}

void Machine::break_gpu(int index, cudaError_t error) {
  const std::lock_guard lock(mutex_);
  device(index).breaks = error;
}

cudaStream_t Machine::add_stream(int device, bool joins_default) {
  const std::lock_guard lock(mutex_);
  auto& made = streams_.emplace_back(std::make_shared<CUstream_st>());
  made->device = device;
  made->joins_default = joins_default;
  return made.get();
}

void Machine::remove_stream(cudaStream_t handle) {
  const std::lock_guard lock(mutex_);
  std::erase_if(streams_, [&](const auto& stream) { return stream.get() == handle; });
}

std::shared_ptr<CUstream_st> Machine::stream(cudaStream_t handle, int index) {
  const std::lock_guard lock(mutex_);
  if (handle == nullptr) return device(index).default_stream;
  const auto found =
      std::ranges::find_if(streams_, [&](const auto& stream) { return stream.get() == handle; });
  return found == streams_.end() ? nullptr : *found;
}

Moment Machine::enqueue(const std::shared_ptr<CUstream_st>& stream, std::function<cudaError_t()> run,
                        const Moment& after) {
  std::unique_lock lock(mutex_);
  if (calls_left != INT_MAX && calls_left-- <= 0) progress_.wait(lock, [] { return false; });
  const auto delay = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(lateness_s));
  Work work{std::move(run), {}, Clock::now() + delay};
  if (after.stream != nullptr) work.after.push_back(after);
  const auto& joint = device(stream->device).default_stream;
  if (stream == joint) {
    for (const auto& other : streams_) {
      if (other != stream && other->device == stream->device && other->joins_default)
        work.after.push_back({other, other->enqueued});
    }
  } else if (stream->joins_default) {
    work.after.push_back({joint, joint->enqueued});
  }
  stream->queue.push_back(std::move(work));
  const Moment end{stream, ++stream->enqueued};
  lock.unlock();
  work_.notify_all();
  return end;
}

std::vector<Moment> Machine::all_of(int device) {
  const std::lock_guard lock(mutex_);
  std::vector<Moment> moments;
  for (const auto& stream : streams_) {
    if (stream->device == device) moments.push_back({stream, stream->enqueued});
  }
  return moments;
}

// Under the lock. Somebody waits: no lateness any more for what leads there.
void Machine::want(const Moment& moment) {
  CUstream_st& stream = *moment.stream;
  if (stream.wanted >= moment.count) return;
  stream.wanted = moment.count;
  const std::uint64_t num_left = moment.count > stream.done ? moment.count - stream.done : 0;
  for (std::uint64_t i = 0; i < num_left && i < stream.queue.size(); ++i) {
    for (const Moment& before : stream.queue[i].after) want(before);
  }
}

cudaError_t Machine::wait(const Moment& moment) {
  std::unique_lock lock(mutex_);
  if (moment.stream == nullptr) return cudaSuccess;
  want(moment);
  work_.notify_all();
  const Device& on = device(moment.stream->device);
  progress_.wait(lock, [&] { return moment.stream->done >= moment.count || on.broken != cudaSuccess; });
  return on.broken;
}

cudaError_t Machine::query(const Moment& moment) {
  const std::lock_guard lock(mutex_);
  if (moment.stream == nullptr) return cudaSuccess;
  const Device& on = device(moment.stream->device);
  if (on.broken != cudaSuccess) return on.broken;
  return moment.stream->done >= moment.count ? cudaSuccess : cudaErrorNotReady;
}

void Machine::set_fault(const std::string& what) {
  const std::lock_guard lock(mutex_);
  fault_ = what;
}

std::string Machine::fault() {
  const std::lock_guard lock(mutex_);
  return fault_;
}

// Under the lock.
bool Machine::is_ready(const CUstream_st& stream) const {
  if (stream.queue.empty() || devices_[static_cast<std::size_t>(stream.device)]->broken != cudaSuccess)
    return false;
  const Work& first = stream.queue.front();
  if (stream.wanted <= stream.done && Clock::now() < first.begin) return false;
  return std::ranges::all_of(first.after, [](const Moment& m) { return m.stream->done >= m.count; });
}

// The stream's first work. True when it came to an end.
bool Machine::step(CUstream_st& stream, std::unique_lock<std::mutex>& lock) {
  Device& on = device(stream.device);
  cudaError_t state = on.breaks;
  if (state == cudaSuccess) {
    Work& first = stream.queue.front();  // a deque's elements stay where they are
    lock.unlock();
    state = first.run();
    lock.lock();
  }
  if (state == cudaErrorNotReady) return false;
  if (state == cudaSuccess) {
    stream.queue.pop_front();
    ++stream.done;
  } else {
    on.broken = state;
  }
  progress_.notify_all();
  return true;
}

void Machine::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    bool any_done = false, any_left = false;
    const auto streams = streams_;
    for (const auto& stream : streams) {
      if (is_ready(*stream)) any_done = step(*stream, lock) || any_done;
      any_left = any_left || !stream->queue.empty();
    }
    if (any_done || stopping_) continue;
    if (any_left) {
      work_.wait_for(lock, kPoll);
    } else {
      work_.wait(lock);
    }
  }
}

}  // namespace microdit::fakes
