// Sets of patterns: ranges, alternatives, what each means.
#include "ingest/file_pattern.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "ingest/sources.h"

namespace microdit::ingest {
namespace {

/// The part before the last '/' in front of the first special character.
std::string fixed_folder(const std::string& pattern) {
  const std::size_t special = std::min(pattern.find_first_of("*?["), pattern.size());
  const std::size_t slash = pattern.rfind('/', special);
  return slash == std::string::npos ? "" : pattern.substr(0, slash);
}

/// "a|b|" -> a, b and the empty alternative.
std::vector<std::string> alternatives(const std::string& pattern) {
  std::vector<std::string> all;
  for (std::size_t begin = 0, end; begin <= pattern.size(); begin = end + 1) {
    end = std::min(pattern.find('|', begin), pattern.size());
    all.push_back(pattern.substr(begin, end - begin));
  }
  return all;
}

void require_relative(const std::string& pattern, const std::string& key) {
  const bool climbs = pattern == ".." || pattern.starts_with("../") || pattern.ends_with("/..") ||
                      pattern.find("/../") != std::string::npos;
  if (pattern.empty() || pattern.starts_with('/') || climbs)
    core::user_error("{}: '{}': a relative path without '..' is meant", key, pattern);
}

/// The paths that match, in their order.
std::vector<std::string> matching(const std::string& pattern, const std::set<std::string>& known) {
  std::vector<std::string> found;
  if (!is_glob(pattern)) {
    if (known.contains(pattern)) found.push_back(pattern);
    return found;
  }
  std::ranges::copy_if(known, std::back_inserter(found),
                       [&](const std::string& path) { return matches(pattern, path); });
  return found;
}

}  // namespace

FilePatterns::FilePatterns(const std::vector<std::string>& patterns, std::string_view key) : key_(key) {
  for (const std::string& pattern : patterns) {
    require_relative(pattern, key_);
    if (pattern.find('|') != std::string::npos && pattern.find('{') != std::string::npos)
      core::user_error("{}: '{}': a range {{a..b}} has no alternatives: write its names out, or * or [..]",
                       key_, pattern);
    for (const std::string& expanded : expand_ranges(pattern)) {
      patterns_.push_back(alternatives(expanded));
      for (const std::string& one : patterns_.back())
        if (&one == &patterns_.back().front() || !one.empty()) require_relative(one, key_);
    }
  }
}

std::string FilePatterns::folder() const {
  std::string common = patterns_.empty() ? "" : fixed_folder(patterns_[0][0]);
  for (const std::vector<std::string>& pattern : patterns_) {
    for (const std::string& one : pattern) {
      if (one.empty()) continue;
      const std::string own = fixed_folder(one) + "/";
      while (!common.empty() && !own.starts_with(common + "/")) {
        const std::size_t slash = common.rfind('/');
        common.resize(slash == std::string::npos ? 0 : slash);
      }
    }
  }
  return common;
}

bool FilePatterns::goes_deeper() const {
  const std::size_t skip = folder().empty() ? 0 : folder().size() + 1;
  const auto is_deeper = [&](const std::string& one) { return one.find('/', skip) != std::string::npos; };
  return std::ranges::any_of(patterns_,
                             [&](const auto& pattern) { return std::ranges::any_of(pattern, is_deeper); });
}

std::vector<std::string> FilePatterns::choose(const std::vector<std::string>& paths,
                                              std::string_view where) const {
  const std::set<std::string> known(paths.begin(), paths.end());
  std::set<std::string> seen;
  std::vector<std::string> chosen;
  for (const std::vector<std::string>& pattern : patterns_) {
    std::vector<std::string> found;
    for (const std::string& one : pattern)
      if (found = matching(one, known); !found.empty()) break;
    for (const std::string& path : found)
      if (seen.insert(path).second) chosen.push_back(path);
    if (found.empty() && !pattern.back().empty())
      core::user_error("{}: '{}': no such file in {}", key_, fmt::join(pattern, "|"), where);
  }
  return chosen;
}

}  // namespace microdit::ingest
