// 64-bit key -> id, built once and then read often: open addressing, half full at most.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace microdit::encoders {

class IdTable {
 public:
  static constexpr std::int32_t kNone = -1;

  /// Room for `most` keys.
  explicit IdTable(std::size_t most = 0) : slots_(std::bit_ceil(2 * most + 2)) {}

  /// False when the key is there already (its id stays). Keys are below 2^63, ids not negative.
  bool insert(std::uint64_t key, std::int32_t id) {
    if (2 * (++size_) > slots_.size()) grow();
    Slot& slot = slots_[place(key)];
    if (slot.id != kNone) return --size_, false;
    slot = {key, id};
    return true;
  }

  std::int32_t find(std::uint64_t key) const { return slots_[place(key)].id; }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::int32_t id = kNone;
  };

  std::size_t place(std::uint64_t key) const {
    std::uint64_t hash = key * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 32;
    std::size_t at = hash & (slots_.size() - 1);
    while (slots_[at].id != kNone && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.id != kNone) slots_[place(slot.key)] = slot;
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace microdit::encoders
