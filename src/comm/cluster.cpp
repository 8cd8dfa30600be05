// The communicator of an MPI job. Sums are taken in rank order by our own code, so their bits depend on no library.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <optional>

#include "comm/communicator.h"
#include "comm/device_path.h"
#include "comm/rank_order_sum.h"
#include "comm/watchdog.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

// MPI counts are ints, and one message above 2 GiB is where libraries break.
constexpr std::int64_t kMaxMessageBytes = std::int64_t{1} << 30;
// Received pieces over all peers, 64 MiB: large, because every round waits for the slowest rank.
constexpr std::int64_t kScratchFloats = std::int64_t{16} << 20;

void must(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  core::fault_error("{} failed: {}", call, std::string_view(text, static_cast<std::size_t>(length)));
}

class ClusterCommunicator final : public Communicator {
 public:
  /// MPI's world.
  ClusterCommunicator(const Launch& launch, double deadline_s)
      : comm_(MPI_COMM_WORLD),
        rank_(rank_in(comm_)),
        size_(size_of(comm_)),
        local_rank_(launch.local_rank >= 0 ? launch.local_rank : rank_on_shared_memory()),
        watchdog_(std::make_shared<Watchdog>(deadline_s, rank_,
                                             [](int exit_code) { MPI_Abort(MPI_COMM_WORLD, exit_code); })) {}

  /// A part of `whole`'s ranks, which takes over `comm`.
  ClusterCommunicator(const ClusterCommunicator& whole, MPI_Comm comm)
      : comm_(comm),
        rank_(rank_in(comm_)),
        size_(size_of(comm_)),
        local_rank_(whole.local_rank_),
        watchdog_(whole.watchdog_) {
    if (whole.own_gpus_) use_cuda(*whole.own_gpus_);
  }

  ~ClusterCommunicator() override {
    device_.reset();
    // A rank that fails cannot take part in what the others wait for; the caller aborts instead.
    if (std::uncaught_exceptions() > exceptions_at_start_) return;
    const Watchdog::Watch watch(*watchdog_, "finalize", 0);
    if (comm_ != MPI_COMM_WORLD) {
      MPI_Comm_free(&comm_);
      return;
    }
    // All ranks leave together: the first to exit must not take the others' exit codes with it.
    MPI_Barrier(comm_);
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }

  void barrier() override {
    const Watchdog::Watch watch(*watchdog_, "barrier", 0);
    must(MPI_Barrier(comm_), "MPI_Barrier");
  }

  void all_reduce_sum(std::span<double> values) override {
    gather_doubles(values, "all_reduce_sum");
    for (std::size_t i = 0; i < values.size(); ++i) {
      double sum = doubles_[i];
      for (int r = 1; r < size_; ++r) sum += doubles_[static_cast<std::size_t>(r) * values.size() + i];
      values[i] = sum;
    }
  }

  // A NaN anywhere is the result, so that no rank's fault hides behind another's number.
  void all_reduce_max(std::span<double> values) override {
    gather_doubles(values, "all_reduce_max");
    for (std::size_t i = 0; i < values.size(); ++i) {
      double most = doubles_[i];
      for (int r = 1; r < size_; ++r) {
        const double other = doubles_[static_cast<std::size_t>(r) * values.size() + i];
        if (std::isnan(other) || other > most) most = other;
      }
      values[i] = most;
    }
  }

  void reduce_scatter_sum(Buffer in, Buffer out) override {
    check_pieces(out, in);
    core::check(in.dtype == core::DType::f32, "sums are of fp32 values");
    if (in.on_cuda) return device().reduce_scatter_sum(in, out);
    const Watchdog::Watch watch(*watchdog_, "reduce_scatter_sum", in.num_bytes());
    float* const from = in.floats();
    const std::int64_t chunk = std::max<std::int64_t>(kScratchFloats / size_, 1 << 16);
    received_.resize(static_cast<std::size_t>(std::min(chunk, out.count) * size_));
    for (std::int64_t begin = 0; begin < out.count; begin += chunk) {
      const std::int64_t count = std::min(chunk, out.count - begin);
      std::vector<const float*> pieces(static_cast<std::size_t>(size_));
      for (int r = 0; r < size_; ++r) pieces[static_cast<std::size_t>(r)] = received_.data() + r * count;
      exchange([&](int peer) { return from + peer * out.count + begin; },
               [&](int peer) { return received_.data() + peer * count; },
               count * static_cast<std::int64_t>(sizeof(float)));
      pieces[static_cast<std::size_t>(rank_)] = from + rank_ * out.count + begin;
      sum_in_rank_order(pieces, count, out.floats() + begin);
    }
  }

  void all_gather(Buffer in, Buffer out) override {
    check_pieces(in, out);
    if (in.on_cuda) return device().all_gather(in, out);
    const Watchdog::Watch watch(*watchdog_, "all_gather", out.num_bytes());
    const std::int64_t bytes = in.num_bytes();
    std::byte* own = out.bytes() + rank_ * bytes;
    if (in.bytes() != own) std::copy_n(in.bytes(), bytes, own);
    for (std::int64_t begin = 0; begin < bytes; begin += kMaxMessageBytes) {
      exchange([&](int) { return own + begin; }, [&](int peer) { return out.bytes() + peer * bytes + begin; },
               std::min(kMaxMessageBytes, bytes - begin));
    }
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    core::check(root >= 0 && root < size_, "broadcast from rank {} of {}", root, size_);
    const Watchdog::Watch watch(*watchdog_, "broadcast", static_cast<std::int64_t>(bytes.size()));
    while (!bytes.empty()) {
      const std::size_t count = std::min<std::size_t>(bytes.size(), kMaxMessageBytes);
      must(MPI_Bcast(bytes.data(), static_cast<int>(count), MPI_BYTE, root, comm_), "MPI_Bcast");
      bytes = bytes.subspan(count);
    }
  }

  std::vector<std::string> all_gather(const std::string& text) override {
    const Watchdog::Watch watch(*watchdog_, "all_gather of strings", static_cast<std::int64_t>(text.size()));
    const std::int64_t length = static_cast<std::int64_t>(text.size());
    std::vector<std::int64_t> lengths(static_cast<std::size_t>(size_));
    must(MPI_Allgather(&length, 1, MPI_INT64_T, lengths.data(), 1, MPI_INT64_T, comm_), "MPI_Allgather");
    const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    core::check(total <= INT_MAX, "strings of {} bytes together are too long to gather", total);
    const std::vector<int> counts(lengths.begin(), lengths.end());
    std::vector<int> offsets(counts.size());
    std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
    std::string all(static_cast<std::size_t>(total), '\0');
    must(MPI_Allgatherv(text.data(), static_cast<int>(length), MPI_CHAR, all.data(), counts.data(),
                        offsets.data(), MPI_CHAR, comm_),
         "MPI_Allgatherv");
    std::vector<std::string> texts;
    for (std::size_t r = 0; r < counts.size(); ++r) {
      texts.push_back(all.substr(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(counts[r])));
    }
    return texts;
  }

  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

  std::unique_ptr<Communicator> split(int color) override {
    const Watchdog::Watch watch(*watchdog_, "split", 0);
    MPI_Comm part = MPI_COMM_NULL;
    must(MPI_Comm_split(comm_, color, rank_, &part), "MPI_Comm_split");
    return std::make_unique<ClusterCommunicator>(*this, part);
  }

  void set_deadline(double seconds) override { watchdog_->set_deadline(seconds); }
  double deadline_s() const override { return watchdog_->deadline_s(); }
  void use_cuda(bool own_gpus) override {
    device_.reset();  // before the next one tells the watchdog of itself
    own_gpus_ = own_gpus;
    device_ = make_device_path(*this, own_gpus, *watchdog_);
  }

 private:
  static int rank_in(MPI_Comm comm) {
    int rank = 0;
    must(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank");
    return rank;
  }

  static int size_of(MPI_Comm comm) {
    int size = 0;
    must(MPI_Comm_size(comm, &size), "MPI_Comm_size");
    return size;
  }

  static int rank_on_shared_memory() {
    MPI_Comm node = MPI_COMM_NULL;
    must(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node),
         "MPI_Comm_split_type");
    const int rank = rank_in(node);
    must(MPI_Comm_free(&node), "MPI_Comm_free");
    return rank;
  }

  // `whole` holds size() pieces like `piece`.
  void check_pieces(const Buffer& piece, const Buffer& whole) const {
    core::check(whole.count == piece.count * size_, "{} values are not {} pieces of {}", whole.count, size_,
                piece.count);
    core::check(whole.on_cuda == piece.on_cuda && whole.dtype == piece.dtype,
                "buffers of two devices or types");
  }

  DevicePath& device() {
    core::check(device_ != nullptr, "a CUDA buffer, but choose_device() was not asked for CUDA");
    return *device_;
  }

  void gather_doubles(std::span<const double> values, const char* what) {
    core::check(values.size() <= INT_MAX, "{} values at once", values.size());
    const Watchdog::Watch watch(*watchdog_, what, static_cast<std::int64_t>(values.size_bytes()));
    const int count = static_cast<int>(values.size());
    doubles_.resize(values.size() * static_cast<std::size_t>(size_));
    must(MPI_Allgather(values.data(), count, MPI_DOUBLE, doubles_.data(), count, MPI_DOUBLE, comm_),
         "MPI_Allgather");
  }

  // Sends `bytes` at source(peer) to every peer and receives into target(peer), all at once and without copies.
  template <class Source, class Target>
  void exchange(const Source& source, const Target& target, std::int64_t bytes) {
    const int count = static_cast<int>(bytes);
    requests_.clear();
    for (int k = 1; k < size_; ++k) {
      const int peer = (rank_ + size_ - k) % size_;
      must(MPI_Irecv(target(peer), count, MPI_BYTE, peer, 0, comm_, &requests_.emplace_back()), "MPI_Irecv");
    }
    for (int k = 1; k < size_; ++k) {
      const int peer = (rank_ + k) % size_;
      must(MPI_Isend(source(peer), count, MPI_BYTE, peer, 0, comm_, &requests_.emplace_back()), "MPI_Isend");
    }
    must(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE),
         "MPI_Waitall");
  }

  const int exceptions_at_start_ = std::uncaught_exceptions();
  MPI_Comm comm_;
  const int rank_;
  const int size_;
  const int local_rank_;
  std::vector<float> received_;
  std::vector<double> doubles_;
  std::vector<MPI_Request> requests_;
  std::shared_ptr<Watchdog> watchdog_;  ///< of the whole and all its parts
  std::optional<bool> own_gpus_;        ///< what use_cuda() was told
  std::unique_ptr<DevicePath> device_;
};

constexpr const char* kRemedy =
    "Start with the MPI that the program was built with: srun --mpi=pmix (srun --mpi=list shows the "
    "plugins), or mpirun.";

void start_mpi(const Launch& launch) {
  if (!launch.has_wire_up) {
    core::user_error("srun started {} tasks without an MPI plugin, so they cannot find each other. {}",
                     launch.num_tasks, kRemedy);
  }
  int provided = MPI_THREAD_SINGLE;
  must(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (provided < MPI_THREAD_SERIALIZED) {
    core::user_error(
        "this MPI library may be called by one thread only, and the backward pass has its own "
        "(MPI_THREAD_SERIALIZED is needed)");
  }
  int size = 0;
  must(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  if (size != launch.num_tasks) {
    MPI_Finalize();
    core::user_error("{} started {} tasks, but MPI knows of {} (task {}): each would do the whole work. {}",
                     launch.launcher, launch.num_tasks, size, launch.rank, kRemedy);
  }
}

}  // namespace

std::unique_ptr<Communicator> make_communicator(double deadline_s) {
  const Launch launch = detect_launch();
  // One task needs no MPI, and a site's default plugin may not offer it.
  if (launch.num_tasks == 1) return make_local_communicator();
  start_mpi(launch);
  return std::make_unique<ClusterCommunicator>(launch, deadline_s);
}

}  // namespace microdit::comm
