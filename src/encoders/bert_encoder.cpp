// BERT as a sentence encoder (last hidden state), from a transformers folder: config.json, model.safetensors, vocab.txt.
#include <torch/utils.h>
#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "encoders/text_encoder.h"
#include "encoders/weights_folder.h"
#include "nn/autocast.h"
#include "nn/state_dict.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStem = "model";
constexpr std::int64_t kCaptionsPerPass = 128;  // bounds memory; the captions of one call keep their order

struct BertConfig {
  std::int64_t width, layers, heads, hidden, positions, vocabulary, types;
  double norm_eps;
};

std::int64_t positive(const core::Json& json, const char* key, const fs::path& folder) {
  const std::int64_t value = config_integer(json, key, 0, folder);
  if (value < 1)
    core::user_error("{}: {} is missing or not positive", (folder / "config.json").string(), key);
  return value;
}

BertConfig parse_config(const core::Json& json, const fs::path& folder) {
  const std::string file = (folder / "config.json").string();
  const std::string activation = config_text(json, "hidden_act", "gelu", folder);
  if (activation != "gelu")
    core::user_error("{}: hidden_act is \"{}\"; only \"gelu\" is supported", file, activation);
  const std::string position = config_text(json, "position_embedding_type", "absolute", folder);
  if (position != "absolute")
    core::user_error("{}: position_embedding_type is \"{}\"; only \"absolute\" is supported", file, position);
  BertConfig c{positive(json, "hidden_size", folder),
               positive(json, "num_hidden_layers", folder),
               positive(json, "num_attention_heads", folder),
               positive(json, "intermediate_size", folder),
               positive(json, "max_position_embeddings", folder),
               positive(json, "vocab_size", folder),
               config_integer(json, "type_vocab_size", 2, folder),
               config_number(json, "layer_norm_eps", 1e-12, folder)};
  if (c.width % c.heads != 0)
    core::user_error("{}: num_attention_heads {} does not divide hidden_size {}", file, c.heads, c.width);
  return c;
}

struct Weight : torch::nn::Module {
  torch::Tensor weight;
  explicit Weight(at::IntArrayRef shape) {
    weight = register_parameter("weight", torch::zeros(shape), false);
  }
};

struct Linear : torch::nn::Module {
  torch::Tensor weight, bias;
  Linear(std::int64_t in, std::int64_t out) {
    weight = register_parameter("weight", torch::zeros({out, in}), false);
    bias = register_parameter("bias", torch::zeros({out}), false);
  }
  torch::Tensor forward(const torch::Tensor& x) const { return at::linear(x, weight, bias); }
};

struct LayerNorm : torch::nn::Module {
  torch::Tensor weight, bias;
  double eps;
  LayerNorm(std::int64_t width, double eps_) : eps(eps_) {
    weight = register_parameter("weight", torch::ones({width}), false);
    bias = register_parameter("bias", torch::zeros({width}), false);
  }
  torch::Tensor forward(const torch::Tensor& x) const {
    return at::layer_norm(x, {weight.size(0)}, weight, bias, eps);
  }
};

/// Registers a T under a dotted path, making the modules on the way.
template <class T, class... Args>
std::shared_ptr<T> nest(torch::nn::Module& root, const std::string& path, Args&&... args) {
  torch::nn::Module* parent = &root;
  std::istringstream parts(path);
  std::string name;
  std::getline(parts, name, '.');
  for (std::string next; std::getline(parts, next, '.'); name = next) {
    const auto children = parent->named_children();
    const auto* found = children.find(name);
    parent = found != nullptr ? found->get()
                              : parent->register_module(name, std::make_shared<torch::nn::Module>()).get();
  }
  return parent->register_module(name, std::make_shared<T>(std::forward<Args>(args)...));
}

struct Layer {
  std::shared_ptr<Linear> query, key, value, attention_out, up, down;
  std::shared_ptr<LayerNorm> attention_norm, out_norm;
};

/// Post-layer-norm transformer; parameter names are those of transformers' BertModel.
class Bert : public torch::nn::Module {
 public:
  explicit Bert(const BertConfig& c) : config_(c) {
    words_ = nest<Weight>(*this, "embeddings.word_embeddings", at::IntArrayRef{c.vocabulary, c.width});
    positions_ = nest<Weight>(*this, "embeddings.position_embeddings", at::IntArrayRef{c.positions, c.width});
    types_ = nest<Weight>(*this, "embeddings.token_type_embeddings", at::IntArrayRef{c.types, c.width});
    norm_ = nest<LayerNorm>(*this, "embeddings.LayerNorm", c.width, c.norm_eps);
    for (std::int64_t i = 0; i < c.layers; ++i) {
      const std::string at = fmt::format("encoder.layer.{}.", i);
      layers_.push_back({nest<Linear>(*this, at + "attention.self.query", c.width, c.width),
                         nest<Linear>(*this, at + "attention.self.key", c.width, c.width),
                         nest<Linear>(*this, at + "attention.self.value", c.width, c.width),
                         nest<Linear>(*this, at + "attention.output.dense", c.width, c.width),
                         nest<Linear>(*this, at + "intermediate.dense", c.width, c.hidden),
                         nest<Linear>(*this, at + "output.dense", c.hidden, c.width),
                         nest<LayerNorm>(*this, at + "attention.output.LayerNorm", c.width, c.norm_eps),
                         nest<LayerNorm>(*this, at + "output.LayerNorm", c.width, c.norm_eps)});
    }
  }
  const BertConfig& config() const { return config_; }

  /// ids int64 [B, L], keep bool [B, L] (false at pads) -> [B, L, D].
  torch::Tensor forward(const torch::Tensor& ids_BL, const torch::Tensor& keep_BL) const {
    const auto length = ids_BL.size(1);
    torch::Tensor x =
        at::embedding(words_->weight, ids_BL) + positions_->weight.narrow(0, 0, length) + types_->weight[0];
    x = norm_->forward(x);
    const torch::Tensor mask_B11L = keep_BL.unsqueeze(1).unsqueeze(1);
    for (const Layer& layer : layers_) {
      x = layer.attention_norm->forward(x + layer.attention_out->forward(attend(layer, x, mask_B11L)));
      x = layer.out_norm->forward(x + layer.down->forward(at::gelu(layer.up->forward(x))));
    }
    return x;
  }

 private:
  torch::Tensor attend(const Layer& layer, const torch::Tensor& x_BLD, const torch::Tensor& mask_B11L) const {
    const auto b = x_BLD.size(0), l = x_BLD.size(1);
    const auto heads = [&](const torch::Tensor& rows) {
      return rows.view({b, l, config_.heads, -1}).transpose(1, 2);
    };
    const torch::Tensor mixed =
        at::scaled_dot_product_attention(heads(layer.query->forward(x_BLD)), heads(layer.key->forward(x_BLD)),
                                         heads(layer.value->forward(x_BLD)), mask_B11L.expand({b, 1, l, l}));
    return mixed.transpose(1, 2).reshape({b, l, config_.width});
  }

  BertConfig config_;
  std::shared_ptr<Weight> words_, positions_, types_;
  std::shared_ptr<LayerNorm> norm_;
  std::vector<Layer> layers_;
};

/// The encoder's tensors under BertModel's names: out of a model with heads ("bert." before the encoder's
/// own), with LayerNorm's gamma and beta of the first files.
nn::StateDict with_plain_names(const nn::StateDict& state) {
  constexpr std::string_view kPrefix = "bert.";
  const bool has_heads =
      std::ranges::any_of(state, [&](const auto& item) { return item.first.starts_with(kPrefix); });
  nn::StateDict plain;
  for (const auto& [stored, tensor] : state) {
    std::string name = stored;
    if (has_heads) {
      if (!name.starts_with(kPrefix)) continue;  // a head: masked words, next sentence, a classifier
      name.erase(0, kPrefix.size());
    }
    for (const auto& [old_end, end] : {std::pair{"LayerNorm.gamma", "weight"}, {"LayerNorm.beta", "bias"}})
      if (name.ends_with(old_end)) name.replace(name.rfind('.') + 1, name.npos, end);
    plain.emplace(std::move(name), tensor);
  }
  return plain;
}

TextEncoderFacts facts_of(const BertConfig& config, const fs::path& folder, const std::string& sha256) {
  return {
      .kind = "bert", .folder = folder_hint(folder), .sha256 = sha256, .width = config.width, .pads = "zero"};
}

void check_length(const BertConfig& config, std::int64_t length, const fs::path& folder) {
  if (length < 2 || length > config.positions)
    core::user_error("{}: text length {} is not within 2 and {} (max_position_embeddings)", folder.string(),
                     length, config.positions);
}

class BertTextEncoder final : public TextEncoder {
 public:
  BertTextEncoder(const fs::path& folder, const std::string& sha256)
      : folder_(folder.lexically_normal()),
        tokenizer_(load_wordpiece(folder)),
        net_(std::make_shared<Bert>(parse_config(read_folder_config(folder), folder))),
        sha256_(sha256.empty() ? folder_weights_sha256(folder, kStem) : sha256) {
    nn::load_state_dict(*net_, with_plain_names(read_folder_weights(folder, kStem)), folder.string(),
                        {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"});
    net_->eval();
  }

  std::int64_t width() const override { return net_->config().width; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  void to(torch::Device device) override { net_->to(device); }
  void set_precision(const std::string& precision) override { bf16_ = precision == "bf16"; }
  TextEncoderFacts facts() const override { return facts_of(net_->config(), folder_, sha256_); }

  EncodedText encode(const std::vector<std::string>& captions, std::int64_t length) const override {
    const torch::NoGradGuard no_grad;
    check_length(net_->config(), length, folder_);
    const auto count = static_cast<std::int64_t>(captions.size());
    TokenRows rows = tokenize(*tokenizer_, captions, length);
    if (!rows.ids.empty() && *std::ranges::max_element(rows.ids) >= net_->config().vocabulary)
      core::user_error("{}: vocab.txt has more tokens than the model's vocab_size {}", folder_.string(),
                       net_->config().vocabulary);
    EncodedText out{torch::zeros({count, length, width()}),
                    torch::from_blob(rows.ids.data(), {count, length}, torch::kInt32).clone(),
                    std::move(rows.num_tokens)};
    const torch::Tensor lengths_B =
        torch::from_blob(out.num_tokens.data(), {count}, torch::kInt64).clamp_max(length);
    for (std::int64_t begin = 0; begin < count; begin += kCaptionsPerPass) {
      const std::int64_t rows_here = std::min(kCaptionsPerPass, count - begin);
      encode_pass(out.ids_BL.narrow(0, begin, rows_here), lengths_B.narrow(0, begin, rows_here),
                  out.states_BLD.narrow(0, begin, rows_here));
    }
    return out;
  }

  torch::Tensor encode_ids(const torch::Tensor& ids_BL,
                           const std::vector<std::int64_t>& num_tokens) const override {
    const torch::NoGradGuard no_grad;
    check_length(net_->config(), ids_BL.size(1), folder_);
    if (ids_BL.numel() > 0 && (ids_BL.max().item<std::int64_t>() >= net_->config().vocabulary ||
                               ids_BL.min().item<std::int64_t>() < 0))
      core::user_error("{}: token ids of another tokenizer (the model's vocab_size is {})", folder_.string(),
                       net_->config().vocabulary);
    return states(ids_BL, torch::tensor(num_tokens, torch::kInt64).clamp(1, ids_BL.size(1)))
        .to(torch::kFloat32);
  }

 private:
  /// Rows of pads are zero.
  torch::Tensor states(const torch::Tensor& ids_BL, const torch::Tensor& lengths_B) const {
    const torch::Device device = net_->parameters().front().device();
    const torch::Tensor keep_BL =
        (torch::arange(ids_BL.size(1)).unsqueeze(0) < lengths_B.unsqueeze(1)).to(device);
    const nn::Autocast autocast(bf16_, device);
    return net_->forward(ids_BL.to(device, torch::kInt64), keep_BL)
        .masked_fill(keep_BL.logical_not().unsqueeze(2), 0);
  }

  /// Fills `states_BLD`; computes no further than the longest caption.
  void encode_pass(const torch::Tensor& ids_BL, const torch::Tensor& lengths_B,
                   const torch::Tensor& states_BLD) const {
    const auto longest = lengths_B.max().item<std::int64_t>();
    states_BLD.narrow(1, 0, longest).copy_(states(ids_BL.narrow(1, 0, longest), lengths_B));
  }

  fs::path folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<Bert> net_;
  std::string sha256_;
  bool bf16_ = false;
};

void check_type(const fs::path& folder) {
  const std::string type = config_text(read_folder_config(folder), "model_type", "", folder);
  if (type != "bert")
    core::user_error("{}: model_type is \"{}\"; only \"bert\" is supported",
                     (folder / "config.json").string(), type);
}

}  // namespace

std::unique_ptr<TextEncoder> find_text_encoder(const TextEncoderFacts& facts, const fs::path& run_folder) {
  const auto sha256_of = [](const fs::path& folder) { return folder_weights_sha256(folder, kStem); };
  const fs::path folder = find_folder({"text encoder", facts.folder, facts.sha256, sha256_of}, run_folder);
  auto encoder = load_text_encoder(folder, facts.sha256);
  if (encoder->width() != facts.width || encoder->facts().kind != facts.kind) {
    core::user_error(
        "{}: its config.json says {} of width {}, the run was trained with {} of width {}: restore it",
        folder.string(), encoder->facts().kind, encoder->width(), facts.kind, facts.width);
  }
  return encoder;
}

std::unique_ptr<TextEncoder> load_text_encoder(const fs::path& folder, const std::string& sha256) {
  check_type(folder);
  return std::make_unique<BertTextEncoder>(folder, sha256);
}

TextEncoderFacts describe_text_encoder(const fs::path& folder) {
  check_type(folder);
  return facts_of(parse_config(read_folder_config(folder), folder), folder.lexically_normal(),
                  folder_weights_sha256(folder, kStem));
}

}  // namespace microdit::encoders
