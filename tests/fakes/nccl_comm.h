// A communicator of fake NCCL and the transfers that wait for the end of a group.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>

#include "machine.h"
#include "mailbox.h"

struct ncclComm {
  ncclComm(microdit::fakes::Mailbox mailbox, int size, int rank, int device)
      : mailbox(std::move(mailbox)), size(size), rank(rank), device(device) {}
  const microdit::fakes::Mailbox mailbox;
  const int size, rank, device;
  std::map<std::string, int> numbers{};        ///< letters so far, by way
  std::map<std::string, void*> connections{};  ///< memory on the GPU, made at the first use of a way
  std::vector<Moment> in_flight{};
  /// Work on the GPU that outlives the communicator ends.
  const std::shared_ptr<std::atomic<bool>> is_over = std::make_shared<std::atomic<bool>>(false);
};

namespace microdit::fakes {

/// Bytes to or from a peer. `way` tells one kind of traffic from another.
struct Transfer {
  bool is_send = false;
  std::string way;
  int peer = 0;
  unsigned char* data = nullptr;
  std::size_t bytes = 0;
  std::string letter{};  ///< its name, once it is enqueued
};

/// Part of the group that this thread has open, or a group of its own.
ncclResult_t add_transfers(ncclComm_t comm, cudaStream_t stream, const std::vector<Transfer>& transfers);

/// What the test wants to fail.
struct NcclFaults {
  std::atomic<bool> hangs = false;
  std::atomic<ncclResult_t> now = ncclSuccess;
  std::atomic<ncclResult_t> later = ncclSuccess;
};
NcclFaults& nccl_faults();
ncclResult_t nccl_fails(ncclResult_t result, const std::string& why);

}  // namespace microdit::fakes
