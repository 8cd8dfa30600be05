// Memory of a batch: from whoever will copy it to a device, kept over many batches.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <utility>

namespace microdit::stream {

/// Memory for `bytes` bytes, aligned for any type (page-locked where batches go to a GPU).
using Allocate = std::function<std::shared_ptr<std::byte>(std::size_t bytes)>;

/// In huge pages where the kernel gives them: a batch is touched by a few faults instead of thousands.
inline std::shared_ptr<std::byte> allocate_on_host(std::size_t bytes) {
  constexpr std::size_t kHugePage = 2 << 20;
  const std::align_val_t align{bytes >= kHugePage ? kHugePage : 64};
  auto* const memory = static_cast<std::byte*>(::operator new(bytes, align));
  if (bytes >= kHugePage) ::madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return {memory, [align](std::byte* held) { ::operator delete(held, align); }};
}

template <class T>
class HostBuffer {
 public:
  HostBuffer() = default;
  HostBuffer(HostBuffer&& other) noexcept
      : memory_(std::move(other.memory_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }
  /// The contents are undefined afterwards. Memory is asked for only where there is too little.
  void resize(std::size_t count, const Allocate& allocate) {
    if (count > capacity_) {
      memory_.reset();
      memory_ = allocate(count * sizeof(T));
      capacity_ = count;
    }
    size_ = count;
  }
  T* data() { return reinterpret_cast<T*>(memory_.get()); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.get()); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  friend bool operator==(const HostBuffer& a, const HostBuffer& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::shared_ptr<std::byte> memory_;
  std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace microdit::stream
