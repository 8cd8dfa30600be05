// The encoder of T5 (Raffel et al. 2019; v1.1 and FLAN with gated GELU), last hidden state, from a transformers folder. Pad
// rows are real rows: they see the caption, and are seen by none.
#include <fmt/format.h>
#include <torch/utils.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "encoders/text_net.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

struct T5Config {
  std::int64_t width, layers, heads, head_width, hidden, vocabulary, buckets, max_distance;
  double norm_eps;
  bool gated;  ///< gelu(wi_0 x) * wi_1 x, else relu(wi x)
};

constexpr std::int64_t kMaxLength = std::numeric_limits<std::int64_t>::max();  // it counts distances

T5Config parse_config(const core::Json& json, const fs::path& file) {
  const std::string feed_forward = config_text(json, "feed_forward_proj", "relu", file);
  if (feed_forward != "gated-gelu" && feed_forward != "relu")
    core::user_error("{}: feed_forward_proj is \"{}\"; \"gated-gelu\" and \"relu\" are supported",
                     file.string(), feed_forward);
  const T5Config c{config_count(json, "d_model", file, 512),
                   config_count(json, "num_layers", file, 6, kMostLayers),
                   config_count(json, "num_heads", file, 8),
                   config_count(json, "d_kv", file, 64),
                   config_count(json, "d_ff", file, 2048),
                   config_count(json, "vocab_size", file, 32128),
                   config_count(json, "relative_attention_num_buckets", file, 32),
                   config_count(json, "relative_attention_max_distance", file, 128),
                   config_eps(json, "layer_norm_epsilon", 1e-6, file),
                   feed_forward == "gated-gelu"};
  if (c.heads * c.head_width > kLargestCount)
    core::user_error("{}: num_heads {} times d_kv {} is more than {}", file.string(), c.heads, c.head_width,
                     kLargestCount);
  if (c.buckets % 4 != 0 || c.max_distance <= c.buckets / 4)
    core::user_error(
        "{}: relative_attention_num_buckets {} must be a multiple of 4, and less than 4 times "
        "relative_attention_max_distance {}",
        file.string(), c.buckets, c.max_distance);
  return c;
}

/// The bucket of each distance key - query, bidirectional: the half of the buckets for keys behind the query, in each half
/// exact distances first, then logarithmically wider ones up to max_distance. int64 [L, L].
torch::Tensor buckets_of(std::int64_t length, const T5Config& c) {
  const std::int64_t half = c.buckets / 2, exact = half / 2;
  std::vector<std::int64_t> by_distance(static_cast<std::size_t>(length));
  for (std::int64_t n = 0; n < length; ++n) {
    std::int64_t bucket = n;
    if (n >= exact) {  // in single precision, as transformers does it
      const float wide =
          std::log(static_cast<float>(n) / static_cast<float>(exact)) /
          static_cast<float>(std::log(static_cast<double>(c.max_distance) / static_cast<double>(exact))) *
          static_cast<float>(half - exact);
      bucket = std::min(half - 1, exact + static_cast<std::int64_t>(wide));
    }
    by_distance[static_cast<std::size_t>(n)] = bucket;
  }
  torch::Tensor found = torch::empty({length, length}, torch::kInt64);
  auto* out = found.data_ptr<std::int64_t>();
  for (std::int64_t query = 0; query < length; ++query)
    for (std::int64_t key = 0; key < length; ++key)
      *out++ = (key > query ? half : 0) + by_distance[static_cast<std::size_t>(std::abs(key - query))];
  return found;
}

struct Layer {
  torch::Tensor attention_norm, mlp_norm;
  Linear attention_in, attention_out, up, down;
};

class T5Encoder final : public TextNet {
 public:
  T5Encoder(const T5Config& c, torch::TensorOptions matrices) : TextNet(matrices), config_(c) {
    words_ = matrix("shared.weight", c.vocabulary, c.width);
    distances_ =
        tensor("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", {c.buckets, c.heads});
    const std::int64_t inner = c.heads * c.head_width;
    for (std::int64_t i = 0; i < c.layers; ++i) {
      const std::string at = fmt::format("encoder.block.{}.layer.", i), self = at + "0.SelfAttention.",
                        dense = at + "1.DenseReluDense.";
      layers_.push_back({tensor(at + "0.layer_norm.weight", {c.width}),
                         tensor(at + "1.layer_norm.weight", {c.width}),
                         stacked({self + "q", self + "k", self + "v"}, c.width, inner, false),
                         linear(self + "o", inner, c.width, false),
                         c.gated ? stacked({dense + "wi_0", dense + "wi_1"}, c.width, c.hidden, false)
                                 : linear(dense + "wi", c.width, c.hidden, false),
                         linear(dense + "wo", c.hidden, c.width, false)});
    }
    last_norm_ = tensor("encoder.final_layer_norm.weight", {c.width});
  }

  torch::Tensor forward(const torch::Tensor& ids_BL, const torch::Tensor& keep_BL) const override {
    const auto b = ids_BL.size(0), l = ids_BL.size(1);
    torch::Tensor x = at::embedding(words_, ids_BL).to(torch::kFloat);
    const torch::Tensor bias_1HLL =
        at::embedding(distances_, buckets_of(l, config_).to(x.device())).permute({2, 0, 1}).unsqueeze(0);
    const torch::Tensor bias_BHLL = bias_1HLL.masked_fill(keep_BL.logical_not().view({b, 1, 1, l}),
                                                          -std::numeric_limits<float>::infinity());
    for (const Layer& layer : layers_) {
      const auto qkv = layer.attention_in(norm(x, layer.attention_norm)).chunk(3, 2);
      const auto heads = [&](const torch::Tensor& rows) { return split_heads(rows, config_.heads); };
      x = x +
          layer.attention_out(join_heads(at::scaled_dot_product_attention(
              heads(qkv[0]), heads(qkv[1]), heads(qkv[2]), bias_BHLL, /*dropout_p=*/0, /*is_causal=*/false,
              /*scale=*/1.0)));
      x = x + layer.down(activate(layer.up(norm(x, layer.mlp_norm))));
    }
    return norm(x, last_norm_);
  }

 private:
  /// Root mean square, in fp32.
  torch::Tensor norm(const torch::Tensor& x, const torch::Tensor& weight) const {
    return x * at::rsqrt(x.square().mean(-1, true) + config_.norm_eps) * weight;
  }
  torch::Tensor activate(const torch::Tensor& up) const {
    if (!config_.gated) return at::relu(up);
    const auto halves = up.chunk(2, -1);
    return at::gelu(halves[0], "tanh") * halves[1];
  }

  T5Config config_;
  torch::Tensor words_, distances_, last_norm_;
  std::vector<Layer> layers_;
};

/// The words stand as "shared", as the encoder's own, or as both.
std::string slot_of(std::string_view stored) {
  if (stored == "encoder.embed_tokens.weight") return "shared.weight";
  const bool is_encoders = stored == "shared.weight" || stored.starts_with("encoder.block.") ||
                           stored.starts_with("encoder.final_layer_norm.");
  return is_encoders ? std::string(stored) : "";
}

}  // namespace

TextModel t5_model(const fs::path& folder) {
  const T5Config c = parse_config(read_folder_config(folder), folder / "config.json");
  return {
      .kind = "t5",
      .stem = "model",
      .width = c.width,
      .vocabulary = c.vocabulary,
      .max_length = kMaxLength,
      .pads = "encoder",
      .network = fmt::format(
          "layers={} heads={} head_width={} hidden={} vocabulary={} buckets={} max_distance={} norm_eps={} "
          "feed_forward={}",
          c.layers, c.heads, c.head_width, c.hidden, c.vocabulary, c.buckets, c.max_distance, c.norm_eps,
          c.gated ? "gated-gelu" : "relu"),
      .make = [c](torch::TensorOptions matrices) { return std::make_shared<T5Encoder>(c, matrices); },
      .slot_of = slot_of};
}

}  // namespace microdit::encoders
