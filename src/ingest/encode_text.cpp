// The text encoder's side of precompute: batches by length, fp16 or int8 rows, lengths.
#include "ingest/encode_text.h"

#include <torch/utils.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "ingest/encode_rows.h"

namespace microdit::ingest {
namespace {

/// What int8 adds to a shard.
struct Growing {
  store::Column scales;
  std::int64_t values = 0;
  double max_error = 0, sum_error = 0;
};

/// Rows of neighbouring captions while their batches, which are by length, come in.
class Window {
 public:
  Window(const TextRecipe& recipe, std::int64_t captions, std::int64_t width)
      : recipe_(recipe),
        rows_BLD_(torch::empty({captions, recipe.length, width}, recipe.int8 ? torch::kInt8 : torch::kHalf)),
        scales_BL_(torch::empty({recipe.int8 ? captions : 0, recipe.length})) {}

  /// The states of a batch to their places.
  void put(const torch::Tensor& states_BLD, const torch::Tensor& places_B,
           const std::vector<std::string>& captions, Growing& grown) {
    const torch::Tensor half = states_BLD.to(torch::kHalf);
    check_fits(states_BLD, half, "text rows", captions);
    if (recipe_.int8)
      put_int8(states_BLD, places_B, grown);
    else
      rows_BLD_.index_copy_(0, places_B, half);
  }
  void finish(const TakeRows& take, Growing& grown) const {
    take(bytes_of(rows_BLD_));
    if (recipe_.int8) append_rows(grown.scales, scales_BL_);
  }

 private:
  /// One scale per token row: its largest magnitude over 127.
  void put_int8(const torch::Tensor& states_BLD, const torch::Tensor& places_B, Growing& grown) {
    const torch::Tensor scale_BL = states_BLD.abs().amax(2) / 127;
    const torch::Tensor step_BL1 =
        torch::where(scale_BL > 0, scale_BL, torch::ones_like(scale_BL)).unsqueeze(2);
    const torch::Tensor rounded = (states_BLD / step_BL1).round();
    const torch::Tensor error = (rounded * scale_BL.unsqueeze(2) - states_BLD).abs();
    rows_BLD_.index_copy_(0, places_B, rounded.to(torch::kInt8));
    scales_BL_.index_copy_(0, places_B, scale_BL);
    grown.max_error = std::max(grown.max_error, error.max().item<double>());
    grown.sum_error += error.sum(torch::kFloat64).item<double>();
    grown.values += error.numel();
  }

  const TextRecipe& recipe_;
  torch::Tensor rows_BLD_, scales_BL_;
};

/// The captions [first, first + count) of a shard.
struct Piece {
  const TextRecipe& recipe;
  const encoders::TextEncoder& encoder;
  const std::vector<std::string>& captions;
  const encoders::TokenRows& tokens;
  std::int64_t first, count;
};

/// Where pads are computed all captions cost the same.
bool by_length(const encoders::TextEncoder& encoder) {
  return encoder.facts().pads == "zero";
}

/// In which order they are encoded.
std::vector<std::int64_t> order_of(const Piece& piece) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(piece.count));
  std::iota(order.begin(), order.end(), piece.first);
  if (by_length(piece.encoder))
    std::ranges::stable_sort(order, {}, [&](std::int64_t caption) {
      return std::min(piece.tokens.num_tokens[static_cast<std::size_t>(caption)], piece.recipe.length);
    });
  return order;
}

/// Batch by batch; false when stopped.
bool encode_piece(const Piece& piece, const TakeRows& take, const core::StopFlag& stop, Growing& grown) {
  const std::int64_t length = piece.recipe.length, batch_size = piece.recipe.batch_size;
  Window window(piece.recipe, piece.count, piece.encoder.width());
  const std::vector<std::int64_t> order = order_of(piece);
  for (std::int64_t begin = 0; begin < piece.count; begin += batch_size) {
    if (stop.requested()) return false;
    const std::int64_t count = std::min(batch_size, piece.count - begin);
    torch::Tensor ids_BL = torch::empty({count, length}, torch::kInt32);
    torch::Tensor places_B = torch::empty({count}, torch::kInt64);
    std::vector<std::int64_t> num_tokens;
    std::vector<std::string> captions;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t caption = order[static_cast<std::size_t>(begin + i)];
      std::copy_n(piece.tokens.ids.begin() + caption * length, length,
                  ids_BL.data_ptr<std::int32_t>() + i * length);
      places_B.data_ptr<std::int64_t>()[i] = caption - piece.first;
      num_tokens.push_back(piece.tokens.num_tokens[static_cast<std::size_t>(caption)]);
      captions.push_back(piece.captions[static_cast<std::size_t>(caption)]);
    }
    window.put(piece.encoder.encode_tokens(ids_BL, num_tokens), places_B, captions, grown);
  }
  window.finish(take, grown);
  return true;
}

store::Column lengths_of(const TextRecipe& recipe, const encoders::TokenRows& tokens) {
  std::vector<std::int32_t> lengths;
  for (const std::int64_t count : tokens.num_tokens)
    lengths.push_back(static_cast<std::int32_t>(std::min(count, recipe.length)));
  return store::make_column("text_length", core::DType::i32, lengths);
}

core::Json details_of(const TextRecipe& recipe, const encoders::TokenRows& tokens, const Growing& grown) {
  std::int64_t cut = 0, longest = 0;
  for (const std::int64_t count : tokens.num_tokens) {
    cut += count > recipe.length;
    longest = std::max(longest, count);
  }
  core::Json details = {{"captions", tokens.num_tokens.size()}, {"cut", cut}, {"longest", longest}};
  if (recipe.int8) {
    const double mean = grown.values > 0 ? grown.sum_error / static_cast<double>(grown.values) : 0;
    details["int8_error"] = {{"max", grown.max_error}, {"mean", mean}};
  }
  return details;
}

}  // namespace

CaptionEncoder::CaptionEncoder(const TextRecipe& recipe, torch::Device device, const std::string& sha256,
                               const core::StopFlag& stop)
    : recipe_(recipe) {
  if (!recipe.has_encoder()) return;
  if (recipe.tokens_only) {
    tokenizer_ = encoders::load_tokenizer(recipe.encoder, recipe.length);
    return;
  }
  encoder_ = encoders::load_text_encoder(recipe.encoder, sha256, recipe.precision, stop);
  encoder_->to(device);
}

std::vector<store::Column> CaptionEncoder::states(std::size_t captions) const {
  if (!encoder_) return {};
  return {{"text",
           recipe_.int8 ? core::DType::i8 : core::DType::f16,
           {static_cast<std::int64_t>(captions), recipe_.length, encoder_->width()},
           {}}};
}

std::optional<encoders::TokenRows> CaptionEncoder::tokenize(const std::vector<std::string>& captions,
                                                            const core::StopFlag& stop) const {
  if (!recipe_.has_encoder())
    return encoders::TokenRows{
        std::vector<std::int32_t>(captions.size() * static_cast<std::size_t>(recipe_.length)),
        std::vector<std::int64_t>(captions.size())};
  const encoders::Tokenizer& tokenizer = encoder_ ? encoder_->tokenizer() : *tokenizer_;
  encoders::TokenRows rows;
  rows.ids.reserve(captions.size() * static_cast<std::size_t>(recipe_.length));
  for (const std::string& caption : captions) {
    if (stop.requested()) return std::nullopt;
    const encoders::TokenRows one = encoders::tokenize(tokenizer, {caption}, recipe_.length);
    rows.ids.insert(rows.ids.end(), one.ids.begin(), one.ids.end());
    rows.num_tokens.push_back(one.num_tokens[0]);
  }
  return rows;
}

std::optional<TextColumns> CaptionEncoder::encode(const std::vector<std::string>& captions,
                                                  const encoders::TokenRows& tokens, const TakeRows& take,
                                                  const core::StopFlag& stop) const {
  const torch::NoGradGuard no_grad;
  const auto count = static_cast<std::int64_t>(captions.size());
  Growing grown;
  grown.scales = {"text_scale", core::DType::f32, {0, recipe_.length}, {}};
  if (encoder_) {
    const std::int64_t row_bytes = recipe_.length * encoder_->width() * (recipe_.int8 ? 1 : 2);
    const std::int64_t window =
        by_length(*encoder_) ? std::max(recipe_.batch_size, kWindowBytes / row_bytes) : recipe_.batch_size;
    for (std::int64_t first = 0; first < count; first += window)
      if (!encode_piece({recipe_, *encoder_, captions, tokens, first, std::min(window, count - first)}, take,
                        stop, grown))
        return std::nullopt;
  }
  TextColumns out;
  out.details = details_of(recipe_, tokens, grown);
  if (recipe_.int8 && encoder_) out.columns.push_back(std::move(grown.scales));
  out.columns.push_back(store::make_column("text_ids", core::DType::i32, tokens.ids));
  out.columns.back().shape = {count, recipe_.length};
  out.columns.push_back(lengths_of(recipe_, tokens));
  return out;
}

}  // namespace microdit::ingest
