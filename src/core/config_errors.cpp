// Errors of a configuration, collected, and the nearest known name.
#include <algorithm>
#include <utility>

#include "core/config_node.h"
#include "core/error.h"
#include "core/nearest.h"

namespace microdit::core::detail {
namespace {

/// What other programs call it -> our dotted key, as seen from the section that has its first part.
constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"cfg", "guidance"},
    {"cfg", "sampling.guidance"},
    {"cfg_scale", "guidance"},
    {"cfg_scale", "sampling.guidance"},
    {"guidance_scale", "guidance"},
    {"guidance_scale", "sampling.guidance"},
    {"guidance", "sampling.guidance"},
    {"learning_rate", "lr"},
    {"learning_rate", "optimizer.lr"},
    {"lr", "optimizer.lr"},
    {"weight_decay", "optimizer.weight_decay"},
    {"wd", "optimizer.weight_decay"},
    {"grad_clip", "optimizer.clip_norm"},
    {"max_grad_norm", "optimizer.clip_norm"},
    {"warmup", "schedule.warmup_steps"},
    {"warmup_steps", "schedule.warmup_steps"},
    {"ema_decay", "ema.decay"},
    {"epochs", "steps"},
    {"num_epochs", "steps"},
    {"max_train_steps", "steps"},
    {"num_steps", "steps"},
    {"max_steps", "steps"},
    {"iterations", "steps"},
    {"dtype", "precision"},
    {"resolution", "size"},
    {"image_size", "size"},
    {"batch", "batch_size"},
    {"depth", "model.depth"},
    {"dim", "model.dim"},
    {"caption_sources", "captions"},
};

/// Our key for another program's `given`, or "".
std::string_view other_name(std::string_view given, const std::vector<std::string>& known) {
  for (const auto& [theirs, ours] : kOtherNames) {
    if (theirs == given &&
        std::find(known.begin(), known.end(), ours.substr(0, ours.find('.'))) != known.end())
      return ours;
  }
  return "";
}

}  // namespace
}  // namespace microdit::core::detail

std::string microdit::core::other_key(std::string_view given, const std::vector<std::string>& known) {
  for (const auto& [theirs, ours] : detail::kOtherNames)
    if (theirs == given && std::find(known.begin(), known.end(), ours) != known.end())
      return std::string(ours);
  return "";
}

namespace microdit::core::detail {

std::string suggestion(std::string_view given, const std::vector<std::string>& known,
                       const std::vector<std::string>& elsewhere) {
  if (known.empty()) return "";
  if (const std::string_view ours = other_name(given, known); !ours.empty())
    return fmt::format("; did you mean '{}'?", ours);
  std::vector<std::string> same;  // the same name in other sections
  for (const std::string& path : elsewhere) {
    if (path != given && !path.ends_with(fmt::format(".{}", given))) continue;
    std::string name = fmt::format("'{}'{}", path, path == given ? " of the outermost level" : "");
    if (std::find(same.begin(), same.end(), name) == same.end() && same.size() < 4)
      same.push_back(std::move(name));
  }
  if (!same.empty()) return fmt::format("; did you mean {}?", fmt::join(same, " or "));
  if (const auto near = nearest(given, known)) return fmt::format("; did you mean '{}'?", *near);
  std::vector<std::string> once;  // a field may be read in two ways
  for (const std::string& name : known)
    if (std::find(once.begin(), once.end(), name) == once.end()) once.push_back(name);
  return fmt::format("; known: {}", fmt::join(once, ", "));
}

std::string not_one_of(std::string_view given, const std::vector<std::string>& choices) {
  std::string error = fmt::format("'{}' is not one of: {}", given, fmt::join(choices, ", "));
  const bool is_half = given == "fp16" || given == "float16" || given == "half" || given == "16";
  if (is_half && std::find(choices.begin(), choices.end(), "bf16") != choices.end())
    error +=
        "; nothing is computed in fp16: it ends at 65504, where activations and gradients of these networks "
        "overflow unless the loss is scaled; take bf16, which has fp32's range at fp16's speed, or fp32 on a "
        "GPU that is older than bf16 (before Ampere)";
  return error;
}

void throw_errors(const std::vector<std::string>& errors) {
  if (errors.empty()) return;
  if (errors.size() == 1) throw UserError(errors.front());
  throw UserError(
      fmt::format("{} errors in the configuration:\n  {}", errors.size(), fmt::join(errors, "\n  ")));
}

}  // namespace microdit::core::detail
