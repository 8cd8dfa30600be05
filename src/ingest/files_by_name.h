// A source's files by what an entry may call them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/utf8.h"
#include "ingest/sources.h"

namespace microdit::ingest {

/// Files by what an entry may call them: the path, and the name under raw/ (no file's path is another's name).
class FilesByName {
 public:
  explicit FilesByName(const std::vector<RawFile>& files) {
    for (const RawFile& file : files) {
      by_name_.emplace(file.name, &file);
      by_name_.emplace(file.path, &file);
    }
  }
  /// UserError where it is none's.
  const RawFile& find(std::string_view name, std::string_view key) const {
    const auto found = by_name_.find(name);
    if (found != by_name_.end()) return *found->second;
    const RawFile& nearest = *std::ranges::max_element(by_name_, {}, [&](const auto& known) {
                                return alike(name, known.first);
                              })->second;
    core::user_error("{}: no file is named {}; the one most like it is {}{}", key, name,
                     core::with_valid_utf8(nearest.path),
                     nearest.path == nearest.name ? "" : ", under raw/ " + nearest.name);
  }

 private:
  /// Bytes that two names begin and end with together.
  static std::size_t alike(std::string_view one, std::string_view other) {
    const auto begin = std::ranges::mismatch(one, other).in1 - one.begin();
    one.remove_prefix(static_cast<std::size_t>(begin));
    other.remove_prefix(static_cast<std::size_t>(begin));
    const auto end =
        std::mismatch(one.rbegin(), one.rend(), other.rbegin(), other.rend()).first - one.rbegin();
    return static_cast<std::size_t>(begin + end);
  }

  std::map<std::string_view, const RawFile*> by_name_;
};

}  // namespace microdit::ingest
