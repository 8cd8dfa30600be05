// Glob patterns: fnmatch folder by folder.
#include "ingest/glob.h"

#include <fnmatch.h>

#include <algorithm>
#include <string>

namespace microdit::ingest {
namespace {

std::string_view first_part(std::string_view path) {
  return path.substr(0, path.find('/'));
}
std::string_view after_first_part(std::string_view path) {
  const std::size_t slash = path.find('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
}

constexpr std::string_view kMacFolder =
    "__MACOSX";  ///< what file managers of a Mac add; full of hidden files

bool is_passed_over(std::string_view name) {
  return name.starts_with('.') || name == kMacFolder;
}

/// One folder's or file's name: a hidden one is meant only where the pattern writes its dot out.
bool part_matches(std::string_view pattern, std::string_view name) {
  if (name == kMacFolder) return pattern == name;
  return ::fnmatch(std::string(pattern).c_str(), std::string(name).c_str(), FNM_NOESCAPE | FNM_PERIOD) == 0;
}

}  // namespace

bool is_glob(std::string_view pattern) {
  return pattern.find_first_of("*?[") != std::string_view::npos;
}

bool matches_any(const std::vector<std::string>& patterns, std::string_view path) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) { return matches(pattern, path); });
}

bool matches(std::string_view pattern, std::string_view path) {
  while (!pattern.empty()) {
    const std::string_view part = first_part(pattern);
    const std::string_view rest = after_first_part(pattern);
    if (part == "**" && !rest.empty()) {
      for (std::string_view deeper = path; !deeper.empty(); deeper = after_first_part(deeper)) {
        if (matches(rest, deeper)) return true;
        if (is_passed_over(first_part(deeper))) return false;
      }
      return false;
    }
    if (path.empty() || !part_matches(part, first_part(path))) return false;
    pattern = rest;
    path = after_first_part(path);
    if (pattern.empty() != path.empty()) return false;
  }
  return path.empty();
}

bool UsedPatterns::match(std::string_view path) {
  if (example_.empty()) example_ = path;
  bool found = false;
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    if ((found && used_[i]) || !matches(patterns_[i], path)) continue;
    found = used_[i] = true;
  }
  return found;
}

std::vector<std::string> UsedPatterns::idle() const {
  std::vector<std::string> idle;
  for (std::size_t i = 0; i < patterns_.size(); ++i)
    if (!used_[i]) idle.push_back(patterns_[i]);
  return idle;
}

}  // namespace microdit::ingest
