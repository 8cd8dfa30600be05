// Prefixes of checkpoints, taken off.
#include "core/weights_names.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace microdit::core {
namespace {

constexpr std::array<std::string_view, 4> kContainers = {"state.model.", "model_state_dict.", "state_dict.",
                                                         "model."};
constexpr std::string_view kAverage = "ema_model_state_dict.ema_model.";
constexpr std::array<std::string_view, 3> kWrappers = {"module.", "_orig_mod.", "_fsdp_wrapped_module."};
constexpr std::array<std::string_view, 2> kFrozen = {"vae.", "text_encoder."};
constexpr std::string_view kNetwork = "dit.";

struct Name {
  std::string_view own, stored;
};

/// Keeps what begins with `prefix`, without it; the rest goes to `others`.
void enter(std::string_view prefix, std::vector<Name>& names, std::vector<std::string>& others) {
  std::vector<Name> inside;
  for (const Name& name : names) {
    if (name.own.starts_with(prefix))
      inside.push_back({name.own.substr(prefix.size()), name.stored});
    else
      others.emplace_back(name.stored);
  }
  names = std::move(inside);
}

bool any_begins(const std::vector<Name>& names, std::string_view prefix) {
  return std::any_of(names.begin(), names.end(),
                     [&](const Name& name) { return name.own.starts_with(prefix); });
}

void unwrap(std::vector<Name>& names) {
  for (Name& name : names)
    for (std::size_t i = 0; i < kWrappers.size(); ++i)
      if (name.own.starts_with(kWrappers[i])) {
        name.own.remove_prefix(kWrappers[i].size());
        i = static_cast<std::size_t>(-1);  // in any order, and more than once
      }
}

bool is_frozen(std::string_view name) {
  return std::any_of(kFrozen.begin(), kFrozen.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace

NetworkNames network_names(const std::vector<std::string>& all, bool average) {
  NetworkNames found;
  std::vector<Name> names;
  for (const std::string& name : all) names.push_back({name, name});
  if (average) {
    if (!any_begins(names, kAverage)) user_error("the file holds no averaged weights; say weights=raw");
    enter(kAverage, names, found.others);
  }
  for (const std::string_view container : kContainers)
    if (any_begins(names, container)) enter(container, names, found.others);
  unwrap(names);
  if (any_begins(names, kNetwork)) {
    std::vector<Name> kept;
    for (const Name& name : names) {
      if (is_frozen(name.own))
        found.others.emplace_back(name.stored);
      else
        kept.push_back(
            {name.own.starts_with(kNetwork) ? name.own.substr(kNetwork.size()) : name.own, name.stored});
    }
    names = std::move(kept);
    unwrap(names);
  }
  for (const Name& name : names) {
    const auto [known, is_new] = found.stored.emplace(name.own, name.stored);
    if (!is_new)
      user_error("the names '{}' and '{}' both stand for '{}'", known->second, name.stored, name.own);
  }
  std::sort(found.others.begin(), found.others.end());
  return found;
}

}  // namespace microdit::core
