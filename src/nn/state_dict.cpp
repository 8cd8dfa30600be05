// Tensors between modules and safetensors files, and counter-keyed random tensors.
#include "nn/state_dict.h"

#include <fmt/ranges.h>
#include <torch/utils.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/seed.h"

namespace microdit::nn {

namespace {

constexpr std::pair<core::DType, torch::ScalarType> kTypes[] = {
    {core::DType::boolean, torch::kBool},  {core::DType::u8, torch::kByte},
    {core::DType::i8, torch::kChar},       {core::DType::i16, torch::kShort},
    {core::DType::u16, torch::kUInt16},    {core::DType::f16, torch::kHalf},
    {core::DType::bf16, torch::kBFloat16}, {core::DType::i32, torch::kInt},
    {core::DType::u32, torch::kUInt32},    {core::DType::f32, torch::kFloat},
    {core::DType::f64, torch::kDouble},    {core::DType::i64, torch::kLong},
    {core::DType::u64, torch::kUInt64}};

std::string shape_text(at::IntArrayRef shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 20;
  std::vector<std::string> shown(names.begin(),
                                 names.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, names.size())));
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (names.size() > kShown) text += fmt::format(", and {} more", names.size() - kShown);
  return text;
}

/// The module's own tensors (not copies), by name.
StateDict named_tensors(const torch::nn::Module& module) {
  StateDict tensors;
  for (const auto& item : module.named_parameters()) tensors.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) tensors.emplace(item.key(), item.value());
  return tensors;
}

core::Purpose purpose_of(std::uint32_t purpose) {
  return static_cast<core::Purpose>(purpose);
}

}  // namespace

torch::ScalarType to_torch(core::DType dtype) {
  for (const auto& [ours, theirs] : kTypes) {
    if (ours == dtype) return theirs;
  }
  core::check(false, "dtype {} has no torch type", static_cast<int>(dtype));
  return torch::kFloat;
}

core::DType from_torch(torch::ScalarType type) {
  for (const auto& [ours, theirs] : kTypes) {
    if (theirs == type) return ours;
  }
  core::user_error("tensors of type {} cannot be stored", torch::toString(type));
}

StateDict load_tensors(const std::filesystem::path& path) {
  const core::SafetensorsFile file(path);
  StateDict tensors;
  for (const auto& [name, info] : file.tensors()) tensors.emplace(name, load_tensor(file, name));
  return tensors;
}

torch::Tensor load_tensor(const core::SafetensorsFile& file, const std::string& name) {
  const core::TensorInfo& info = file.tensors().at(name);
  torch::Tensor tensor = torch::empty(info.shape, torch::TensorOptions().dtype(to_torch(info.dtype)));
  file.read(name, {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()});
  return tensor;
}

void save_tensors(const std::filesystem::path& path, const StateDict& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<torch::Tensor> held;  // keeps the contiguous copies alive while they are written
  std::vector<core::TensorView> views;
  held.reserve(tensors.size());
  views.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    held.push_back(tensor.detach().cpu().contiguous());
    const torch::Tensor& kept = held.back();
    views.push_back({name,
                     from_torch(kept.scalar_type()),
                     kept.sizes().vec(),
                     {static_cast<const std::byte*>(kept.data_ptr()), kept.nbytes()}});
  }
  core::write_safetensors(path, views, metadata);
}

StateDict state_dict(const torch::nn::Module& module) {
  StateDict state = named_tensors(module);
  for (auto& [name, tensor] : state) tensor = tensor.detach();
  return state;
}

void Differences::misshapen(const std::string& name, at::IntArrayRef is, at::IntArrayRef must_be) {
  misshapen_.push_back(fmt::format("{} is {} and must be {}", name, shape_text(is), shape_text(must_be)));
}

void Differences::throw_if_any(const std::string& origin) const {
  if (missing_.empty() && extra_.empty() && misshapen_.empty()) return;
  std::string message = fmt::format("{}: these weights are not of this network", origin);
  if (!missing_.empty()) message += fmt::format("; missing ({}): {}", missing_.size(), joined(missing_));
  if (!extra_.empty()) message += fmt::format("; unexpected ({}): {}", extra_.size(), joined(extra_));
  if (!misshapen_.empty())
    message += fmt::format("; other shape ({}): {}", misshapen_.size(), joined(misshapen_));
  core::user_error("{}. Give the config the weights were made with.", message);
}

void load_state_dict(torch::nn::Module& module, const StateDict& state, const std::string& origin,
                     const std::vector<std::string>& ignore) {
  const auto ignored = [&](const std::string& name) {
    return std::find(ignore.begin(), ignore.end(), name) != ignore.end();
  };
  const StateDict own = named_tensors(module);
  Differences differences;
  for (const auto& [name, tensor] : own) {
    if (ignored(name)) continue;
    const auto found = state.find(name);
    if (found == state.end()) {
      differences.missing(name);
    } else if (found->second.sizes() != tensor.sizes()) {
      differences.misshapen(name, found->second.sizes(), tensor.sizes());
    }
  }
  for (const auto& [name, tensor] : state) {
    if (!own.contains(name) && !ignored(name)) differences.extra(name);
  }
  differences.throw_if_any(origin);
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) {
    if (!ignored(name)) torch::Tensor(tensor).copy_(state.at(name));
  }
}

torch::Tensor counter_normal(at::IntArrayRef shape, std::uint64_t seed, std::uint32_t purpose,
                             std::uint64_t a, std::uint64_t b) {
  torch::Tensor tensor = torch::empty(shape, torch::kFloat);
  core::CounterRng(seed, purpose_of(purpose), a, b)
      .fill_normal({tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  return tensor;
}

torch::Tensor counter_uniform(at::IntArrayRef shape, std::uint64_t seed, std::uint32_t purpose,
                              std::uint64_t a, std::uint64_t b) {
  torch::Tensor tensor = torch::empty(shape, torch::kFloat);
  core::CounterRng(seed, purpose_of(purpose), a, b)
      .fill_uniform({tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  return tensor;
}

}  // namespace microdit::nn
