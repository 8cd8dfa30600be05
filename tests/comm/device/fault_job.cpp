// A job like any other (command line, settings, exit code), but on fake GPUs, and one of its ranks meets with
// a fault: what do the others, and what does the launcher hear? fault_job_test.sh starts it.
#include <signal.h>

#include <chrono>
#include <optional>
#include <thread>

#include "comm/device.h"
#include "comm/device/device_memory.h"
#include "comm/nccl_path.h"
#include "fake_gpus.h"
#include "job.h"

namespace microdit {
namespace {

struct FaultConfig {
  std::string fault = "none";
  std::int64_t rank = 1;
  std::int64_t at_step = 2;
  std::int64_t steps = 4;
  double watchdog_s = 3;

  void fields(core::Fields& f) {
    f.field("fault", fault,
            {.choices = {"none", "nccl", "nccl_later", "cuda", "memory", "dies", "stops", "is_slow"},
             .help = "what befalls the rank"});
    f.field("rank", rank, {.min = 0, .help = "which one"});
    f.field("at_step", at_step, {.min = 0, .help = "when; steps = after the last one"});
    f.field("steps", steps, {.min = 0});
    f.field("watchdog_s", watchdog_s, {.min = 0, .help = "how long a collective may last; 0 = for ever"});
  }
};

void befall(const std::string& fault, int device) {
  if (fault == "nccl") fakes::fail_nccl(ncclSystemError, false);
  if (fault == "nccl_later") fakes::fail_nccl(ncclRemoteError, true);
  if (fault == "cuda") fakes::break_gpu(device, cudaErrorECCUncorrectable);
  if (fault == "dies") raise(SIGKILL);
  if (fault == "stops") raise(SIGSTOP);
  if (fault == "is_slow") std::this_thread::sleep_for(std::chrono::seconds(1));
}

/// A training step's traffic: gradients in pieces, weights back, a word between the hosts.
bool step(comm::Communicator& comm, cudaStream_t stream, std::int64_t number) {
  const std::int64_t piece = 1000;
  const comm::DeviceFloats whole(comm::test_values(comm.rank(), piece * comm.size()), stream);
  const comm::DeviceFloats sum(piece, stream);
  comm.reduce_scatter_sum(whole.all(), sum.all());
  comm.all_gather(sum.all(), whole.all());
  comm::must_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  float expected = comm::test_value(0, 17);
  for (int r = 1; r < comm.size(); ++r) expected += comm::test_value(r, 17);
  const bool wrong = whole.read()[17] != expected;
  core::log_info("step {}", number);
  return !comm.any(wrong);
}

int run(jobs::Job& job) {
  const auto config = core::load<FaultConfig>(core::ConfigTree::of_overrides(job.line.overrides));
  comm::Communicator& comm = job.comm;
  comm.set_deadline(config.watchdog_s);
  fakes::plug_in(comm.size());
  const bool here = comm.rank() == config.rank;
  if (here && config.fault == "memory") fakes::leave_memory(comm.local_rank(), 1 << 20);
  const comm::Device device = comm::choose_device(comm, "cuda");
  std::optional<comm::SideStream> stream(std::in_place);
  for (std::int64_t number = 0; number < config.steps; ++number) {
    if (here && number == config.at_step) befall(config.fault, device.index);
    if (!step(comm, stream->get(), number)) return core::kFailed;
  }
  if (here && config.at_step == config.steps) befall(config.fault, device.index);
  return core::kDone;
}

}  // namespace
}  // namespace microdit

int main(int argc, char** argv) {
  using namespace microdit;
  return jobs::run_job(argc, argv,
                       {.name = "fault_job",
                        .summary = "A job with a fault, for tests.",
                        .takes_config = false,
                        .field_help = core::describe_fields<FaultConfig>()},
                       run);
}
