// The frozen networks behind TextEncoder (and CLIP's picture tower), and what a folder says of the one that it holds.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "encoders/text_layers.h"
#include "encoders/weights_folder.h"

namespace microdit::encoders {

/// Tensors under the names that a network's files give them.
class FrozenNet : public torch::nn::Module {
 public:
  /// Where each tensor of the files goes.
  const Slots& slots() const { return slots_; }

 protected:
  explicit FrozenNet(const torch::TensorOptions& matrices) : matrices_(matrices) {}
  /// Uninitialised, fp32 unless told otherwise; moves with the module.
  torch::Tensor tensor(const std::string& name, at::IntArrayRef shape,
                       torch::ScalarType type = torch::kFloat);
  torch::Tensor matrix(const std::string& name, std::int64_t out, std::int64_t in);
  /// "NAME.weight", "NAME.bias".
  Linear linear(const std::string& name, std::int64_t in, std::int64_t out, bool bias = true);
  /// Several of equal size as one: the rows of each follow those of the one before.
  Linear stacked(const std::vector<std::string>& names, std::int64_t in, std::int64_t out, bool bias = true);
  LayerNorm norm(const std::string& name, std::int64_t width, double eps);

 private:
  torch::Tensor hold(at::IntArrayRef shape, torch::ScalarType type);

  torch::TensorOptions matrices_;  ///< bf16: they take half the memory, and products are bf16's
  Slots slots_;
  std::int64_t num_tensors_ = 0;
};

/// Token ids to states.
class TextNet : public FrozenNet {
 public:
  /// ids int64 [B, L], keep bool [B, L] (false at pads) -> [B, L, D].
  virtual torch::Tensor forward(const torch::Tensor& ids_BL, const torch::Tensor& keep_BL) const = 0;

 protected:
  using FrozenNet::FrozenNet;
};

struct TextModel {
  std::string kind;  ///< as manifests name it
  std::string stem;  ///< of the weights' file
  std::int64_t width = 0, vocabulary = 0, max_length = 0;
  std::string pads;  ///< rows of pad tokens: zero, or what the network gives (encoder)
  std::string
      network;  ///< the values of its config that decide the rows, with defaults where it says nothing
  /// With its matrices in fp32 or bf16; on the device meta, where it says what its tensors are and has no memory for them.
  std::function<std::shared_ptr<TextNet>(torch::TensorOptions matrices)> make{};
  /// A slot's name for a name in the files; empty: of another part of the model, never read.
  std::function<std::string(std::string_view)> slot_of{};
};

/// UserError when the heads do not divide the width.
void check_heads(std::int64_t width, std::int64_t heads, const std::filesystem::path& file);

/// Each reads the folder's config. UserError: missing keys, values that make another network.
TextModel bert_model(const std::filesystem::path& folder);
TextModel clip_model(const std::filesystem::path& folder);       ///< transformers' CLIPTextModel or CLIPModel
TextModel open_clip_model(const std::filesystem::path& folder);  ///< open_clip_config.json
TextModel t5_model(const std::filesystem::path& folder);         ///< the encoder of T5, T5 v1.1, FLAN-T5

}  // namespace microdit::encoders
