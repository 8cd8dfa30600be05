// The frozen text encoder: the network that a folder holds, its tokenizer, passes of bounded size.
#include "encoders/text_encoder.h"

#include <torch/utils.h>

#include <algorithm>

#include "core/error.h"
#include "encoders/text_net.h"
#include "encoders/tokenizer_limits.h"
#include "nn/autocast.h"

namespace microdit::encoders {
namespace {

namespace fs = std::filesystem;

/// Bounds memory; on a CPU what is between two layers stays near it.
constexpr std::int64_t kCaptionsPerPass = 128, kCaptionsPerPassOfACpu = 16;

TextModel read_model(const fs::path& folder) {
  if (fs::exists(folder / "open_clip_config.json")) return open_clip_model(folder);
  const std::string type = config_text(read_folder_config(folder), "model_type", "", folder / "config.json");
  if (type == "bert") return bert_model(folder);
  if (type == "clip" || type == "clip_text_model") return clip_model(folder);
  if (type == "t5") return t5_model(folder);
  if (type == kTokenizerAlone)
    core::user_error(
        "{}: a tokenizer alone, which makes no text rows: say text.tokens_only: true in the recipe, and "
        "model.text_conditioner of the training makes them",
        folder.string());
  core::user_error(
      "{}: model_type is \"{}\"; text encoders are bert, clip_text_model, clip, t5, and folders with an "
      "open_clip_config.json",
      (folder / "config.json").string(), type);
}

bool is_tokenizer_alone(const fs::path& folder) {
  if (fs::exists(folder / "open_clip_config.json")) return false;
  return config_text(read_folder_config(folder), "model_type", "", folder / "config.json") == kTokenizerAlone;
}

TextEncoderFacts tokenizer_facts(const fs::path& folder) {
  const std::string sha256 = load_tokenizer(folder)->sha256();
  return {.kind = kTokenizerAlone,
          .folder = folder_hint(folder),
          .sha256 = sha256,
          .tokenizer_sha256 = sha256,
          .width = 1,  // of rows that are not there
          .vocabulary = config_count(read_folder_config(folder), "vocab_size", folder / "config.json", 0,
                                     static_cast<std::int64_t>(kMostPieces))};
}

TextEncoderFacts facts_of(const TextModel& model, const fs::path& folder, const Tokenizer& tokenizer,
                          const std::string& sha256) {
  return {.kind = model.kind,
          .folder = folder_hint(folder),
          .sha256 = sha256,
          .network = model.network,
          .tokenizer_sha256 = tokenizer.sha256(),
          .width = model.width,
          .pads = model.pads};
}

void check_length(const TextModel& model, std::int64_t length, const fs::path& folder) {
  if (length < 2 || length > model.max_length)
    core::user_error("{}: text length {} is not within 2 and {}, the most that this encoder takes",
                     folder.string(), length, model.max_length);
}

/// What a folder with the wanted weights would make otherwise, or "".
std::string difference_to(const TextEncoderFacts& wanted, const fs::path& folder) {
  if (wanted.kind == kTokenizerAlone) return "";  // the SHA-256 is of all that it is
  const TextModel model = read_model(folder);
  const auto differ = [](const char* what, const std::string& here, const std::string& there) {
    return fmt::format("these weights, but its {} says {}, the run was trained with {}: restore it", what,
                       here, there);
  };
  const auto size = [](const std::string& kind, std::int64_t width) {
    return fmt::format("{} of width {}", kind, width);
  };
  if (model.kind != wanted.kind || model.width != wanted.width)
    return differ("config", size(model.kind, model.width), size(wanted.kind, wanted.width));
  if (!wanted.network.empty() && model.network != wanted.network)
    return differ("config", model.network, wanted.network);
  if (wanted.tokenizer_sha256.empty()) return "";
  if (const std::string sha256 = load_tokenizer(folder)->sha256(); sha256 != wanted.tokenizer_sha256)
    return fmt::format(
        "these weights, but another tokenizer (SHA-256 {}, the run's {}): restore the tokenizer's files",
        sha256, wanted.tokenizer_sha256);
  return "";
}

/// The network, once the files are known to hold it: what a config.json asks for is allocated only then.
std::shared_ptr<TextNet> make_net(const TextModel& model, const fs::path& folder,
                                  torch::ScalarType matrices) {
  const torch::TensorOptions options(matrices);
  check_folder_weights(folder, model.stem, model.make(options.device(torch::kMeta))->slots(), model.slot_of);
  return model.make(options);
}

class FrozenTextEncoder final : public TextEncoder {
 public:
  FrozenTextEncoder(const fs::path& folder, const std::string& sha256, bool bf16, const core::StopFlag& stop)
      : folder_(folder.lexically_normal()),
        model_(read_model(folder_)),
        tokenizer_(load_tokenizer(folder_)),
        facts_(facts_of(model_, folder_, *tokenizer_,
                        sha256.empty() ? folder_weights_sha256(folder_, model_.stem, stop) : sha256)),
        net_(make_net(model_, folder_, bf16 ? torch::kBFloat16 : torch::kFloat)),
        bf16_(bf16) {
    facts_.precision = bf16 ? "bf16" : "fp32";
    load_folder_weights(folder_, model_.stem, net_->slots(), model_.slot_of, stop);
    net_->eval();
  }

  std::int64_t width() const override { return model_.width; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  void to(torch::Device device) override {
    net_->to(device);
    device_ = device;
  }
  TextEncoderFacts facts() const override { return facts_; }

  EncodedText encode(const std::vector<std::string>& captions, std::int64_t length) const override {
    const torch::NoGradGuard no_grad;
    check_length(model_, length, folder_);
    const auto count = static_cast<std::int64_t>(captions.size());
    TokenRows rows = tokenize(*tokenizer_, captions, length);
    const torch::Tensor ids_BL = torch::from_blob(rows.ids.data(), {count, length}, torch::kInt32).clone();
    torch::Tensor states_BLD = encode_tokens(ids_BL, rows.num_tokens);
    return {std::move(states_BLD), ids_BL, std::move(rows.num_tokens)};
  }

  torch::Tensor encode_tokens(const torch::Tensor& ids_BL,
                              const std::vector<std::int64_t>& num_tokens) const override {
    const torch::NoGradGuard no_grad;
    const auto count = ids_BL.size(0), length = ids_BL.size(1);
    check_length(model_, length, folder_);
    check_ids(ids_BL);
    torch::Tensor states_BLD = torch::zeros({count, length, width()});
    const torch::Tensor lengths_B = torch::tensor(num_tokens, torch::kInt64).clamp_max(length);
    const torch::Tensor order =
        has_zero_pads()
            ? std::get<1>(lengths_B.sort(/*stable=*/std::optional<bool>(true), 0, /*descending=*/false))
            : torch::arange(count);  // equal lengths share a pass
    const std::int64_t pass = device_.is_cpu() ? kCaptionsPerPassOfACpu : kCaptionsPerPass;
    for (std::int64_t begin = 0; begin < count; begin += pass) {
      const torch::Tensor mine = order.narrow(0, begin, std::min(pass, count - begin));
      const torch::Tensor lengths = lengths_B.index_select(0, mine);
      // Rows behind the longest caption are zero, or what the network makes of pads.
      const auto computed = has_zero_pads() ? lengths.max().item<std::int64_t>() : length;
      const torch::Tensor ids = ids_BL.index_select(0, mine).narrow(1, 0, computed);
      states_BLD.narrow(1, 0, computed)
          .index_copy_(0, mine, states(ids, lengths).to(torch::kCPU, torch::kFloat));
    }
    return states_BLD;
  }

  torch::Tensor encode_ids(const torch::Tensor& ids_BL,
                           const std::vector<std::int64_t>& num_tokens) const override {
    const torch::NoGradGuard no_grad;
    check_length(model_, ids_BL.size(1), folder_);
    check_ids(ids_BL);
    return states(ids_BL, torch::tensor(num_tokens, torch::kInt64).clamp(1, ids_BL.size(1)))
        .to(torch::kFloat32);
  }

 private:
  bool has_zero_pads() const { return model_.pads == "zero"; }

  void check_ids(const torch::Tensor& ids_BL) const {
    if (ids_BL.numel() > 0 &&
        (ids_BL.max().item<std::int64_t>() >= model_.vocabulary || ids_BL.min().item<std::int64_t>() < 0))
      core::user_error("{}: token ids of another tokenizer: the network's vocabulary has {} tokens",
                       folder_.string(), model_.vocabulary);
  }

  torch::Tensor states(const torch::Tensor& ids_BL, const torch::Tensor& lengths_B) const {
    const torch::Tensor keep_BL =
        (torch::arange(ids_BL.size(1)).unsqueeze(0) < lengths_B.unsqueeze(1)).to(device_);
    const nn::Autocast autocast(bf16_, device_);
    const torch::Tensor states_BLD = net_->forward(ids_BL.to(device_, torch::kInt64), keep_BL);
    return has_zero_pads() ? states_BLD.masked_fill(keep_BL.logical_not().unsqueeze(2), 0) : states_BLD;
  }

  fs::path folder_;
  TextModel model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TextEncoderFacts facts_;
  std::shared_ptr<TextNet> net_;
  torch::Device device_ = torch::kCPU;
  bool bf16_;
};

}  // namespace

fs::path find_text_encoder_folder(const TextEncoderFacts& facts, const fs::path& run_folder,
                                  const core::StopFlag& stop) {
  const bool alone = facts.kind == kTokenizerAlone;
  const auto sha256_of = [&](const fs::path& folder) {
    return alone ? load_tokenizer(folder)->sha256()
                 : folder_weights_sha256(folder, read_model(folder).stem, stop);
  };
  const auto difference = [&](const fs::path& folder) { return difference_to(facts, folder); };
  return find_folder(
      {alone ? "tokenizer" : "text encoder", facts.folder, facts.sha256, sha256_of, difference}, run_folder);
}

std::unique_ptr<TextEncoder> find_text_encoder(const TextEncoderFacts& facts, const fs::path& run_folder,
                                               const core::StopFlag& stop) {
  return load_text_encoder(find_text_encoder_folder(facts, run_folder, stop), facts.sha256, facts.precision,
                           stop);
}

std::unique_ptr<Tokenizer> find_tokenizer(const TextEncoderFacts& facts, const fs::path& run_folder,
                                          const core::StopFlag& stop) {
  return load_tokenizer(find_text_encoder_folder(facts, run_folder, stop));
}

std::unique_ptr<TextEncoder> load_text_encoder(const fs::path& folder, const std::string& sha256,
                                               const std::string& precision, const core::StopFlag& stop) {
  return std::make_unique<FrozenTextEncoder>(folder, sha256, precision == "bf16", stop);
}

TextEncoderFacts describe_text_encoder(const fs::path& folder, const core::StopFlag& stop) {
  const fs::path normal = folder.lexically_normal();
  if (is_tokenizer_alone(normal)) return tokenizer_facts(normal);
  const TextModel model = read_model(normal);
  return facts_of(model, normal, *load_tokenizer(normal), folder_weights_sha256(normal, model.stem, stop));
}

}  // namespace microdit::encoders
