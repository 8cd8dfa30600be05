// A random AutoencoderKL (downscale 2) and a random BERT (width 8), as folders that the loaders accept.
#pragma once

#include <torch/utils.h>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/json.h"
#include "encoders/image_codec.h"
#include "nn/state_dict.h"

namespace microdit::ingest {

inline void make_tiny_codec(const std::filesystem::path& folder, double scaling_factor) {
  encoders::AutoencoderConfig config;
  config.block_out_channels = {8, 16};
  config.norm_num_groups = 4;
  config.latent_channels = 3;
  config.mid_block_add_attention = false;
  config.scaling_factor = scaling_factor;
  encoders::Autoencoder net(config);
  net.initialize(5);
  std::filesystem::create_directories(folder);
  encoders::save_autoencoder(folder, net, false);
}

inline void make_tiny_bert(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "vocab.txt") << "[PAD]\n[UNK]\n[CLS]\n[SEP]\nname\nlong\nred\nblue\n";
  core::write_json(folder / "config.json", {{"model_type", "bert"},
                                            {"hidden_size", 8},
                                            {"num_hidden_layers", 1},
                                            {"num_attention_heads", 2},
                                            {"intermediate_size", 12},
                                            {"max_position_embeddings", 10},
                                            {"vocab_size", 8},
                                            {"type_vocab_size", 2}});
  torch::manual_seed(11);
  nn::StateDict state;
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    state[name] = torch::randn(shape) * 0.4;
  };
  const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {8});
    add(name + ".bias", {8});
  };
  add("embeddings.word_embeddings.weight", {8, 8});
  add("embeddings.position_embeddings.weight", {10, 8});
  add("embeddings.token_type_embeddings.weight", {2, 8});
  norm("embeddings.LayerNorm");
  for (const char* name : {"query", "key", "value"})
    linear(std::string("encoder.layer.0.attention.self.") + name, 8, 8);
  linear("encoder.layer.0.attention.output.dense", 8, 8);
  norm("encoder.layer.0.attention.output.LayerNorm");
  linear("encoder.layer.0.intermediate.dense", 8, 12);
  linear("encoder.layer.0.output.dense", 12, 8);
  norm("encoder.layer.0.output.LayerNorm");
  linear("pooler.dense", 8, 8);
  nn::save_tensors(folder / "model.safetensors", state);
}

}  // namespace microdit::ingest
