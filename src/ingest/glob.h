// One pattern over one relative path.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace microdit::ingest {

/// `*` and `?` and `[a-z]` within one folder's names, `**/` for folders of any depth (none too). As in a shell, hidden
/// files and folders only where the pattern writes their dot out; likewise __MACOSX.
bool matches(std::string_view pattern, std::string_view path);
bool matches_any(const std::vector<std::string>& patterns, std::string_view path);
bool is_glob(std::string_view pattern);

/// Patterns that are asked many times, and which of them have matched nothing so far.
class UsedPatterns {
 public:
  UsedPatterns() = default;
  explicit UsedPatterns(std::vector<std::string> patterns)
      : patterns_(std::move(patterns)), used_(patterns_.size(), false) {}
  bool empty() const { return patterns_.empty(); }
  /// Whether any of them matches.
  bool match(std::string_view path);
  std::vector<std::string> idle() const;
  /// The first path that was asked about; "" = none.
  const std::string& example() const { return example_; }

 private:
  std::vector<std::string> patterns_;
  std::vector<bool> used_;
  std::string example_;
};

}  // namespace microdit::ingest
