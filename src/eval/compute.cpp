// Device, precision and threads.
#include "eval/compute.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "comm/device.h"
#include "core/environment.h"
#include "core/error.h"

namespace microdit::eval {
namespace {

std::string affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return "";
  std::string mask;
  for (int core = 0; core < CPU_SETSIZE; ++core) mask += CPU_ISSET(core, &set) ? '1' : '0';
  return mask;
}

/// Cores that the control group's quota is worth; infinity without one.
double quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double share = 0, period = 0;
  return file >> share >> period && period > 0 ? share / period : INFINITY;
}

}  // namespace

std::int64_t own_threads(comm::Communicator& comm) {
  const std::vector<std::string> all = comm.all_gather(core::host_name() + " " + affinity());
  const auto sharers = std::ranges::count(all, all[static_cast<std::size_t>(comm.rank())]);
  if (const char* said = std::getenv("OMP_NUM_THREADS"); said != nullptr && std::atoll(said) > 0)
    return std::atoll(said);
  return std::max<std::int64_t>(1, usable_cores() / sharers);
}

void ComputeOptions::fields(core::Fields& f) {
  f.field("device", device,
          {.choices = {"auto", "cpu", "cuda"}, .help = "auto: a GPU where every rank has one"});
  f.field("precision", precision,
          {.choices = {"auto", "fp32", "bf16"},
           .help = "auto: bf16 on a GPU if the run was trained so, else fp32"});
  f.field("threads_per_rank", threads_per_rank,
          {.min = 0, .max = 1024, .help = "intra-op threads; 0 = the cores it may use"});
}

std::string Compute::text() const {
  return fmt::format("{}, {}, {} thread{}", device.str(), bf16 ? "bf16" : "fp32", threads,
                     threads == 1 ? "" : "s");
}

std::int64_t usable_cores() {
  const auto cores = std::ranges::count(affinity(), '1');
  const double limit = std::max(1.0, std::ceil(quota()));
  return std::max<std::int64_t>(
      1, limit < static_cast<double>(cores) ? static_cast<std::int64_t>(limit) : cores);
}

Compute choose_compute(const ComputeOptions& options, const std::string& trained_precision,
                       comm::Communicator& comm) {
  Compute chosen;
  chosen.device = torch::Device(comm::choose_device(comm, options.device).name());
  chosen.bf16 = options.precision == "bf16" ||
                (options.precision == "auto" && chosen.device.is_cuda() && trained_precision == "bf16");
  const std::int64_t own = own_threads(comm);  // collective
  chosen.threads = options.threads_per_rank > 0 ? options.threads_per_rank : own;
  at::set_num_threads(static_cast<int>(chosen.threads));
  return chosen;
}

}  // namespace microdit::eval
