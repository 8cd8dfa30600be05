// The text encoder's side of precompute: fixed batches, fp16 or int8 rows, lengths.
#include "ingest/encode_text.h"

#include <torch/utils.h>

#include <algorithm>

#include "core/error.h"
#include "ingest/encode_rows.h"

namespace microdit::ingest {
namespace {

/// The small columns of a shard while they grow, and what is said of them.
struct Growing {
  store::Column scales, ids, lengths;
  std::int64_t cut = 0, longest = 0, values = 0;
  double max_error = 0, sum_error = 0;
};

/// One scale per token row: its largest magnitude over 127.
void add_int8(const torch::Tensor& states_BLD, const TakeRows& take, Growing& grown) {
  const torch::Tensor scale_BL = states_BLD.abs().amax(2) / 127;
  const torch::Tensor step_BL1 =
      torch::where(scale_BL > 0, scale_BL, torch::ones_like(scale_BL)).unsqueeze(2);
  const torch::Tensor rounded = (states_BLD / step_BL1).round();
  const torch::Tensor error = (rounded * scale_BL.unsqueeze(2) - states_BLD).abs();
  take(bytes_of(rounded.to(torch::kInt8)));
  append_rows(grown.scales, scale_BL);
  grown.max_error = std::max(grown.max_error, error.max().item<double>());
  grown.sum_error += error.sum(torch::kFloat64).item<double>();
  grown.values += error.numel();
}

void add_states(const TextRecipe& recipe, const torch::Tensor& states_BLD,
                const std::vector<std::string>& captions, const TakeRows& take, Growing& grown) {
  const torch::Tensor states = states_BLD.to(torch::kCPU, torch::kFloat32);
  const torch::Tensor half = states.to(torch::kHalf);
  check_fits(states, half, "text rows", captions);
  if (recipe.int8) {
    add_int8(states, take, grown);
  } else {
    take(bytes_of(half));
  }
}

void add_lengths(const TextRecipe& recipe, const std::vector<std::int64_t>& num_tokens, Growing& grown) {
  for (const std::int64_t tokens : num_tokens) {
    grown.cut += tokens > recipe.length;
    grown.longest = std::max(grown.longest, tokens);
    const auto length = static_cast<std::int32_t>(std::min(tokens, recipe.length));
    const auto bytes = std::as_bytes(std::span(&length, 1));
    grown.lengths.bytes.insert(grown.lengths.bytes.end(), bytes.begin(), bytes.end());
    ++grown.lengths.shape[0];
  }
}

}  // namespace

CaptionEncoder::CaptionEncoder(const TextRecipe& recipe, torch::Device device, const std::string& sha256)
    : recipe_(recipe) {
  if (recipe.tokens_only) {
    tokenizer_ = encoders::load_tokenizer(recipe.encoder, recipe.length);
    return;
  }
  encoder_ = encoders::load_text_encoder(recipe.encoder, sha256, recipe.precision);
  encoder_->to(device);
}

std::vector<store::Column> CaptionEncoder::states(std::size_t captions) const {
  if (!encoder_) return {};
  return {{"text",
           recipe_.int8 ? core::DType::i8 : core::DType::f16,
           {static_cast<std::int64_t>(captions), recipe_.length, encoder_->width()},
           {}}};
}

std::optional<TextColumns> CaptionEncoder::encode(const std::vector<std::string>& captions,
                                                  const TakeRows& take, const core::StopFlag& stop) const {
  const torch::NoGradGuard no_grad;
  const std::int64_t length = recipe_.length;
  Growing grown;
  grown.scales = {"text_scale", core::DType::f32, {0, length}, {}};
  grown.ids = {"text_ids", core::DType::i32, {0, length}, {}};
  grown.lengths = {"text_length", core::DType::i32, {0}, {}};
  const auto batch_size = static_cast<std::size_t>(recipe_.batch_size);
  for (std::size_t begin = 0; begin < captions.size(); begin += batch_size) {
    if (stop.requested()) return std::nullopt;
    const auto first = captions.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::vector<std::string> batch(
        first, first + static_cast<std::ptrdiff_t>(std::min(batch_size, captions.size() - begin)));
    if (encoder_) {
      const encoders::EncodedText encoded = encoder_->encode(batch, length);
      add_states(recipe_, encoded.states_BLD, batch, take, grown);
      append_rows(grown.ids, encoded.ids_BL.to(torch::kCPU).to(torch::kInt32));
      add_lengths(recipe_, encoded.num_tokens, grown);
    } else {
      encoders::TokenRows rows = encoders::tokenize(*tokenizer_, batch, length);
      const auto count = static_cast<std::int64_t>(batch.size());
      append_rows(grown.ids, torch::from_blob(rows.ids.data(), {count, length}, torch::kInt32));
      add_lengths(recipe_, rows.num_tokens, grown);
    }
  }
  TextColumns out;
  out.details = {{"captions", captions.size()}, {"cut", grown.cut}, {"longest", grown.longest}};
  if (recipe_.int8) {
    const double mean = grown.values > 0 ? grown.sum_error / static_cast<double>(grown.values) : 0;
    out.details["int8_error"] = {{"max", grown.max_error}, {"mean", mean}};
  }
  if (recipe_.int8) out.columns.push_back(std::move(grown.scales));
  out.columns.push_back(std::move(grown.ids));
  out.columns.push_back(std::move(grown.lengths));
  return out;
}

}  // namespace microdit::ingest
