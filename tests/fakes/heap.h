// The memory of one fake GPU (or pinned host memory): a range of addresses that nothing may touch but what runs on that GPU.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

namespace microdit::fakes {

class Heap {
 public:
  /// `open_to_all`: pinned host memory, which the host reads and writes as it likes.
  explicit Heap(std::size_t limit_bytes, bool open_to_all = false);
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  /// Fresh memory is full of NaN (all bits set). Ends at a page nobody may touch, so that the first value
  /// past the end is found; 16-byte aligned. Null: out of memory.
  void* allocate(std::size_t bytes);
  /// False: no such allocation. `damage` says what was written beside it.
  bool free(void* data, std::string& damage);

  bool is_in_range(const void* data) const;
  /// True when all `bytes` lie in one living allocation.
  bool holds(const void* data, std::size_t bytes) const;

  void set_limit(std::size_t bytes);
  std::size_t limit() const;
  std::size_t used() const;

  /// While it lives, this heap may be read and written.
  class Open {
   public:
    explicit Open(Heap* heap);
    ~Open();
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    Heap* heap_;
  };

 private:
  struct Allocation {
    std::size_t bytes = 0;
    unsigned char* pages = nullptr;
    std::size_t pages_bytes = 0;
  };
  void protect(int access);
  std::string damage_of(const unsigned char* data, const Allocation& allocation) const;

  const bool open_to_all_;
  unsigned char* range_ = nullptr;
  unsigned char* next_ = nullptr;
  std::size_t limit_bytes_;
  std::size_t used_bytes_ = 0;
  int num_open_ = 0;
  std::map<const unsigned char*, Allocation> allocations_;  // by the address that was handed out
  mutable std::mutex mutex_;
};

}  // namespace microdit::fakes
