// Between torch modules and safetensors files. One of the few headers that bring torch.
#pragma once

#include <torch/nn/module.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/safetensors.h"

namespace microdit::nn {

using StateDict = std::map<std::string, torch::Tensor>;

torch::ScalarType to_torch(core::DType dtype);
core::DType from_torch(torch::ScalarType type);

/// All tensors of a file (CPU).
StateDict load_tensors(const std::filesystem::path& path);
/// One of them.
torch::Tensor load_tensor(const core::SafetensorsFile& file, const std::string& name);
/// Written aside and renamed; tensors are made contiguous CPU copies if they are not.
void save_tensors(const std::filesystem::path& path, const StateDict& tensors,
                  const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// Parameters and persistent buffers of a module, by name.
StateDict state_dict(const torch::nn::Module& module);
/// How the tensors of a file differ from those of a network, by name.
class Differences {
 public:
  void missing(const std::string& name) { missing_.push_back(name); }
  void extra(const std::string& name) { extra_.push_back(name); }
  void misshapen(const std::string& name, at::IntArrayRef is, at::IntArrayRef must_be);
  /// One UserError that lists them all with `origin`.
  void throw_if_any(const std::string& origin) const;

 private:
  std::vector<std::string> missing_, extra_, misshapen_;
};
/// Copies `state` into the module (converted to each tensor's dtype). Missing, extra and misshapen names are
/// one UserError that lists them all with `origin`. `ignore`: names that may be missing or extra, and are not
/// loaded.
void load_state_dict(torch::nn::Module& module, const StateDict& state, const std::string& origin,
                     const std::vector<std::string>& ignore = {});

/// Fills an fp32 CPU tensor with counter-keyed standard normals / uniforms [0,1).
torch::Tensor counter_normal(at::IntArrayRef shape, std::uint64_t seed, std::uint32_t purpose,
                             std::uint64_t a, std::uint64_t b = 0);
torch::Tensor counter_uniform(at::IntArrayRef shape, std::uint64_t seed, std::uint32_t purpose,
                              std::uint64_t a, std::uint64_t b = 0);

}  // namespace microdit::nn
