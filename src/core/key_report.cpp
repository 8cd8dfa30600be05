// Two lists of names and shapes, compared.
#include "core/key_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include "core/error.h"

#include <algorithm>

#include "core/error.h"

namespace microdit::core {
namespace {

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 20;
  const auto shown = names.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, names.size()));
  std::string text = fmt::format("{}", fmt::join(names.begin(), shown, ", "));
  if (names.size() > kShown) text += fmt::format(", and {} more", names.size() - kShown);
  return text;
}

}  // namespace

std::string key_report(const Shapes& have, const Shapes& wanted) {
  std::vector<std::string> missing, unexpected, misshapen;
  for (const auto& [name, shape] : wanted) {
    const auto found = have.find(name);
    if (found == have.end()) {
      missing.push_back(name);
    } else if (found->second != shape) {
      misshapen.push_back(fmt::format("{} is [{}] and must be [{}]", name, fmt::join(found->second, ", "),
                                      fmt::join(shape, ", ")));
    }
  }
  for (const auto& [name, shape] : have)
    if (!wanted.contains(name)) unexpected.push_back(name);
  std::string report;
  const auto add = [&](const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    report += fmt::format("{}{} ({}): {}", report.empty() ? "" : "; ", what, names.size(), joined(names));
  };
  add("missing", missing);
  add("unexpected", unexpected);
  add("other shape", misshapen);
  return report;
}

void demand_keys(const Shapes& have, const Shapes& wanted, const std::string& origin) {
  if (const std::string report = key_report(have, wanted); !report.empty())
    user_error("{}: these weights are not of this network; {}. Give the config the weights were made with.",
               origin, report);
}

}  // namespace microdit::core
