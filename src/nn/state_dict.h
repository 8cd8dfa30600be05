// Between torch modules and files of weights. One of the few headers that bring torch.
#pragma once

#include <torch/nn/module.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/weights_file.h"

namespace microdit::nn {

using StateDict = std::map<std::string, torch::Tensor>;

torch::ScalarType to_torch(core::DType dtype);
core::DType from_torch(torch::ScalarType type);

/// All tensors of a file (CPU), safetensors or PyTorch's (core/weights_file.h); shared ones are one tensor under two names.
StateDict load_tensors(const std::filesystem::path& path);
/// One of them.
torch::Tensor load_tensor(const core::WeightsFile& file, const std::string& name);
/// The tensors of one network in a file that may hold more, by its own names (core/weights_names.h). UserError when one of them
/// cannot be read.
StateDict load_network(const std::filesystem::path& path, bool average = false);
/// Written aside and renamed; tensors are made contiguous CPU copies if they are not.
void save_tensors(const std::filesystem::path& path, const StateDict& tensors,
                  const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// A parameter under the first of its names.
struct DistinctParameter {
  std::string name;
  torch::Tensor tensor;
  std::vector<std::string> aliases;  ///< its other names: modules that share it
};
/// The module's parameters, each once however many modules share it, by first name in the module's own order.
std::vector<DistinctParameter> distinct_parameters(const torch::nn::Module& module);

/// Parameters and persistent buffers of a module, by name; a shared one under every of its names.
StateDict state_dict(const torch::nn::Module& module);
/// Copies `state` into the module (converted to each tensor's dtype). Missing, extra and misshapen names are
/// one UserError that lists them all with `origin`; of a shared parameter's names one is enough. `ignore`: names that may be missing or extra, and are not
/// loaded.
void load_state_dict(torch::nn::Module& module, const StateDict& state, const std::string& origin,
                     const std::vector<std::string>& ignore = {});

/// Fills an fp32 CPU tensor with counter-keyed standard normals / uniforms [0,1).
torch::Tensor counter_normal(at::IntArrayRef shape, std::uint64_t seed, std::uint32_t purpose,
                             std::uint64_t a, std::uint64_t b = 0);
torch::Tensor counter_uniform(at::IntArrayRef shape, std::uint64_t seed, std::uint32_t purpose,
                              std::uint64_t a, std::uint64_t b = 0);

}  // namespace microdit::nn
