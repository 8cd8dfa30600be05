// Tensors between modules and files of weights, and counter-keyed random tensors.
#include "nn/state_dict.h"

#include <torch/utils.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/key_report.h"
#include "core/log.h"
#include "core/seed.h"
#include "core/weights_file.h"
#include "core/weights_names.h"

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

/// The module's own tensors (not copies), by name.
StateDict named_tensors(const torch::nn::Module& module) {
  StateDict tensors;
  for (const auto& item : module.named_parameters()) tensors.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) tensors.emplace(item.key(), item.value());
  return tensors;
}

/// `names`: the name to give -> the name in the file.
StateDict read_named(const core::WeightsFile& file, const std::map<std::string, std::string>& names) {
  StateDict tensors;
  std::map<std::string, torch::Tensor> read;  // by the name in the file that holds the elements
  for (const auto& [name, stored] : names) {
    const auto alias = file.aliases().find(stored);
    const auto [tensor, is_new] = read.try_emplace(alias == file.aliases().end() ? stored : alias->second);
    if (is_new) tensor->second = load_tensor(file, stored);
    tensors.emplace(name, tensor->second);
  }
  return tensors;
}

/// Of the names of one parameter those that the file has are to be loaded, which must be of one mind; where it has none, the first.
void drop_missing_aliases(StateDict& own, const DistinctParameter& one, const StateDict& state,
                          const std::string& origin) {
  std::vector<std::string> names = one.aliases;
  names.insert(names.begin(), one.name);
  std::string first;
  for (const std::string& name : names) {
    const auto given = state.find(name);
    if (given == state.end()) continue;
    if (first.empty())
      first = name;
    else if (given->second.scalar_type() != state.at(first).scalar_type() ||
             !torch::equal(given->second, state.at(first)))
      core::user_error("{}: tensors '{}' and '{}' differ; the network has one parameter for both", origin,
                       first, name);
  }
  for (const std::string& name : names)
    if (!state.contains(name) && name != (first.empty() ? one.name : first)) own.erase(name);
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
  const core::WeightsFile file(path);
  for (const auto& [name, why] : file.unreadable())
    core::log_warn("{}: '{}' is left out: {}", path.string(), name, why);
  std::map<std::string, std::string> all;
  for (const auto& [name, info] : file.tensors()) all.emplace(name, name);
  return read_named(file, all);
}

StateDict load_network(const std::filesystem::path& path, bool average) {
  const core::WeightsFile file(path);
  std::vector<std::string> names;
  for (const auto& [name, info] : file.tensors()) names.push_back(name);
  for (const auto& [name, why] : file.unreadable()) names.push_back(name);
  const core::NetworkNames network = core::network_names(names, average);
  if (!network.others.empty())
    core::log_info("{}: {} of its {} tensors are no part of the network and stay unread ({}, ...)",
                   path.string(), network.others.size(), names.size(), network.others.front());
  return read_named(file, network.stored);
}

torch::Tensor load_tensor(const core::WeightsFile& file, const std::string& name) {
  const core::TensorInfo& info = file.info(name);
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

std::vector<DistinctParameter> distinct_parameters(const torch::nn::Module& module) {
  std::vector<DistinctParameter> distinct;
  std::map<const void*, std::size_t> place;
  for (const auto& item : module.named_parameters()) {
    const auto [found, is_new] = place.try_emplace(item.value().unsafeGetTensorImpl(), distinct.size());
    if (is_new)
      distinct.push_back({item.key(), item.value(), {}});
    else
      distinct[found->second].aliases.push_back(item.key());
  }
  return distinct;
}

StateDict state_dict(const torch::nn::Module& module) {
  StateDict state = named_tensors(module);
  for (auto& [name, tensor] : state) tensor = tensor.detach();
  return state;
}

void load_state_dict(torch::nn::Module& module, const StateDict& state, const std::string& origin,
                     const std::vector<std::string>& ignore) {
  const auto ignored = [&](const std::string& name) {
    return std::find(ignore.begin(), ignore.end(), name) != ignore.end();
  };
  StateDict own = named_tensors(module);
  for (const DistinctParameter& one : distinct_parameters(module))
    drop_missing_aliases(own, one, state, origin);
  core::Shapes have, wanted;
  for (const auto& [name, tensor] : own)
    if (!ignored(name)) wanted.emplace(name, tensor.sizes().vec());
  for (const auto& [name, tensor] : state)
    if (!ignored(name)) have.emplace(name, tensor.sizes().vec());
  core::demand_keys(have, wanted, origin);
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) {
    if (ignored(name)) continue;
    const torch::Tensor& from = state.at(name);
    if (tensor.is_floating_point() && !from.is_floating_point())
      core::user_error(
          "{}: tensor '{}' is {}: quantized weights are not taken; give F32, F16 or BF16 weights", origin,
          name, torch::toString(from.scalar_type()));
    torch::Tensor(tensor).copy_(from);
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
