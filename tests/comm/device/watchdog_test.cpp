// Every way in which work on the GPU fails to come to its end is found, and ends the job with exit code 76.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "comm/device/device_memory.h"
#include "comm/device/ranks.h"
#include "comm/nccl_path.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

constexpr double kDeadline_s = 0.3;

/// Two ranks, NCCL between them; `trouble` comes once that stands.
void run(const std::function<void()>& trouble, const std::function<void(Communicator&, DevicePath&)>& then) {
  on_ranks([](int) { return node_of(2); },
           [&](Communicator& comm) {
             Watchdog watchdog(kDeadline_s, comm.rank(), [](int code) { std::_Exit(code); });
             cudaSetDevice(comm.local_rank());
             std::unique_ptr<DevicePath> path = make_nccl_path(comm, watchdog, 1 << 10);
             comm.barrier();
             if (comm.rank() == 0) trouble();
             comm.barrier();
             then(comm, *path);
           },
           {.size = 2, .deadline_s = 0});
}

void sum_and_wait(Communicator& comm, DevicePath& path) {
  const SideStream stream;
  const DeviceFloats in(test_values(comm.rank(), 64), stream.get()), out(32, stream.get());
  path.reduce_scatter_sum(in.all(), out.all());
  out.read();
}

void sleep(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

class GpuWatchdogDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (has_mpi()) GTEST_SKIP() << "ends its process";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
};

TEST_F(GpuWatchdogDeathTest, ACollectiveThatNeverEnds) {
  EXPECT_EXIT(run([] { fakes::hang_collectives(); }, sum_and_wait),
              testing::ExitedWithCode(core::kHardwareFault),
              "reduce_scatter_sum on the GPU has lasted longer than");
}

TEST_F(GpuWatchdogDeathTest, APeerThatDoesNotCome) {
  const auto one_comes = [](Communicator& comm, DevicePath& path) {
    if (comm.rank() == 0) sum_and_wait(comm, path);
    sleep(20);
  };
  EXPECT_EXIT(run([] {}, one_comes), testing::ExitedWithCode(core::kHardwareFault),
              "rank 0: reduce_scatter_sum");
}

// The queue of a GPU is full at any of the calls that a sum makes.
TEST_F(GpuWatchdogDeathTest, EnqueueingThatBlocks) {
  for (const int calls : {0, 1, 2, 3, 4, 5, 6, 7}) {
    const auto sums = [](Communicator& comm, DevicePath& path) {
      if (comm.rank() != 0) return sleep(20);
      static float* data = nullptr;
      if (cudaMalloc(reinterpret_cast<void**>(&data), 4096) != cudaSuccess) std::_Exit(1);
      const Buffer in{data, 64, true, nullptr}, out{data + 64, 32, true, nullptr};
      for (int i = 0; i < 10; ++i) path.reduce_scatter_sum(in, out);
      sleep(20);
    };
    EXPECT_EXIT(run([&] { fakes::block_enqueueing(calls); }, sums),
                testing::ExitedWithCode(core::kHardwareFault), "rank 0: reduce_scatter_sum \\(enqueue\\)")
        << "after " << calls << " calls";
  }
}

TEST_F(GpuWatchdogDeathTest, NcclsOwnReport) {
  EXPECT_EXIT(run([] { fakes::fail_nccl(ncclRemoteError, true); }, sum_and_wait),
              testing::ExitedWithCode(core::kHardwareFault), "NCCL: remote process exited");
}

TEST_F(GpuWatchdogDeathTest, AGpuThatBreaks) {
  const auto breaks_behind_their_back = [](Communicator& comm, DevicePath& path) {
    if (comm.rank() != 0) return sleep(20);
    const SideStream stream;
    const DeviceFloats in(test_values(0, 64), stream.get()), out(32, stream.get());
    path.reduce_scatter_sum(in.all(), out.all());
    fakes::break_gpu(0, cudaErrorECCUncorrectable);
    sleep(20);
  };
  EXPECT_EXIT(run([] { fakes::set_lateness(0.1); }, breaks_behind_their_back),
              testing::ExitedWithCode(core::kHardwareFault),
              "rank 0: reduce_scatter_sum on the GPU: uncorrectable ECC error");
}

TEST_F(GpuWatchdogDeathTest, APeerThatIsGoneAtTheEnd) {
  const auto one_leaves = [](Communicator& comm, DevicePath& path) {
    sum_and_wait(comm, path);
    if (comm.rank() == 1) sleep(20);
  };
  EXPECT_EXIT(run([] {}, one_leaves), testing::ExitedWithCode(core::kHardwareFault), "rank 0: NCCL's end");
}

// The control: slower than the deadline as a whole, no single collective is.
TEST(GpuWatchdog, LeavesSlowRanksAlone) {
  if (has_mpi()) GTEST_SKIP() << "for threads";
  run([] {},
      [](Communicator& comm, DevicePath& path) {
        for (int i = 0; i < 4; ++i) {
          sum_and_wait(comm, path);
          sleep(comm.rank() == 0 ? 0.15 : 0.05);
        }
      });
}

}  // namespace
}  // namespace microdit::comm
