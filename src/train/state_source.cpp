// Names of other programs' optimizer states.
#include "train/state_source.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/weights_names.h"
#include "nn/state_dict.h"

namespace microdit::train {
namespace {

constexpr std::string_view kInside = ".state.";  // between an optimizer and a parameter

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == text.npos;
}

/// The parameter of "state.optimizers.AdamW.state.blocks.0.weight.exp_avg", where `name` ends so.
std::optional<std::string> parameter_of(const std::string& name, std::string_view ending) {
  const std::size_t optimizer = name.find("optim");
  if (optimizer == name.npos || !name.ends_with(ending)) return std::nullopt;
  std::size_t inside = name.find(kInside, optimizer);
  if (inside == name.npos) return std::nullopt;
  inside += kInside.size();
  if (inside + ending.size() > name.size()) return std::nullopt;
  return name.substr(inside, name.size() - ending.size() - inside);
}

}  // namespace

std::optional<std::vector<std::int64_t>> CheckpointState::shape(const std::string& kind,
                                                                const std::string& parameter) const {
  const auto found = reader_.tensors().find(kind + "/" + parameter);
  return found == reader_.tensors().end() ? std::nullopt : std::optional(found->second);
}

TorchState::TorchState(const std::filesystem::path& file) : file_(file) {
  names_["exp_avg"];
  std::vector<std::string> all;
  for (const auto& [name, info] : file_.tensors())
    if (!parameter_of(name, "")) all.push_back(name);
  names_["weights"] = core::network_names(all).stored;
  find_moments();
  const auto& moments = names_["exp_avg"];
  const bool numbered = std::ranges::any_of(moments, [](const auto& one) { return is_number(one.first); });
  if (numbered) name_numbers(parameters_in_order());
}

void TorchState::find_moments() {
  for (const char* kind : {"exp_avg", "exp_avg_sq"}) {
    std::map<std::string, std::string> stored;  // as the optimizer names the parameter -> in the file
    for (const auto& [name, info] : file_.tensors()) {
      if (const auto parameter = parameter_of(name, std::string(".") + kind))
        stored.emplace(*parameter, name);
      if (step_name_.empty() && parameter_of(name, ".step")) step_name_ = name;
    }
    std::vector<std::string> parameters;
    for (const auto& [parameter, name] : stored) parameters.push_back(parameter);
    for (const auto& [own, parameter] : core::network_names(parameters).stored)
      names_[kind][own] = stored.at(parameter);
  }
}

/// torch writes a state dict's tensors in its order, which is that of the network's parameters and buffers.
std::vector<std::string> TorchState::parameters_in_order() const {
  std::vector<std::pair<std::uint64_t, std::string>> places;
  for (const auto& [own, stored] : names_.at("weights"))
    if (std::ranges::find(kFixedBuffers, own) == kFixedBuffers.end())
      places.emplace_back(file_.info(stored).offset, own);
  std::ranges::sort(places);
  std::vector<std::string> order;
  for (auto& [offset, own] : places) order.push_back(std::move(own));
  return order;
}

void TorchState::name_numbers(const std::vector<std::string>& order) {
  for (const char* kind : {"exp_avg", "exp_avg_sq"}) {
    std::map<std::string, std::string> named;
    for (const auto& [number, stored] : names_[kind]) {
      const std::size_t i = is_number(number) ? std::stoul(number) : order.size();
      if (names_[kind].size() != order.size() || i >= order.size() ||
          file_.info(stored).shape != file_.info(names_["weights"].at(order[i])).shape)
        core::user_error(
            "{}: its optimizer numbers {} parameters ('{}' of shape [{}]), which are not the {} of the "
            "network in "
            "their order; say init.load=weights, or save the state by names "
            "(torch.distributed.checkpoint.state_dict.get_optimizer_state_dict)",
            origin(), names_[kind].size(), number, fmt::join(file_.info(stored).shape, ", "), order.size());
      named[order[i]] = stored;
    }
    names_[kind] = std::move(named);
  }
}

std::int64_t TorchState::updates() const {
  if (step_name_.empty())
    core::user_error(
        "{}: its optimizer does not say how many updates it has made (`step` as a tensor, torch 1.12 and "
        "later); "
        "say init.load=weights",
        origin());
  const double step = values(step_name_, 0, 1).item<double>();
  if (!(step >= 0) || step > 1e9 || step != std::floor(step))
    core::user_error("{}: '{}' is {}, no count of updates; say init.load=weights", origin(), step_name_,
                     step);
  return static_cast<std::int64_t>(step);
}

std::optional<std::vector<std::int64_t>> TorchState::shape(const std::string& kind,
                                                           const std::string& parameter) const {
  const auto of_kind = names_.find(kind);
  if (of_kind == names_.end()) return std::nullopt;
  const auto found = of_kind->second.find(parameter);
  return found == of_kind->second.end() ? std::nullopt : std::optional(file_.info(found->second).shape);
}

/// As fp32.
torch::Tensor TorchState::values(const std::string& stored, std::int64_t begin, std::int64_t count) const {
  const core::DType dtype = file_.info(stored).dtype;
  const torch::ScalarType type = nn::to_torch(dtype);
  if (!torch::isFloatingType(type) && type != torch::kLong)
    core::user_error("{}: '{}' holds values of type {}, which are no weights", origin(), stored,
                     core::name_of(dtype));
  const torch::Tensor values = torch::empty({count}, type);
  file_.read_range(stored, static_cast<std::uint64_t>(begin) * core::size_of(dtype),
                   {static_cast<std::byte*>(values.data_ptr()), values.nbytes()});
  return values.to(torch::kFloat32);
}

void TorchState::read(const std::string& kind, const std::string& parameter, std::int64_t begin,
                      std::span<float> out) const {
  constexpr std::int64_t kAtOnce = std::int64_t{1} << 20;
  const std::string& stored = names_.at(kind).at(parameter);
  for (std::int64_t at = 0; at < std::ssize(out); at += kAtOnce) {
    const std::int64_t count = std::min(kAtOnce, std::ssize(out) - at);
    std::copy_n(values(stored, begin + at, count).const_data_ptr<float>(), count, out.begin() + at);
  }
}

}  // namespace microdit::train
