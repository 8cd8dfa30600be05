// Names of kinds, ours and those that a program was linked with.
#include "models/denoiser_kind.h"

#include <fmt/format.h>

#include <algorithm>

namespace microdit::models {
namespace {

const std::vector<std::string> kOurs = {"microdit", "class_dit", "unet"};

const std::vector<DenoiserKind>& more() {
  static const std::vector<DenoiserKind> kinds = more_denoisers();  // what was linked does not change
  return kinds;
}

}  // namespace

std::vector<std::string> kind_names() {
  std::vector<std::string> names = kOurs;
  for (const DenoiserKind& kind : more()) names.push_back(kind.name);
  return names;
}

const DenoiserKind* more_kind(std::string_view name) {
  const auto found = std::ranges::find(more(), name, &DenoiserKind::name);
  return found == more().end() ? nullptr : &*found;
}

std::string kinds_fault(const std::vector<DenoiserKind>& kinds) {
  std::vector<std::string> taken = kOurs;
  for (const DenoiserKind& kind : kinds) {
    if (kind.name.empty() || !kind.keys)
      return "one of the networks that this program was built with has no name or no keys";
    if (std::ranges::find(taken, kind.name) != taken.end())
      return fmt::format(
          "this program was built with two networks called \"{}\"; rename one (its DenoiserKind)", kind.name);
    taken.push_back(kind.name);
  }
  return "";
}

}  // namespace microdit::models
