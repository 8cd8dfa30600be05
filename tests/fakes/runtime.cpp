// CUDA's calls: what they refuse at once, and what they enqueue.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "cuda_runtime.h"
#include "machine.h"

namespace {

using microdit::fakes::current_device;
using microdit::fakes::Heap;
using microdit::fakes::machine;

cudaError_t use_current() {
  return machine()->use(current_device());
}

/// Enqueues on a stream of this thread's or another GPU.
cudaError_t enqueue(cudaStream_t handle, std::function<cudaError_t()> run, Moment* end = nullptr) {
  if (const cudaError_t error = use_current(); error != cudaSuccess) return error;
  const auto stream = machine()->stream(handle, current_device());
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  const Moment moment = machine()->enqueue(stream, std::move(run));
  if (end != nullptr) *end = moment;
  return cudaSuccess;
}

/// One side of a copy: `rows` of `width` bytes, `pitch` apart.
struct Side {
  unsigned char* data;
  std::size_t pitch;
  std::size_t width, rows;
  std::size_t extent() const { return rows == 0 ? 0 : (rows - 1) * pitch + width; }
  bool lies_on_gpu() const { return machine()->heap_at(data) != nullptr; }
  bool is_whole() const {
    const Heap* heap = machine()->heap_at(data);
    return heap == nullptr || heap->holds(data, extent());
  }
};

cudaError_t copy_now(const Side& to, const Side& from) {
  if (!to.is_whole() || !from.is_whole()) {
    machine()->set_fault("a copy on memory that was freed meanwhile");
    return cudaErrorIllegalAddress;
  }
  const Heap::Open open_to(machine()->heap_at(to.data)), open_from(machine()->heap_at(from.data));
  for (std::size_t row = 0; row < to.rows; ++row)
    std::memcpy(to.data + row * to.pitch, from.data + row * from.pitch, to.width);
  return cudaSuccess;
}

cudaError_t copy(const Side& to, const Side& from, cudaMemcpyKind kind, cudaStream_t stream, Moment* end) {
  if (to.width == 0 || to.rows == 0) return cudaSuccess;
  const bool kinds_fit = to.lies_on_gpu() == (kind != cudaMemcpyDeviceToHost) &&
                         from.lies_on_gpu() == (kind != cudaMemcpyHostToDevice);
  if (!kinds_fit || !to.is_whole() || !from.is_whole() || to.width > to.pitch || from.width > from.pitch) {
    machine()->set_fault(fmt::format(
        "a copy of {} x {} bytes from {} to {}: not the memory that the call says, or past an end", to.rows,
        to.width, static_cast<void*>(from.data), static_cast<void*>(to.data)));
    return cudaErrorInvalidValue;
  }
  return enqueue(
      stream, [to, from] { return copy_now(to, from); }, end);
}

Side line(const void* data, std::size_t bytes) {
  return {static_cast<unsigned char*>(const_cast<void*>(data)), bytes, bytes, 1};
}

cudaError_t free_in(Heap& heap, void* data) {
  std::string damage;
  const bool known = heap.free(data, damage);
  if (!damage.empty()) machine()->set_fault(damage);
  if (!known) return cudaErrorInvalidValue;
  return damage.empty() ? cudaSuccess : cudaErrorIllegalAddress;
}

cudaError_t wait_for_gpu(int device) {
  for (const Moment& moment : machine()->all_of(device)) {
    if (const cudaError_t error = machine()->wait(moment); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t run_kernel(int device, const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  const auto gpus = machine();
  const Heap::Open open(&gpus->device(device).heap);
  const auto outcome = microdit::fakes::run_grid(config.gridDim, config.blockDim, thread, gpus->order);
  if (outcome.error == cudaSuccess) return cudaSuccess;
  std::string what = fmt::format("kernel on GPU {}: {}", device, outcome.what);
  for (int other = 0; other < gpus->num_gpus(); ++other) {
    if (gpus->device(other).heap.is_in_range(outcome.address))
      what += other == device ? " past the end of an allocation, or freed"
                              : fmt::format(", which is GPU {}'s", other);
  }
  gpus->set_fault(what);
  return outcome.error;
}

}  // namespace

cudaError_t microdit::fakes::enqueue_kernel(const cudaLaunchConfig_t& config, std::function<void()> thread) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const auto product = [](dim3 d) { return std::size_t{d.x} * d.y * d.z; };
  if (product(grid) == 0 || product(block) == 0 || product(block) > 1024 || grid.y > 65535 || grid.z > 65535)
    return cudaErrorInvalidConfiguration;
  if (config.dynamicSmemBytes > 0) return cudaErrorNotSupported;
  const int device = current_device();
  // A launch goes to the current GPU; a copy may go anywhere.
  if (const auto stream = use_current() == cudaSuccess ? machine()->stream(config.stream, device) : nullptr;
      stream != nullptr && stream->device != device)
    return cudaErrorInvalidResourceHandle;
  return enqueue(config.stream, [=] { return run_kernel(device, config, thread); });
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  const int before = current_device();
  if (device < 0 || device >= machine()->num_gpus()) return cudaErrorInvalidDevice;
  microdit::fakes::choose_current_device(device);
  const cudaError_t error = use_current();
  if (error == cudaErrorDevicesUnavailable) microdit::fakes::choose_current_device(before);
  return error;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* about, int device) {
  if (device < 0 || device >= machine()->num_gpus()) return cudaErrorInvalidDevice;
  const microdit::fakes::Gpu& gpu = machine()->device(device).gpu;
  *about = {};
  gpu.name.copy(about->name, sizeof(about->name) - 1);
  gpu.uuid.copy(about->uuid.bytes, sizeof(about->uuid.bytes));
  about->totalGlobalMem = gpu.memory_bytes;
  about->major = 9;
  about->pciBusID = gpu.pci_bus;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const cudaError_t error = use_current();
  return error != cudaSuccess ? error : wait_for_gpu(current_device());
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  *data = nullptr;
  if (const cudaError_t error = use_current(); error != cudaSuccess) return error;
  if (bytes == 0) return cudaSuccess;
  *data = machine()->device(current_device()).heap.allocate(bytes);
  return *data != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFree(void* data) {
  if (const cudaError_t error = use_current(); error != cudaSuccess) return error;
  if (data == nullptr) return cudaSuccess;
  for (int device = 0; device < machine()->num_gpus(); ++device) {
    Heap& heap = machine()->device(device).heap;
    if (!heap.is_in_range(data)) continue;
    const cudaError_t error = wait_for_gpu(device);
    return error != cudaSuccess ? error : free_in(heap, data);
  }
  return cudaErrorInvalidValue;
}

cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  *data = nullptr;
  if (const cudaError_t error = use_current(); error != cudaSuccess) return error;
  *data = machine()->pinned().allocate(std::max<std::size_t>(bytes, 1));
  return *data != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void* data) {
  if (data == nullptr) return cudaSuccess;
  if (const cudaError_t error = wait_for_gpu(current_device()); error != cudaSuccess) return error;
  return free_in(machine()->pinned(), data);
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  if (const cudaError_t error = use_current(); error != cudaSuccess) return error;
  const auto& device = machine()->device(current_device());
  *total = device.gpu.memory_bytes;
  *free = device.heap.limit() - std::min(device.heap.used(), device.heap.limit());
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* data, int byte, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  const Side whole = line(data, bytes);
  if (!whole.lies_on_gpu() || !whole.is_whole()) return cudaErrorInvalidValue;
  return enqueue(stream, [=] {
    if (!whole.is_whole()) return cudaErrorIllegalAddress;
    const Heap::Open open(machine()->heap_at(whole.data));
    std::memset(whole.data, byte, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemset(void* data, int byte, std::size_t bytes) {
  return cudaMemsetAsync(data, byte, bytes, nullptr);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return copy(line(to, bytes), line(from, bytes), kind, stream, nullptr);
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  Moment end;
  const cudaError_t error = copy(line(to, bytes), line(from, bytes), kind, nullptr, &end);
  return error != cudaSuccess ? error : machine()->wait(end);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  const Side into{static_cast<unsigned char*>(to), to_pitch, width, height};
  const Side out_of{static_cast<unsigned char*>(const_cast<void*>(from)), from_pitch, width, height};
  return copy(into, out_of, kind, stream, nullptr);
}
