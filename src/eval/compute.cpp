// Device, precision and threads.
#include "eval/compute.h"

#include <ATen/Parallel.h>
#include <malloc.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "comm/device.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/log.h"

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

/// Threads that OMP_NUM_THREADS asks for (of a list the first number), or 0. No more than a long long holds.
std::int64_t said_threads() {
  return std::max(0LL, std::strtoll(core::variable("OMP_NUM_THREADS").c_str(), nullptr, 10));
}

void warn_of_many(std::int64_t said, std::int64_t taken) {
  if (taken < said)
    core::log_warn("OMP_NUM_THREADS={}: {} threads are taken, the most that a rank may have", said, taken);
  if (const std::int64_t cores = usable_cores(); taken > cores)
    core::log_warn("OMP_NUM_THREADS: {} threads on the {} core{} that this rank may use are slower than {}",
                   taken, cores, cores == 1 ? "" : "s", cores);
}

}  // namespace

std::int64_t own_threads(comm::Communicator& comm) {
  const std::vector<std::string> all = comm.all_gather(core::host_name() + " " + affinity());
  const auto sharers = std::ranges::count(all, all[static_cast<std::size_t>(comm.rank())]);
  const std::int64_t said = said_threads();
  if (said == 0) return std::clamp<std::int64_t>(usable_cores() / sharers, 1, kMostThreads);
  const std::int64_t taken = std::min(said, kMostThreads);
  if (comm.rank() == 0) warn_of_many(said, taken);
  return taken;
}

void ComputeOptions::fields(core::Fields& f) {
  f.field("device", device,
          {.choices = {"auto", "cpu", "cuda"}, .help = "auto: a GPU where every rank has one"});
  f.field("precision", precision,
          {.choices = {"auto", "fp32", "bf16"},
           .help = "auto: bf16 on a GPU if the run was trained so, else fp32"});
  f.field("threads_per_rank", threads_per_rank,
          {.min = 0, .max = kMostThreads, .help = "intra-op threads; 0 = the cores it may use"});
}

std::string Compute::text() const {
  return fmt::format("{}, {}, {} thread{}", device.str(), bf16 ? "bf16" : "fp32", threads,
                     threads == 1 ? "" : "s");
}

void prepare_process(std::int64_t threads, bool on_cpu) {
  at::set_num_threads(static_cast<int>(threads));
  if (!on_cpu) return;
  constexpr int kMost = std::numeric_limits<int>::max(), kGrowBy = 64 << 20;
  mallopt(M_MMAP_MAX, 0);  // never map a single block
  mallopt(M_TRIM_THRESHOLD, kMost);
  mallopt(M_TOP_PAD, kGrowBy);
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
  chosen.threads = options.threads_per_rank > 0 ? options.threads_per_rank : own_threads(comm);
  prepare_process(chosen.threads, chosen.device.is_cpu());
  return chosen;
}

}  // namespace microdit::eval
