// NCCL has all that it needs before the model takes the rest of the GPU's memory; where it does not fit, the
// job fails with advice and is not taken for a fault.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/device/device_memory.h"
#include "comm/device/ranks.h"
#include "comm/nccl_path.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

constexpr std::int64_t kScratch = 1 << 20;

std::unique_ptr<DevicePath> make_path(Communicator& comm, Watchdog& watchdog) {
  EXPECT_EQ(cudaSetDevice(comm.local_rank()), cudaSuccess);
  return make_nccl_path(comm, watchdog, kScratch);
}

TEST(GpuMemory, NothingMoreIsNeededOnceTheWayIsMade) {
  on_ranks([](int) { return node_of(4); },
           [](Communicator& comm) {
             Watchdog watchdog(60, comm.rank(), [](int code) { std::_Exit(code); });
             const std::unique_ptr<DevicePath> path = make_path(comm, watchdog);
             const SideStream stream;
             const std::int64_t piece = kScratch;  // several rounds
             const DeviceFloats whole(test_values(comm.rank(), piece * comm.size()), stream.get()),
                 out(piece, stream.get());
             fakes::leave_memory(comm.local_rank(), 0);
             path->reduce_scatter_sum(whole.all(), out.all());
             path->all_gather(out.all(), whole.all());
             EXPECT_EQ(out.read()[17], whole.read()[static_cast<std::size_t>(comm.rank() * piece + 17)]);
           });
}

std::string failure(Communicator& comm, std::size_t left_bytes) {
  fakes::leave_memory(comm.local_rank(), left_bytes);
  comm.barrier();
  // Quick, so that a probe of what was never made whole would be seen.
  Watchdog watchdog(0.1, comm.rank(), [](int code) { std::_Exit(code); });
  try {
    make_path(comm, watchdog);
  } catch (const std::exception& error) {
    const core::Verdict verdict = core::judge(error);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return fmt::format("exit {}: {}", verdict.exit_code, verdict.message);
  }
  return "no exception";
}

TEST(GpuMemory, TooLittleForTheScratchIsNoFault) {
  on_ranks([](int) { return node_of(4); },
           [](Communicator& comm) {
             EXPECT_THAT(failure(comm, 3 << 20),
                         testing::AllOf(testing::StartsWith("exit 1"), testing::HasSubstr("4 MiB"),
                                        testing::HasSubstr("3 MiB are free"),
                                        testing::HasSubstr("lower microbatch_size")));
           });
}

TEST(GpuMemory, TooLittleForNcclItselfIsNoFault) {
  on_ranks([](int) { return node_of(4); },
           [](Communicator& comm) {
             EXPECT_THAT(failure(comm, 5 << 20),
                         testing::AllOf(testing::StartsWith("exit 1"), testing::HasSubstr("out of memory"),
                                        testing::HasSubstr("lower microbatch_size")));
           });
}

}  // namespace
}  // namespace microdit::comm
