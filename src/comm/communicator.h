// Collectives between the ranks of one job. One process is not a special case. MPI and NCCL live only behind this door.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "core/dtype.h"

namespace microdit::comm {

/// A buffer of values and where it lies. CUDA buffers are used on `stream` (a cudaStream_t).
struct Buffer {
  void* data = nullptr;
  std::int64_t count = 0;
  bool on_cuda = false;
  void* stream = nullptr;
  core::DType dtype = core::DType::f32;

  float* floats() const { return static_cast<float*>(data); }
  std::byte* bytes() const { return static_cast<std::byte*>(data); }
  std::int64_t num_bytes() const { return count * static_cast<std::int64_t>(core::size_of(dtype)); }
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Rank within its node, for choosing a GPU.
  virtual int local_rank() const = 0;
  virtual void barrier() = 0;

  /// Sum over ranks in rank order, in place: the same bits on every rank and for every library.
  virtual void all_reduce_sum(std::span<double> values) = 0;
  virtual void all_reduce_max(std::span<double> values) = 0;

  /// `in` holds size() equal pieces of out.count fp32 values; out = sum over ranks, in rank order, of piece
  /// rank(), and may be that piece of `in`.
  virtual void reduce_scatter_sum(Buffer in, Buffer out) = 0;
  /// `out` = the ranks' `in` pieces in rank order, of any one dtype; `in` may be the piece rank() of `out`.
  virtual void all_gather(Buffer in, Buffer out) = 0;

  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// Each rank's string, in rank order, on every rank.
  virtual std::vector<std::string> all_gather(const std::string& text) = 0;

  /// The ranks that say the same `color`, in rank order: a communicator of their own, with this one's deadline and device. It ends before
  /// this one. Collective over all ranks.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  /// Ends all ranks with this exit code.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  /// From now on a collective that lasts longer ends all ranks with exit code 76; 0 = never. One process has no
  /// peer to wait for. See WiderDeadline.
  virtual void set_deadline(double seconds) = 0;
  virtual double deadline_s() const = 0;

  /// CUDA buffers may come from now on: over NCCL when every rank has a GPU of its own, else staged through host
  /// memory. Collective; choose_device() calls it, nobody else.
  virtual void use_cuda(bool own_gpus) = 0;

  void broadcast(std::string& text, int root);
  /// True on every rank when it is true on one. Collective.
  bool any(bool here);
  /// Rank 0 does `work`, which returns nothing or a string. All ranks get the string, or the error with its type
  /// (core::error_to_text), core::Stopped as well. Collective.
  template <class Work>
  auto on_root(const Work& work) {
    using Result = std::invoke_result_t<Work>;
    if constexpr (std::is_void_v<Result>) {
      run_on_root([&] { return work(), std::string(); });
    } else {
      static_assert(std::is_same_v<Result, std::string>, "work returns nothing or a string");
      return run_on_root(work);
    }
  }

 private:
  std::string run_on_root(const std::function<std::string()>& work);
};

/// What a job without a setting of its own waits for its peers (design section 6).
inline constexpr double kDeadline_s = 600;

/// While it lives, the ranks may wait for one another for at least `seconds`: one of them verifies a checkpoint,
/// paints, or takes a longer share. Made by all ranks alike. No effect where there is no deadline.
class WiderDeadline {
 public:
  WiderDeadline(Communicator& comm, double seconds);
  ~WiderDeadline() { comm_.set_deadline(before_); }
  WiderDeadline(const WiderDeadline&) = delete;
  WiderDeadline& operator=(const WiderDeadline&) = delete;

 private:
  Communicator& comm_;
  double before_;
};

/// How this process was started: rank and size from the launcher's environment, so that a mismatch with MPI
/// is found. SLURM_NTASKS alone is no evidence: a batch script has it too, and a program it starts without
/// srun is one process.
struct Launch {
  bool has_launcher = false;  ///< srun, mpirun or the like set ranks
  int num_tasks = 1;          ///< what the launcher says
  int rank = 0;               ///< likewise; -1 = it does not say
  int local_rank = -1;        ///< rank within the node; -1 = it does not say
  std::string launcher{};     ///< "srun", "mpirun", "mpiexec"
  bool has_wire_up = true;    ///< false: srun started the tasks without an MPI plugin
};
Launch detect_launch();

/// The communicator of this process: MPI's world when a launcher started it, else a single process.
/// UserError when MPI's size disagrees with the launcher's (a launch without the right MPI plugin).
/// Destroying it finalizes MPI, unless an exception is unwinding: then the caller should have called abort().
std::unique_ptr<Communicator> make_communicator(double deadline_s = kDeadline_s);

/// One process, without MPI (tests, tools).
std::unique_ptr<Communicator> make_local_communicator();

/// Which share of a stage's work items is this process's (design section 7): slot = task * ranks + rank.
struct Share {
  std::int64_t slot = 0;
  std::int64_t slots = 1;
  bool owns(std::int64_t item) const { return item % slots == slot; }
};
/// `task` "i/n" (0-based i) wins over SLURM_ARRAY_TASK_ID / _MIN / _MAX / _COUNT. UserError when malformed.
Share share_of(const Communicator& comm, const std::string& task);

}  // namespace microdit::comm
