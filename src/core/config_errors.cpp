// Errors of a configuration, collected, and the nearest known name.
#include <algorithm>
#include <numeric>

#include "core/config_node.h"
#include "core/error.h"

namespace microdit::core::detail {
namespace {

/// Edit distance with insertion, deletion, substitution and the swap of neighbours (optimal string
/// alignment).
std::size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> before(right.size() + 1);
  std::vector<std::size_t> above(right.size() + 1);
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(above.begin(), above.end(), std::size_t{0});
  for (std::size_t i = 1; i <= left.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const bool same = left[i - 1] == right[j - 1];
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (same ? 0u : 1u)});
      if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[right.size()];
}

}  // namespace

std::string suggestion(std::string_view given, const std::vector<std::string>& known) {
  if (known.empty()) return "";
  const auto distance = [&](const std::string& name) { return edit_distance(given, name); };
  const auto nearest = std::min_element(
      known.begin(), known.end(),
      [&](const std::string& left, const std::string& right) { return distance(left) < distance(right); });
  if (distance(*nearest) <= std::max<std::size_t>(1, given.size() / 3))
    return fmt::format("; did you mean '{}'?", *nearest);
  return fmt::format("; known: {}", fmt::join(known, ", "));
}

void throw_errors(const std::vector<std::string>& errors) {
  if (errors.empty()) return;
  if (errors.size() == 1) throw UserError(errors.front());
  throw UserError(
      fmt::format("{} errors in the configuration:\n  {}", errors.size(), fmt::join(errors, "\n  ")));
}

}  // namespace microdit::core::detail
