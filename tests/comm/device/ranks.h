// Ranks with fake GPUs: threads of this process, or real ones where mpirun started it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "fake_gpus.h"

namespace microdit::comm {

/// mpirun started this test: the ranks are processes, each with GPUs of its own to see.
bool has_mpi();

/// The GPUs that a rank's process sees. Threads see those of rank 0.
using Node = std::function<std::vector<fakes::Gpu>(int rank)>;
std::vector<fakes::Gpu> node_of(int count, const std::string& name = "node");

/// How many threads there are, and what their watchdogs allow; MPI's world is as it is.
struct Ranks {
  int size = 4;
  double deadline_s = 60;
};
/// Runs `body` on every rank, with fresh GPUs.
void on_ranks(const Node& node, const std::function<void(Communicator&)>& body, const Ranks& ranks = {});

}  // namespace microdit::comm
