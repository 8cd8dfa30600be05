// What doctor's parts share: findings about the machine, the check of stored data, and what it holds.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"

namespace microdit::jobs {

enum class Verdict { good, note, bad };

struct Finding {
  Verdict verdict = Verdict::good;
  std::string subject;
  std::string found;
  std::string remedy{};  ///< what to do; for notes and bad ones
};
using Findings = std::vector<Finding>;
/// Nothing is bad.
bool is_fit(const Findings& findings);

/// Processor, threads, memory, limits, locale.
void examine_processor(Findings& findings);
/// Free space, speed of fsync, and a real HDF5 shard, in the current folder.
void examine_disk(Findings& findings);
/// Compiler, LibTorch with its BLAS, HDF5's and MPI's versions.
void examine_libraries(Findings& findings);
/// GPUs of the driver and of this build, NCCL.
void examine_gpu(Findings& findings);
/// How this process was started, and what Slurm is set to.
void examine_launch(Findings& findings, const comm::Communicator& comm);

/// Several ranks: one line per node, of the node's first rank, then what to do, once; gives the exit code.
/// Collective.
int print_nodes(const Findings& findings, comm::Communicator& comm);

/// Standard output of a shell command, at most 10 s; empty when it fails.
std::string output_of(const std::string& command);

/// Checks all checksums at and below `where`; the ranks share the work. Prints each damage; gives the exit
/// code. UserError when there is nothing that carries checksums.
int verify_tree(const std::string& where, comm::Communicator& comm);

/// Says what lies in the folders of samples and latents at and below `where`, and writes data.html into each. Rank 0 does it
/// alone; gives the exit code, of which damage makes a failure. UserError when there are none.
int show_data(const std::string& where, comm::Communicator& comm);

/// Prints the runs in `where` side by side, and writes table.csv, pictures and index.html there. Rank 0 does it alone.
int show_runs(const std::string& where, comm::Communicator& comm);

}  // namespace microdit::jobs
