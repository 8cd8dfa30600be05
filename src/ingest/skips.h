// Why records are left out: counted by reason, with the first key of each.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/json.h"

namespace microdit::ingest {

/// json[name]; 0 where there is none. Json::exception when it is no whole number of 0 or more.
std::int64_t count_of(const core::Json& json, const char* name);

/// A reason is "filtered.*" (the entry did not want the record), "damaged.*" or "unsupported.*"; only the last two
/// count against filters.max_damaged_fraction.
class Skips {
 public:
  void add(const std::string& reason, std::string_view key);
  void merge(const Skips& other);
  std::int64_t total() const;
  std::int64_t damaged() const;  ///< of damaged.* and unsupported.*
  bool empty() const { return reasons_.empty(); }
  /// {reason: {"count": n, "example": key}}, sorted by reason; and back (Json::exception when it is something else).
  core::Json to_json() const;
  static Skips from_json(const core::Json& json);
  /// "damaged.json 3 (e.g. a/7), filtered.too_small 12 (e.g. a/1)"
  std::string text() const;
  /// What to try, from the pattern of the reasons; "" when there is nothing special to say.
  /// `loose`: the members are files of a folder, not of an archive.
  std::string advice(bool loose = false) const;
  std::int64_t count(std::string_view reason) const;

 private:
  struct Reason {
    std::int64_t count = 0;
    std::string example;
  };
  std::map<std::string, Reason, std::less<>> reasons_;
};

}  // namespace microdit::ingest
