// Where and how a rank computes when it paints or measures.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "core/config.h"

namespace microdit::eval {

/// Threads a rank may have at most.
inline constexpr std::int64_t kMostThreads = 1024;

/// How long the ranks may wait for the slowest one's batch: a large network on few cores.
inline constexpr double kLongestBatch_s = 3600;

struct ComputeOptions {
  std::string device = "auto";        ///< auto | cpu | cuda
  std::string precision = "auto";     ///< auto | fp32 | bf16
  std::int64_t threads_per_rank = 0;  ///< 0 = the cores this rank may use
  void fields(core::Fields& f);
};

struct Compute {
  torch::Device device = torch::kCPU;
  bool bf16 = false;
  std::int64_t threads = 1;
  std::string text() const;  ///< "cuda:0, bf16, 4 threads"
};

/// auto: a GPU where every rank has one; bf16 on a GPU when the run was trained so, else fp32; as many
/// threads as cores that no other rank of the host shares (OMP_NUM_THREADS, where it is set, says how many).
/// Sets the number of threads. Collective.
Compute choose_compute(const ComputeOptions& options, const std::string& trained_precision,
                       comm::Communicator& comm);

/// Threads for this rank, 1 to kMostThreads: OMP_NUM_THREADS (job scripts set it), else its share of the host's cores. Rank 0 warns
/// where the variable says more than that, or than the cores. Collective.
std::int64_t own_threads(comm::Communicator& comm);

/// So many threads for torch's operations and, for networks on the CPU, an allocator that keeps what is freed: else every large tensor
/// is mapped and cleared anew, up to half of the time of a network of convolutions. The process then stays as large as its largest step.
void prepare_process(std::int64_t threads, bool on_cpu);

/// Cores that this process may use: its affinity, limited by the control group's quota.
std::int64_t usable_cores();

}  // namespace microdit::eval
