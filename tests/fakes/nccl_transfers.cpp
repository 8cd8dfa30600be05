// Fake NCCL's traffic: a group is one piece of work on its stream. A send ends when the peer has taken it.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "nccl_comm.h"

namespace microdit::fakes {
namespace {

constexpr std::size_t kConnectionBytes = std::size_t{1} << 20;

struct Group {
  int depth = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;
  std::vector<Transfer> transfers{};
};
thread_local Group group;

/// What runs on the GPU. Never blocks: it is asked again.
class Traffic {
 public:
  Traffic(const ncclComm& comm, std::vector<Transfer> transfers)
      : mailbox_(comm.mailbox),
        heap_(machine()->device(comm.device).heap),
        is_over_(comm.is_over),
        left_(std::move(transfers)) {}

  cudaError_t run() {
    if (*is_over_) return cudaSuccess;
    if (nccl_faults().hangs || nccl_faults().later != ncclSuccess) return cudaErrorNotReady;
    for (const Transfer& transfer : left_) {
      if (heap_.holds(transfer.data, transfer.bytes)) continue;
      machine()->set_fault(fmt::format("NCCL: {} bytes at {} are not this GPU's", transfer.bytes,
                                       static_cast<void*>(transfer.data)));
      return cudaErrorIllegalAddress;
    }
    if (!posted_) post_all();
    std::erase_if(left_, [&](const Transfer& transfer) { return is_over(transfer); });
    if (mismatch_) return cudaErrorLaunchFailure;
    return left_.empty() ? cudaSuccess : cudaErrorNotReady;
  }

 private:
  void post_all() {
    const Heap::Open open(&heap_);
    for (const Transfer& transfer : left_) {
      if (transfer.is_send) mailbox_.post(transfer.letter, {transfer.data, transfer.bytes});
    }
    posted_ = true;
  }

  bool is_over(const Transfer& transfer) {
    if (transfer.is_send) return !mailbox_.has(transfer.letter);
    std::vector<unsigned char> letter;
    if (!mailbox_.read(transfer.letter, letter)) return false;
    if (letter.size() != transfer.bytes) {
      machine()->set_fault(fmt::format("NCCL: {} bytes sent, {} awaited", letter.size(), transfer.bytes));
      mismatch_ = true;
      return true;
    }
    {
      const Heap::Open open(&heap_);
      std::memcpy(transfer.data, letter.data(), letter.size());
    }
    mailbox_.remove(transfer.letter);
    return true;
  }

  const Mailbox mailbox_;
  Heap& heap_;
  const std::shared_ptr<const std::atomic<bool>> is_over_;
  std::vector<Transfer> left_;
  bool posted_ = false;
  bool mismatch_ = false;
};

/// NCCL's buffers for a way between two ranks are made at its first use.
bool connect(ncclComm& comm, const Transfer& transfer) {
  const std::string key = fmt::format("{}.{}", transfer.way, transfer.peer);
  if (comm.connections.contains(key)) return true;
  void* data = machine()->device(comm.device).heap.allocate(kConnectionBytes);
  if (data == nullptr) return false;
  comm.connections[key] = data;
  return true;
}

ncclResult_t enqueue(ncclComm& comm, cudaStream_t handle, std::vector<Transfer> transfers) {
  if (const ncclResult_t now = nccl_faults().now; now != ncclSuccess) return nccl_fails(now, "a test's wish");
  if (machine()->use(comm.device) != cudaSuccess)
    return nccl_fails(ncclUnhandledCudaError, "Cuda failure: the GPU is broken");
  const auto stream = machine()->stream(handle, current_device());
  if (stream == nullptr || stream->device != comm.device)
    return nccl_fails(ncclUnhandledCudaError, "Cuda failure 400 'invalid resource handle'");
  std::erase_if(transfers, [](const Transfer& transfer) { return transfer.bytes == 0; });
  for (Transfer& transfer : transfers) {
    if (!connect(comm, transfer)) return nccl_fails(ncclUnhandledCudaError, "Cuda failure 2 'out of memory'");
    const int from = transfer.is_send ? comm.rank : transfer.peer;
    const int to = transfer.is_send ? transfer.peer : comm.rank;
    const std::string way = fmt::format("{}.{}.{}", transfer.way, from, to);
    transfer.letter = fmt::format("{}.{}", way, comm.numbers[way + (transfer.is_send ? " out" : " in")]++);
  }
  auto traffic = std::make_shared<Traffic>(comm, std::move(transfers));
  std::erase_if(comm.in_flight, [](const Moment& m) { return machine()->query(m) == cudaSuccess; });
  comm.in_flight.push_back(machine()->enqueue(stream, [traffic] { return traffic->run(); }));
  return ncclSuccess;
}

}  // namespace

ncclResult_t add_transfers(ncclComm_t comm, cudaStream_t stream, const std::vector<Transfer>& transfers) {
  for (const Transfer& transfer : transfers) {
    if (transfer.peer < 0 || transfer.peer >= comm->size) return ncclInvalidArgument;
  }
  if (group.depth == 0) return enqueue(*comm, stream, transfers);
  if (!group.transfers.empty() && (group.comm != comm || group.stream != stream))
    return nccl_fails(ncclInvalidUsage, "this fake takes one communicator and one stream per group");
  group.comm = comm;
  group.stream = stream;
  group.transfers.insert(group.transfers.end(), transfers.begin(), transfers.end());
  return ncclSuccess;
}

}  // namespace microdit::fakes

using namespace microdit::fakes;

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (--group.depth > 0) return ncclSuccess;
  const std::vector<Transfer> transfers = std::move(group.transfers);
  group.transfers.clear();
  return transfers.empty() ? ncclSuccess : enqueue(*group.comm, group.stream, transfers);
}

namespace {
std::size_t bytes_of(std::size_t count, ncclDataType_t type) {
  return count * (type == ncclChar ? 1 : sizeof(float));
}
Transfer transfer(bool is_send, const char* way, int peer, const void* data, std::size_t bytes) {
  return {is_send, way, peer, static_cast<unsigned char*>(const_cast<void*>(data)), bytes};
}
}  // namespace

ncclResult_t ncclSend(const void* data, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add_transfers(comm, stream, {transfer(true, "pair", peer, data, bytes_of(count, type))});
}

ncclResult_t ncclRecv(void* data, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add_transfers(comm, stream, {transfer(false, "pair", peer, data, bytes_of(count, type))});
}

ncclResult_t ncclAllGather(const void* in, void* out, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  std::vector<Transfer> transfers;
  for (int peer = 0; peer < comm->size; ++peer) {
    auto* piece = static_cast<unsigned char*>(out) + static_cast<std::size_t>(peer) * bytes_of(count, type);
    if (peer == comm->rank && piece == in) continue;
    transfers.push_back(transfer(true, "gather", peer, in, bytes_of(count, type)));
    transfers.push_back(transfer(false, "gather", peer, piece, bytes_of(count, type)));
  }
  return add_transfers(comm, stream, transfers);
}
