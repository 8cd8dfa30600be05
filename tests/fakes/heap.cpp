// Addresses are never given out twice, so that what was freed stays untouchable.
#include "heap.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace microdit::fakes {
namespace {

constexpr std::size_t kRangeBytes = std::size_t{1} << 38;  // addresses, not memory
constexpr std::size_t kPage = 4096;
constexpr std::size_t kAlignment = 16;
constexpr std::size_t kNanBytes = std::size_t{8} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

void* must_map(void* at, std::size_t bytes, int access, int flags, int file) {
  void* mapped = mmap(at, bytes, access, flags, file, 0);
  if (mapped == MAP_FAILED) throw std::runtime_error("mmap of a fake GPU's memory failed");
  return mapped;
}

/// A file full of NaN: fresh memory is a private copy of it and costs nothing until it is written.
int nan_file() {
  static const int file = [] {
    const int made = memfd_create("nan", 0);
    const std::vector<unsigned char> nan(kNanBytes, 0xFF);
    if (made < 0 || write(made, nan.data(), nan.size()) != static_cast<ssize_t>(nan.size()))
      throw std::runtime_error("no file for a fake GPU's fresh memory");
    return made;
  }();
  return file;
}

}  // namespace

Heap::Heap(std::size_t limit_bytes, bool open_to_all) : open_to_all_(open_to_all), limit_bytes_(limit_bytes) {
  range_ = static_cast<unsigned char*>(
      must_map(nullptr, kRangeBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1));
  next_ = range_ + kPage;
}

Heap::~Heap() {
  munmap(range_, kRangeBytes);
}

void* Heap::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (used_bytes_ + bytes > limit_bytes_) return nullptr;
  const Allocation allocation{bytes, next_, round_up(bytes, kPage)};
  if (allocation.pages + allocation.pages_bytes + kPage > range_ + kRangeBytes) return nullptr;
  next_ += allocation.pages_bytes + kPage;
  const int access = open_to_all_ || num_open_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
  for (std::size_t at = 0; at < allocation.pages_bytes; at += kNanBytes) {
    must_map(allocation.pages + at, std::min(kNanBytes, allocation.pages_bytes - at), access,
             MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, nan_file());
  }
  used_bytes_ += bytes;
  unsigned char* data = allocation.pages + allocation.pages_bytes - round_up(bytes, kAlignment);
  allocations_[data] = allocation;
  return data;
}

bool Heap::free(void* data, std::string& damage) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(static_cast<unsigned char*>(data));
  if (found == allocations_.end()) return false;
  const Allocation& allocation = found->second;
  mprotect(allocation.pages, allocation.pages_bytes, PROT_READ);
  damage = damage_of(found->first, allocation);
  must_map(allocation.pages, allocation.pages_bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1);
  used_bytes_ -= allocation.bytes;
  allocations_.erase(found);
  return true;
}

std::string Heap::damage_of(const unsigned char* data, const Allocation& allocation) const {
  const auto untouched = [](unsigned char byte) { return byte == 0xFF; };
  if (!std::all_of(static_cast<const unsigned char*>(allocation.pages), data, untouched))
    return fmt::format("something was written before the begin of {} bytes at {}", allocation.bytes,
                       static_cast<const void*>(data));
  const unsigned char* end = allocation.pages + allocation.pages_bytes;
  if (!std::all_of(data + allocation.bytes, end, untouched))
    return fmt::format("something was written past the end of {} bytes at {}", allocation.bytes,
                       static_cast<const void*>(data));
  return {};
}

bool Heap::is_in_range(const void* data) const {
  return data >= range_ && data < range_ + kRangeBytes;
}

bool Heap::holds(const void* data, std::size_t bytes) const {
  const std::lock_guard lock(mutex_);
  const auto* begin = static_cast<const unsigned char*>(data);
  auto next = allocations_.upper_bound(begin);
  if (next == allocations_.begin()) return false;
  --next;
  return begin + bytes <= next->first + next->second.bytes;
}

void Heap::set_limit(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_bytes_ = bytes;
}

std::size_t Heap::limit() const {
  const std::lock_guard lock(mutex_);
  return limit_bytes_;
}

std::size_t Heap::used() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

// Under the lock.
void Heap::protect(int access) {
  for (const auto& [data, allocation] : allocations_)
    mprotect(allocation.pages, allocation.pages_bytes, access);
}

Heap::Open::Open(Heap* heap) : heap_(heap) {
  if (heap_ == nullptr || heap_->open_to_all_) return;
  const std::lock_guard lock(heap_->mutex_);
  if (heap_->num_open_++ == 0) heap_->protect(PROT_READ | PROT_WRITE);
}

Heap::Open::~Open() {
  if (heap_ == nullptr || heap_->open_to_all_) return;
  const std::lock_guard lock(heap_->mutex_);
  if (--heap_->num_open_ == 0) heap_->protect(PROT_NONE);
}

}  // namespace microdit::fakes
