// Which GPU a rank takes, and which way the ranks' buffers go. Some cases need ranks that see different GPUs:
// those run under mpirun alone (device_test.sh).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "comm/device.h"
#include "comm/device/device_memory.h"
#include "comm/device/ranks.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

// NCCL's way reserves its scratch on the GPU, the staged way nothing.
bool takes_nccl(const Device& device) {
  return fakes::used_bytes(device.index) >= std::size_t{200} << 20;
}

TEST(ChooseDevice, TakesTheLocalRanksGpuAndNcclBeforeAnythingElse) {
  on_ranks([](int) { return node_of(4); },
           [](Communicator& comm) {
             const Device device = choose_device(comm, "cuda");
             comm.barrier();
             EXPECT_EQ(device.name(), "cuda:" + std::to_string(comm.local_rank()));
             const std::set<int> everyones = {0, 1, 2, 3};
             EXPECT_EQ(fakes::used_gpus(), has_mpi() ? std::set{comm.local_rank()} : everyones);
             EXPECT_TRUE(takes_nccl(device));
             int current = -1;
             cudaGetDevice(&current);
             EXPECT_EQ(current, device.index);
             comm.barrier();
           });
}

TEST(ChooseDevice, RanksThatShareAGpuStageAndAreTold) {
  if (!has_mpi()) testing::internal::CaptureStderr();
  on_ranks([](int) { return node_of(2); },
           [](Communicator& comm) {
             const Device device = choose_device(comm, "cuda");
             EXPECT_EQ(device.index, comm.local_rank() % 2);
             EXPECT_FALSE(takes_nccl(device));
           });
  if (has_mpi()) return;
  EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("share 2 cards"));
}

TEST(ChooseDevice, OneVisibleGpuPerTaskIsAGpuOfItsOwn) {
  if (!has_mpi()) GTEST_SKIP() << "needs mpirun";
  on_ranks([](int rank) { return std::vector{node_of(4)[static_cast<std::size_t>(rank)]}; },
           [](Communicator& comm) {
             const Device device = choose_device(comm, "cuda");
             EXPECT_EQ(device.index, 0);
             EXPECT_TRUE(takes_nccl(device));
           });
}

// All ranks here have the same hostname anyway.
TEST(ChooseDevice, TwoNodesOfOneNameAreTwoNodes) {
  if (!has_mpi()) GTEST_SKIP() << "needs mpirun";
  on_ranks([](int rank) { return node_of(2, rank < 2 ? "a" : "b"); },
           [](Communicator& comm) { EXPECT_TRUE(takes_nccl(choose_device(comm, "cuda"))); });
}

TEST(ChooseDevice, SlicesOfOneCardStageBecauseNcclRefusesThem) {
  if (!has_mpi()) GTEST_SKIP() << "needs mpirun";
  on_ranks(
      [](int rank) {
        return std::vector{fakes::Gpu{.uuid = "node/slice " + std::to_string(rank),
                                      .name = "Fake GPU MIG 1g.10gb",
                                      .pci_bus = 1 + rank / 2}};
      },
      [](Communicator& comm) { EXPECT_FALSE(takes_nccl(choose_device(comm, "cuda"))); });
}

std::string refusal(Communicator& comm) {
  try {
    choose_device(comm, "cuda");
  } catch (const core::UserError& error) {
    return error.what();
  }
  return "no UserError";
}

TEST(ChooseDevice, ARankWithoutGpuIsNamedOnAllRanks) {
  if (!has_mpi()) GTEST_SKIP() << "needs mpirun";
  on_ranks([](int rank) { return rank == 2 ? std::vector<fakes::Gpu>() : node_of(4); },
           [](Communicator& comm) {
             EXPECT_THAT(refusal(comm), testing::AllOf(testing::HasSubstr("rank 2 has no usable GPU"),
                                                       testing::HasSubstr("--gpus-per-node")));
             EXPECT_TRUE(fakes::used_gpus().empty());
           });
}

TEST(ChooseDevice, SaysWhyThereIsNone) {
  if (has_mpi()) GTEST_SKIP() << "for threads";
  const auto reason = [](cudaError_t error) {
    std::string text;
    on_ranks([](int) { return std::vector<fakes::Gpu>(); },
             [&](Communicator& comm) {
               fakes::hide_gpus(error);
               text = refusal(comm);
             },
             {.size = 1});
    return text;
  };
  EXPECT_THAT(reason(cudaErrorInsufficientDriver), testing::HasSubstr("driver here is older"));
  EXPECT_THAT(reason(cudaErrorNoDevice), testing::HasSubstr("no CUDA-capable device is detected"));
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_THAT(reason(cudaErrorNoDevice), testing::HasSubstr("CUDA_VISIBLE_DEVICES=\"\" leaves no GPU"));
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST(ChooseDevice, AutoIsTheGpuWhereEveryRankHasOne) {
  on_ranks([](int) { return node_of(4); },
           [](Communicator& comm) { EXPECT_TRUE(choose_device(comm, "auto").cuda); });
  on_ranks([](int rank) { return rank == 0 ? std::vector<fakes::Gpu>() : node_of(4); },
           [](Communicator& comm) {
             EXPECT_EQ(choose_device(comm, "auto").name(), "cpu");
             EXPECT_TRUE(fakes::used_gpus().empty());
           });
}

TEST(ChooseDevice, OneProcessTakesTheFirstGpuAndItsSumsAreCopies) {
  if (has_mpi()) GTEST_SKIP() << "for one process";
  fakes::plug_in(2);
  const auto comm = make_local_communicator();
  EXPECT_EQ(choose_device(*comm, "cuda").name(), "cuda:0");
  EXPECT_EQ(fakes::used_gpus(), std::set{0});
  const SideStream stream;
  fakes::set_lateness(0.02);
  const std::vector<float> values = test_values(0, 100);
  const DeviceFloats in(values, stream.get()), sum(100, stream.get()), gathered(100, stream.get());
  comm->reduce_scatter_sum(in.all(), sum.all());
  comm->all_gather(sum.all(), gathered.all());
  EXPECT_EQ(gathered.read(), values);
}

TEST(ChooseDevice, TheCpuTouchesNoGpu) {
  on_ranks([](int) { return node_of(4); },
           [](Communicator& comm) {
             EXPECT_EQ(choose_device(comm, "cpu").name(), "cpu");
             EXPECT_TRUE(fakes::used_gpus().empty());
           });
}

}  // namespace
}  // namespace microdit::comm
