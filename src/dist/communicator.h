// Collectives between the ranks of one job. One process is not a special case. MPI and NCCL live only behind
// this door.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace microdit::dist {

/// A buffer of fp32 values and where it lies. CUDA buffers are used on `stream` (a cudaStream_t).
struct FloatBuffer {
  float* data = nullptr;
  std::int64_t count = 0;
  bool on_cuda = false;
  void* stream = nullptr;
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

  /// `in` holds size() equal pieces of out.count values; out = sum over ranks, in rank order, of piece
  /// rank().
  virtual void reduce_scatter_sum(FloatBuffer in, FloatBuffer out) = 0;
  /// `out` = the ranks' `in` pieces in rank order; `in` may be the piece rank() of `out`.
  virtual void all_gather(FloatBuffer in, FloatBuffer out) = 0;

  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// Each rank's string, in rank order, on every rank.
  virtual std::vector<std::string> all_gather(const std::string& text) = 0;

  /// Ends all ranks with this exit code.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  void broadcast(std::string& text, int root);
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
/// `watchdog_s` > 0: a collective that takes longer ends the job with exit code 76.
std::unique_ptr<Communicator> make_communicator(double watchdog_s = 0);

/// One process, without MPI (tests, tools).
std::unique_ptr<Communicator> make_local_communicator();

/// Uses NCCL for CUDA buffers where every rank has a GPU of its own; host-staged otherwise. Collective.
/// Call once after the CUDA device is chosen; does nothing in a build without CUDA.
void enable_cuda(Communicator& comm, int num_visible_gpus);

/// Which share of a stage's work items is this process's (design section 7): slot = task * ranks + rank.
struct Share {
  std::int64_t slot = 0;
  std::int64_t slots = 1;
  bool owns(std::int64_t item) const { return item % slots == slot; }
};
/// `task` "i/n" (0-based i) wins over SLURM_ARRAY_TASK_ID / _MIN / _MAX / _COUNT. UserError when malformed.
Share share_of(const Communicator& comm, const std::string& task);

}  // namespace microdit::dist
