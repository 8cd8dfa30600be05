// The stage's side of decoding: one process and one piece of shared memory per worker; a pool of them.
#include "ingest/picture_worker.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "ingest/limits.h"
#include "ingest/worker_messages.h"
#include "ingest/worker_process.h"

namespace microdit::ingest {
namespace {

constexpr std::uint64_t kPage = 4096;

/// A file in memory that the worker maps, too.
class SharedMemory {
 public:
  SharedMemory() : fd_(::memfd_create("pictures", MFD_CLOEXEC)) {
    if (fd_ < 0) core::errno_error(errno, "memory shared with a worker");
  }
  ~SharedMemory() {
    if (data_) ::munmap(data_, size_);
    ::close(fd_);
  }
  SharedMemory(const SharedMemory&) = delete;
  int fd() const { return fd_; }
  std::uint64_t size() const { return size_; }
  std::byte* at_least(std::uint64_t bytes) {
    if (bytes > size_) {
      if (data_) ::munmap(data_, size_);
      data_ = nullptr;
      size_ = 0;  // nothing is mapped until all has gone well
      const std::uint64_t wanted = std::max(bytes, 2 * limits::kMiB);
      if (::ftruncate(fd_, static_cast<off_t>(wanted)) != 0)
        core::errno_error(errno, "{} bytes of shared memory", wanted);
      void* mapped = ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
      if (mapped == MAP_FAILED) core::errno_error(errno, "{} bytes of shared memory", wanted);
      data_ = mapped;
      size_ = wanted;
    }
    return static_cast<std::byte*>(data_);
  }
  /// Gives back what a large picture needed.
  void shrink() {
    if (size_ > limits::kKeptSharedBytes) ::madvise(data_, size_, MADV_REMOVE);
  }

 private:
  int fd_;
  void* data_ = nullptr;
  std::uint64_t size_ = 0;
};

PictureResult skipped(std::string reason, std::string detail) {
  PictureResult result;
  result.reason = std::move(reason);
  result.detail = std::move(detail);
  return result;
}

std::uint64_t square_bytes(std::int64_t size) {
  return static_cast<std::uint64_t>(size * size * 3);
}

}  // namespace

struct PictureWorker::Process {
  PictureSection rules;
  int cpu_seconds;
  const core::StopFlag* stop;
  SharedMemory memory;
  std::optional<WorkerProcess> worker;

  PictureResult run(std::span<const std::byte> bytes, PictureRequest request) {
    if (bytes.empty()) return skipped("damaged.header", "the picture has no bytes");
    if (bytes.size() > limits::kRecordBytes) return skipped("unsupported.oversize", "too many bytes");
    if (stop && stop->requested()) return skipped("stopped", "asked to stop");
    request.bytes = bytes.size();
    request.out = (bytes.size() + kPage - 1) / kPage * kPage;
    std::uint64_t needed = request.out;
    for (std::int64_t i = 0; i < request.num_sizes; ++i)
      needed += square_bytes(request.sizes[static_cast<std::size_t>(i)]);
    request.cpu_seconds = cpu_seconds;
    request.drop_damaged_inside = rules.damaged_inside == "skip";
    request.drop_several_frames = rules.frames == "skip";
    request.drop_alpha = rules.leaves_out("alpha");
    request.drop_palette = rules.leaves_out("palette");
    request.drop_deep = rules.leaves_out("deep");
    request.rules = rules.decode_rules();
    for (bool again = false;; again = true) {
      std::byte* shared = memory.at_least(needed);
      std::memcpy(shared, bytes.data(), bytes.size());
      request.shared_bytes = memory.size();
      if (!worker) worker.emplace(std::vector<std::string>{"pictures"}, memory.fd());
      PictureReply reply;
      auto got = WorkerProcess::Got::gone;
      if (worker->send(bytes_of(request))) got = worker->receive(bytes_of(reply), stop);
      if (got == WorkerProcess::Got::stopped) {
        worker.reset();
        return skipped("stopped", "asked to stop");
      }
      if (got == WorkerProcess::Got::all) {
        PictureResult result = unpack(request, reply, shared + request.out);
        memory.shrink();
        return result;
      }
      const WorkerEnd end = worker->end();
      worker.reset();
      if (end.kind == WorkerEnd::Kind::exited)
        core::system_error("{}: ended by itself ({})", worker_program().string(), end.words);
      if (end.kind == WorkerEnd::Kind::killed) {  // from outside: that says nothing about the picture
        if (!again) continue;
        throw core::InputFault(fmt::format(
            "the process that decodes it was killed twice ({}); is the machine, or the job's memory limit, "
            "out of memory? (each of the decode_workers may take up to {} MiB)",
            end.words, limits::kWorkerMemory / limits::kMiB));
      }
      if (end.kind == WorkerEnd::Kind::out_of_time)
        return skipped("damaged.time", fmt::format("decoding it takes more than {} s", cpu_seconds));
      return skipped("damaged.crashed", end.words);
    }
  }

  static PictureResult unpack(const PictureRequest& request, const PictureReply& reply,
                              const std::byte* out) {
    PictureResult result;
    result.reason = std::string(reply.reason.data(), ::strnlen(reply.reason.data(), reply.reason.size()));
    result.detail = std::string(reply.detail.data(), ::strnlen(reply.detail.data(), reply.detail.size()));
    result.width = reply.width;
    result.height = reply.height;
    result.decode_s = reply.decode_s;
    result.resize_s = reply.resize_s;
    if (!result.reason.empty()) return result;
    for (std::size_t i = 0; i < static_cast<std::size_t>(request.num_sizes); ++i) {
      image::Image& square = result.squares.emplace_back();
      if (!reply.made[i]) continue;
      square = image::Image(request.sizes[i], request.sizes[i]);
      std::memcpy(square.pixels.data(), out, square.pixels.size());
      out += square.pixels.size();
    }
    return result;
  }
};

PictureWorker::PictureWorker(const PictureSection& rules, int cpu_seconds, const core::StopFlag* stop)
    : process_(new Process{rules, cpu_seconds, stop, {}, {}}) {}
PictureWorker::PictureWorker(const PictureSection& rules) : PictureWorker(rules, limits::kPictureSeconds) {}
PictureWorker::~PictureWorker() = default;

PictureResult PictureWorker::check(std::span<const std::byte> bytes, std::int64_t min_side) {
  PictureRequest request;
  request.min_side = min_side;
  return process_->run(bytes, request);
}

PictureResult PictureWorker::squares(std::span<const std::byte> bytes, std::span<const std::int64_t> sizes,
                                     bool enlarge) {
  PictureRequest request;
  core::check(sizes.size() <= request.sizes.size(), "{} sizes of one picture", sizes.size());
  request.num_sizes = std::ssize(sizes);
  std::ranges::copy(sizes, request.sizes.begin());
  request.enlarge = enlarge;
  return process_->run(bytes, request);
}

struct PicturePool::Queue {
  using Task = std::packaged_task<PictureResult(PictureWorker&)>;
  std::mutex lock;
  std::condition_variable filled;
  std::deque<Task> tasks;
  bool over = false;
  std::vector<std::jthread> threads;

  std::future<PictureResult> add(Task task) {
    std::future<PictureResult> result = task.get_future();
    {
      const std::scoped_lock hold(lock);
      tasks.push_back(std::move(task));
    }
    filled.notify_one();
    return result;
  }

  void work(const PictureSection& rules, int cpu_seconds, const core::StopFlag* stop) {
    PictureWorker worker(rules, cpu_seconds, stop);
    for (;;) {
      std::unique_lock hold(lock);
      filled.wait(hold, [&] { return over || !tasks.empty(); });
      if (over) return;
      Task task = std::move(tasks.front());
      tasks.pop_front();
      hold.unlock();
      task(worker);
    }
  }
};

PicturePool::PicturePool(const PictureSection& rules, std::int64_t workers, int cpu_seconds,
                         const core::StopFlag* stop)
    : rules_(rules),
      cpu_seconds_(cpu_seconds),
      stop_(stop),
      workers_(std::max<std::int64_t>(workers, 1)),
      queue_(std::make_unique<Queue>()) {
  for (std::int64_t i = 0; i < workers_; ++i)
    queue_->threads.emplace_back(
        [queue = queue_.get(), rules, cpu_seconds, stop] { queue->work(rules, cpu_seconds, stop); });
}

PictureResult PicturePool::squares_alone(std::span<const std::byte> bytes,
                                         std::span<const std::int64_t> sizes, bool enlarge) const {
  return PictureWorker(rules_, cpu_seconds_, stop_).squares(bytes, sizes, enlarge);
}

PicturePool::~PicturePool() {
  {
    const std::scoped_lock hold(queue_->lock);
    queue_->over = true;
    queue_->tasks.clear();
  }
  queue_->filled.notify_all();
}

PictureFuture PicturePool::check(std::span<const std::byte> bytes, std::int64_t min_side) {
  return queue_->add(Queue::Task([=](PictureWorker& worker) { return worker.check(bytes, min_side); }));
}

PictureFuture PicturePool::squares(std::span<const std::byte> bytes, std::vector<std::int64_t> sizes,
                                   bool enlarge) {
  return queue_->add(
      Queue::Task([=](PictureWorker& worker) { return worker.squares(bytes, sizes, enlarge); }));
}

}  // namespace microdit::ingest
