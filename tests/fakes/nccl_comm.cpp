// Fake NCCL's life of a communicator, its errors, and what tests make fail.
#include "nccl_comm.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <thread>

namespace microdit::fakes {
namespace {

std::mutex text_mutex;
std::string last_text;

void take_a_break() {
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

std::string joined(int rank) {
  return fmt::format("joined.{}", rank);
}

std::vector<unsigned char> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

/// Waits until every rank is there. NCCL refuses two ranks on one card.
ncclResult_t join(const Mailbox& mailbox, int size, int rank, const std::string& card) {
  mailbox.post(joined(rank), bytes_of(card));
  for (int peer = 0; peer < size; ++peer) {
    std::vector<unsigned char> other;
    while (!mailbox.read(joined(peer), other)) take_a_break();
    if (peer != rank && std::string(other.begin(), other.end()) == card)
      return nccl_fails(
          ncclInvalidUsage,
          fmt::format("Duplicate GPU detected : rank {} and rank {} both on {}", rank, peer, card));
  }
  return ncclSuccess;
}

}  // namespace

NcclFaults& nccl_faults() {
  static NcclFaults faults;
  return faults;
}

ncclResult_t nccl_fails(ncclResult_t result, const std::string& why) {
  const std::lock_guard lock(text_mutex);
  last_text = why;
  return result;
}

void hang_collectives() {
  nccl_faults().hangs = true;
}

void fail_nccl(ncclResult_t error, bool later) {
  (later ? nccl_faults().later : nccl_faults().now) = error;
}

}  // namespace microdit::fakes

using namespace microdit::fakes;

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError:
      return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError:
      return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument:
      return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage:
      return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
  }
  return "unknown result code";
}

const char* ncclGetLastError(ncclComm_t) {
  const std::lock_guard lock(text_mutex);
  thread_local std::string text;
  text = last_text;
  return text.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = {};
  Mailbox::make_folder().copy(id->internal, sizeof(id->internal) - 1);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int num_ranks, ncclUniqueId id, int rank) {
  const int device = current_device();
  if (machine()->use(device) != cudaSuccess) return nccl_fails(ncclUnhandledCudaError, "Cuda failure");
  const Gpu& gpu = machine()->device(device).gpu;
  const Mailbox mailbox(id.internal);
  // A node is what stands before the slash of a UUID; its cards are told apart by their place on the bus.
  const std::string card = fmt::format("{} bus {}", gpu.uuid.substr(0, gpu.uuid.find('/')), gpu.pci_bus);
  if (const ncclResult_t result = join(mailbox, num_ranks, rank, card); result != ncclSuccess) return result;
  *comm = new ncclComm(mailbox, num_ranks, rank, device);
  return ncclSuccess;
}

// Waits for its own work and for the peers, as NCCL may.
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  for (const Moment& moment : comm->in_flight) {
    if (machine()->wait(moment) != cudaSuccess) return ncclUnhandledCudaError;
  }
  comm->mailbox.post(fmt::format("left.{}", comm->rank), {});
  for (int peer = 0; peer < comm->size; ++peer) {
    while (!comm->mailbox.is_gone() && !comm->mailbox.has(fmt::format("left.{}", peer))) take_a_break();
  }
  if (comm->rank == 0) comm->mailbox.remove_all();
  return ncclCommAbort(comm);
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  *comm->is_over = true;
  for (const auto& [way, data] : comm->connections) {
    std::string damage;
    machine()->device(comm->device).heap.free(data, damage);
  }
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* error) {
  *error = nccl_faults().later;
  return ncclSuccess;
}
