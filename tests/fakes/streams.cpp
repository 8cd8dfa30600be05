// CUDA's calls about streams and events, and the controls of fake_gpus.h.
#include <fmt/format.h>

#include "machine.h"

namespace microdit::fakes {
namespace {
cudaError_t hidden_because = cudaErrorNoDevice;
}

void plug_in(int count, const std::string& node) {
  std::vector<Gpu> gpus;
  for (int index = 0; index < count; ++index)
    gpus.push_back({.uuid = fmt::format("{}/{}", node, index), .pci_bus = index + 1});
  plug_in(gpus);
}

void hide_gpus(cudaError_t why) {
  plug_in(std::vector<Gpu>());
  hidden_because = why;
}

void set_lateness(double seconds) {
  machine()->lateness_s = seconds;
}

void set_order(Order order) {
  machine()->order = order;
}

void break_gpu(int device, cudaError_t error) {
  machine()->break_gpu(device, error);
}

void leave_memory(int device, std::size_t bytes) {
  Heap& heap = machine()->device(device).heap;
  heap.set_limit(heap.used() + bytes);
}

void block_enqueueing(int calls) {
  machine()->calls_left = calls;
}

std::set<int> used_gpus() {
  return machine()->used();
}

std::size_t used_bytes(int device) {
  return machine()->device(device).heap.used();
}

std::string last_fault() {
  return machine()->fault();
}

}  // namespace microdit::fakes

using microdit::fakes::current_device;
using microdit::fakes::machine;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = machine()->num_gpus();
  return *count > 0 ? cudaSuccess : microdit::fakes::hidden_because;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorDevicesUnavailable:
      return "CUDA-capable device(s) is/are busy or unavailable";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorECCUncorrectable:
      return "uncorrectable ECC error encountered";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    case cudaErrorNotSupported:
      return "operation not supported";
  }
  return "unrecognized error code";
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (const cudaError_t error = machine()->use(current_device()); error != cudaSuccess) return error;
  *stream = machine()->add_stream(current_device(), flags != cudaStreamNonBlocking);
  return cudaSuccess;
}

namespace {

/// All of a stream so far; the default one's calls answer for the GPU's whole default order.
cudaError_t end_of(cudaStream_t handle, Moment& end) {
  if (const cudaError_t error = machine()->use(current_device()); error != cudaSuccess) return error;
  const auto stream = machine()->stream(handle, current_device());
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  end = machine()->enqueue(stream, [] { return cudaSuccess; });
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Moment end;
  cudaError_t error = end_of(stream, end);
  if (error == cudaSuccess) error = machine()->wait(end);
  machine()->remove_stream(stream);
  return error;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Moment end;
  const cudaError_t error = end_of(stream, end);
  return error != cudaSuccess ? error : machine()->wait(end);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  if (const cudaError_t error = machine()->use(current_device()); error != cudaSuccess) return error;
  const auto stream = machine()->stream(handle, current_device());
  if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
  if (event->recorded.stream != nullptr)
    machine()->enqueue(
        stream, [] { return cudaSuccess; }, event->recorded);
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t error = machine()->use(current_device()); error != cudaSuccess) return error;
  *event = new CUevent_st{current_device()};
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return event != nullptr ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  Moment end;
  const auto stream = machine()->stream(handle, current_device());
  if (stream == nullptr || stream->device != event->device) return cudaErrorInvalidResourceHandle;
  const cudaError_t error = end_of(handle, end);
  if (error == cudaSuccess) event->recorded = end;
  return error;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = machine()->use(event->device); error != cudaSuccess) return error;
  return machine()->query(event->recorded);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = machine()->use(event->device); error != cudaSuccess) return error;
  return machine()->wait(event->recorded);
}
