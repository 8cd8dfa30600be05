// Strings -> ids by prefix: one step per byte.
#pragma once

#include <string_view>

#include "encoders/id_table.h"

namespace microdit::encoders {

class PieceTrie {
 public:
  /// A later id of the same string replaces the earlier one. The empty string is never found.
  void insert(std::string_view piece, std::int32_t id) {
    std::int32_t node = 0;
    for (const char c : piece) {
      const auto fresh = static_cast<std::int32_t>(ids_.size());
      if (steps_.insert(key(node, c), fresh)) {
        ids_.push_back(IdTable::kNone);
        node = fresh;
      } else {
        node = steps_.find(key(node, c));
      }
    }
    if (node != 0) ids_[static_cast<std::size_t>(node)] = id;
  }

  /// Calls take(length, id) for every piece that `text` begins with, shortest first.
  template <class Take>
  void prefixes(std::string_view text, Take take) const {
    std::int32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = steps_.find(key(node, text[i]));
      if (node == IdTable::kNone) return;
      if (const std::int32_t id = ids_[static_cast<std::size_t>(node)]; id != IdTable::kNone) take(i + 1, id);
    }
  }

 private:
  static std::uint64_t key(std::int32_t node, char c) {
    return static_cast<std::uint64_t>(node) << 8 | static_cast<unsigned char>(c);
  }
  IdTable steps_;                                  // (node, byte) -> node
  std::vector<std::int32_t> ids_{IdTable::kNone};  // by node; 0 is the root
};

}  // namespace microdit::encoders
