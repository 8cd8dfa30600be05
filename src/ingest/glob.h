// One pattern over one relative path.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace microdit::ingest {

/// `*` and `?` and `[a-z]` within one folder's names, `**/` for folders of any depth (none too). As in a shell, hidden
/// files and folders only where the pattern writes their dot out; likewise __MACOSX.
bool matches(std::string_view pattern, std::string_view path);
bool matches_any(const std::vector<std::string>& patterns, std::string_view path);
bool is_glob(std::string_view pattern);

}  // namespace microdit::ingest
