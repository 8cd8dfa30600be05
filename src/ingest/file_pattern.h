// Patterns over relative paths: which of many names an entry means.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ingest/glob.h"

namespace microdit::ingest {

/// What a set of patterns means, asked path by path.
class FilePatterns {
 public:
  /// "{a..b}" expands first; then "a|b|c" is the first of these patterns that matches anything, and "a|" may match
  /// nothing. UserError on an absolute pattern or one with "..".
  FilePatterns(const std::vector<std::string>& patterns, std::string_view key);
  /// The folder that all patterns lie in, "" = the top.
  std::string folder() const;
  /// Whether paths below that folder's own files can match.
  bool goes_deeper() const;
  /// The paths that match, in the order of the patterns, each once. UserError names a pattern that matches none.
  std::vector<std::string> choose(const std::vector<std::string>& paths, std::string_view where) const;

 private:
  std::vector<std::vector<std::string>> patterns_;  ///< of each its alternatives
  std::string key_;
};

}  // namespace microdit::ingest
