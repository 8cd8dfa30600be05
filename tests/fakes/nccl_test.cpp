// Fake NCCL refuses what NCCL refuses, and waits where NCCL waits.
#include "nccl.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <functional>
#include <thread>

#include "fake_gpus.h"

namespace microdit::fakes {
namespace {

/// An id whose folder goes with it, whatever became of the communicators.
struct Invitation {
  Invitation() { EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess); }
  ~Invitation() { std::filesystem::remove_all(id.internal); }
  Invitation(const Invitation&) = delete;
  Invitation& operator=(const Invitation&) = delete;
  ncclUniqueId id{};
};

/// Two ranks, a thread and a GPU each.
void on_two(const std::function<void(int rank, ncclComm_t comm, float* data)>& body) {
  plug_in(2);
  const Invitation invitation;
  std::array<std::jthread, 2> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads[static_cast<std::size_t>(rank)] = std::jthread([&, rank] {
      ncclComm_t comm = nullptr;
      void* data = nullptr;
      ASSERT_EQ(cudaSetDevice(rank), cudaSuccess);
      ASSERT_EQ(cudaMalloc(&data, 1024), cudaSuccess);
      ASSERT_EQ(cudaMemset(data, 0x40 + rank, 1024), cudaSuccess);
      ASSERT_EQ(ncclCommInitRank(&comm, 2, invitation.id, rank), ncclSuccess);
      body(rank, comm, static_cast<float*>(data));
    });
  }
}

float value_at(const float* data) {
  float value = 0;
  EXPECT_EQ(cudaMemcpy(&value, data, sizeof(value), cudaMemcpyDeviceToHost), cudaSuccess);
  return value;
}

TEST(FakeNccl, SendsReceivesAndGathers) {
  on_two([](int rank, ncclComm_t comm, float* data) {
    const float own = value_at(data);
    EXPECT_EQ(ncclGroupStart(), ncclSuccess);
    EXPECT_EQ(ncclSend(data, 10, ncclFloat, 1 - rank, comm, nullptr), ncclSuccess);
    EXPECT_EQ(ncclRecv(data + 100, 10, ncclFloat, 1 - rank, comm, nullptr), ncclSuccess);
    EXPECT_EQ(ncclGroupEnd(), ncclSuccess);
    const float other = value_at(data + 109);
    EXPECT_NE(other, own);
    EXPECT_EQ(value_at(data + 110), own);
    EXPECT_EQ(ncclAllGather(data, data + 200, 5, ncclFloat, comm, nullptr), ncclSuccess);
    EXPECT_EQ(value_at(data + 204), rank == 0 ? own : other);
    EXPECT_EQ(value_at(data + 205), rank == 0 ? other : own);
    EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
  });
}

TEST(FakeNccl, ASendOutsideAGroupWaitsForItsPeer) {
  on_two([](int rank, ncclComm_t comm, float* data) {
    EXPECT_EQ(ncclSend(data, 10, ncclFloat, 1 - rank, comm, nullptr), ncclSuccess);
    EXPECT_EQ(ncclRecv(data + 100, 10, ncclFloat, 1 - rank, comm, nullptr), ncclSuccess);
    cudaEvent_t done = nullptr;
    EXPECT_EQ(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(done, nullptr), cudaSuccess);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_EQ(cudaEventQuery(done), cudaErrorNotReady);
    EXPECT_EQ(cudaEventDestroy(done), cudaSuccess);
    EXPECT_EQ(ncclCommAbort(comm), ncclSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  });
}

TEST(FakeNccl, HostMemoryBreaksTheGpu) {
  on_two([](int rank, ncclComm_t comm, float* data) {
    std::array<float, 16> host{};
    EXPECT_EQ(ncclAllGather(rank == 0 ? host.data() : data, data + 100, 16, ncclFloat, comm, nullptr),
              ncclSuccess);
    if (rank == 0) {
      EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    }
    EXPECT_EQ(ncclCommAbort(comm), ncclSuccess);
  });
}

TEST(FakeNccl, AStreamOfAnotherGpuIsRefused) {
  on_two([](int rank, ncclComm_t comm, float* data) {
    EXPECT_EQ(cudaSetDevice(1 - rank), cudaSuccess);
    EXPECT_EQ(ncclAllGather(data, data + 100, 16, ncclFloat, comm, nullptr), ncclUnhandledCudaError);
    EXPECT_EQ(ncclCommAbort(comm), ncclSuccess);
  });
}

TEST(FakeNccl, TwoRanksOnOneCardAreRefused) {
  plug_in({{.uuid = "node/slice 0", .pci_bus = 1}, {.uuid = "node/slice 1", .pci_bus = 1}});
  const Invitation invitation;
  std::array<ncclResult_t, 2> results{};
  {
    std::array<std::jthread, 2> threads;
    for (std::size_t rank = 0; rank < 2; ++rank) {
      threads[rank] = std::jthread([&, rank] {
        ncclComm_t comm = nullptr;
        cudaSetDevice(static_cast<int>(rank));
        results[rank] = ncclCommInitRank(&comm, 2, invitation.id, static_cast<int>(rank));
      });
    }
  }
  EXPECT_EQ(results[0], ncclInvalidUsage);
  EXPECT_EQ(results[1], ncclInvalidUsage);
}

}  // namespace
}  // namespace microdit::fakes
