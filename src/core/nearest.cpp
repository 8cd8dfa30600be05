// Edit distance.
#include "core/nearest.h"

#include <algorithm>
#include <numeric>

namespace microdit::core {
namespace {

/// Insertion, deletion, substitution and the swap of neighbours (optimal string alignment).
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

std::optional<std::string> nearest(std::string_view given, const std::vector<std::string>& known) {
  const std::size_t most = std::max<std::size_t>(1, given.size() / 3);
  std::optional<std::string> found;
  std::size_t least = most + 1;
  for (const std::string& name : known) {
    const std::size_t apart =
        name.size() > given.size() ? name.size() - given.size() : given.size() - name.size();
    if (apart >= least) continue;
    if (const std::size_t distance = edit_distance(given, name); distance < least) {
      least = distance;
      found = name;
    }
  }
  return found;
}

}  // namespace microdit::core
