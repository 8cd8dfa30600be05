// BERT as a sentence encoder (last hidden state), from a transformers folder: config.json, model.safetensors, vocab.txt.
// Post-layer-norm transformer (Devlin et al. 2018); names are those of transformers' BertModel.
#include <fmt/format.h>
#include <torch/utils.h>

#include <vector>

#include "core/error.h"
#include "encoders/text_net.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

struct BertConfig {
  std::int64_t width, layers, heads, hidden, positions, vocabulary, types;
  double norm_eps;
};

BertConfig parse_config(const core::Json& json, const fs::path& file) {
  config_only(json, "hidden_act", "gelu", file);
  config_only(json, "position_embedding_type", "absolute", file);
  const BertConfig c{config_count(json, "hidden_size", file),
                     config_count(json, "num_hidden_layers", file, 0, kMostLayers),
                     config_count(json, "num_attention_heads", file),
                     config_count(json, "intermediate_size", file),
                     config_count(json, "max_position_embeddings", file),
                     config_count(json, "vocab_size", file),
                     config_count(json, "type_vocab_size", file, 2),
                     config_eps(json, "layer_norm_eps", 1e-12, file)};
  check_heads(c.width, c.heads, file);
  return c;
}

struct Layer {
  Linear attention_in, attention_out, up, down;
  LayerNorm attention_norm, out_norm;
};

class Bert final : public TextNet {
 public:
  Bert(const BertConfig& c, torch::TensorOptions matrices) : TextNet(matrices), heads_(c.heads) {
    words_ = tensor("embeddings.word_embeddings.weight", {c.vocabulary, c.width});
    positions_ = tensor("embeddings.position_embeddings.weight", {c.positions, c.width});
    types_ = tensor("embeddings.token_type_embeddings.weight", {c.types, c.width});
    norm_ = norm("embeddings.LayerNorm", c.width, c.norm_eps);
    for (std::int64_t i = 0; i < c.layers; ++i) {
      const std::string at = fmt::format("encoder.layer.{}.", i), self = at + "attention.self.";
      layers_.push_back({stacked({self + "query", self + "key", self + "value"}, c.width, c.width),
                         linear(at + "attention.output.dense", c.width, c.width),
                         linear(at + "intermediate.dense", c.width, c.hidden),
                         linear(at + "output.dense", c.hidden, c.width),
                         norm(at + "attention.output.LayerNorm", c.width, c.norm_eps),
                         norm(at + "output.LayerNorm", c.width, c.norm_eps)});
    }
  }

  torch::Tensor forward(const torch::Tensor& ids_BL, const torch::Tensor& keep_BL) const override {
    const auto b = ids_BL.size(0), l = ids_BL.size(1);
    torch::Tensor x = norm_(at::embedding(words_, ids_BL) + positions_.narrow(0, 0, l) + types_[0]);
    const torch::Tensor mask_B1LL = keep_BL.view({b, 1, 1, l}).expand({b, 1, l, l});
    for (const Layer& layer : layers_) {
      x = layer.attention_norm(x + layer.attention_out(attend(layer, x, mask_B1LL)));
      x = layer.out_norm(x + layer.down(at::gelu(layer.up(x))));
    }
    return x;
  }

 private:
  torch::Tensor attend(const Layer& layer, const torch::Tensor& x_BLD, const torch::Tensor& mask_B1LL) const {
    const auto qkv = layer.attention_in(x_BLD).chunk(3, 2);
    return join_heads(at::scaled_dot_product_attention(
        split_heads(qkv[0], heads_), split_heads(qkv[1], heads_), split_heads(qkv[2], heads_), mask_B1LL));
  }

  std::int64_t heads_;
  torch::Tensor words_, positions_, types_;
  LayerNorm norm_;
  std::vector<Layer> layers_;
};

/// Out of a model with heads ("bert." before the encoder's own names), or with LayerNorm's gamma and beta of the first files.
std::string slot_of(std::string_view stored) {
  constexpr std::string_view kPrefix = "bert.";
  std::string name(stored.starts_with(kPrefix) ? stored.substr(kPrefix.size()) : stored);
  if (name.starts_with("pooler.") || name == "embeddings.position_ids") return "";
  for (const auto& [old_end, end] : {std::pair{"LayerNorm.gamma", "weight"}, {"LayerNorm.beta", "bias"}})
    if (name.ends_with(old_end)) name.replace(name.rfind('.') + 1, name.npos, end);
  // A head: masked words, next sentence, a classifier.
  return name.starts_with("embeddings.") || name.starts_with("encoder.") ? name : "";
}

}  // namespace

TextModel bert_model(const fs::path& folder) {
  const BertConfig c = parse_config(read_folder_config(folder), folder / "config.json");
  return {
      .kind = "bert",
      .stem = "model",
      .width = c.width,
      .vocabulary = c.vocabulary,
      .max_length = c.positions,
      .pads = "zero",
      .network = fmt::format("layers={} heads={} hidden={} positions={} vocabulary={} types={} norm_eps={}",
                             c.layers, c.heads, c.hidden, c.positions, c.vocabulary, c.types, c.norm_eps),
      .make = [c](torch::TensorOptions matrices) { return std::make_shared<Bert>(c, matrices); },
      .slot_of = slot_of};
}

}  // namespace microdit::encoders
