// Passes of one fixed size, filled up: the shapes, and so the bits of a row, are always the same.
#include "eval/caption_encoder.h"

#include <torch/utils.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace microdit::eval {
namespace {

constexpr std::int64_t kPass = 32;                       // captions
constexpr std::size_t kMaxBytes = std::size_t{1} << 30;  // of rows that are kept, in host memory

}  // namespace

CaptionEncoder::CaptionEncoder(const encoders::TextEncoderFacts& facts,
                               const std::filesystem::path& run_folder, torch::Device device,
                               const core::StopFlag& stop)
    : encoder_(encoders::find_text_encoder(facts, run_folder, stop)), device_(device) {
  encoder_->to(device);
}

torch::Tensor* CaptionEncoder::find(const std::string& ids) {
  const auto found = found_.find(ids);
  if (found == found_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return &recent_.front().second;
}

void CaptionEncoder::encode(const std::vector<std::pair<std::string, std::int64_t>>& missing,
                            std::int64_t length) {
  const torch::NoGradGuard no_grad;
  for (std::size_t begin = 0; begin < missing.size(); begin += kPass) {
    torch::Tensor ids_BL = torch::empty({kPass, length}, torch::kInt32);
    std::vector<std::int64_t> num_tokens;
    for (std::size_t i = 0; i < kPass; ++i) {
      const auto& [ids, tokens] = missing[std::min(begin + i, missing.size() - 1)];
      std::memcpy(ids_BL.data_ptr<std::int32_t>() + i * static_cast<std::size_t>(length), ids.data(),
                  ids.size());
      num_tokens.push_back(tokens);
    }
    const torch::Tensor rows_BLD =
        encoder_->encode_ids(ids_BL, num_tokens).to(torch::kFloat16).to(torch::kCPU);
    for (std::size_t i = begin; i < std::min(begin + kPass, missing.size()); ++i) {
      recent_.emplace_front(missing[i].first, rows_BLD[static_cast<std::int64_t>(i - begin)].clone());
      found_[missing[i].first] = recent_.begin();
      bytes_ += recent_.front().second.nbytes();
    }
  }
}

torch::Tensor CaptionEncoder::rows(const stream::Batch& batch, std::int64_t first, std::int64_t count) {
  const auto length = static_cast<std::int64_t>(batch.ids.size()) / std::max<std::int64_t>(batch.count, 1);
  const auto ids_of = [&](std::int64_t row) {
    return std::string(reinterpret_cast<const char*>(batch.ids.data() + row * length),
                       static_cast<std::size_t>(length) * sizeof(std::int32_t));
  };
  std::vector<std::pair<std::string, std::int64_t>> missing;
  std::set<std::string> asked;
  for (std::int64_t row = first; row < first + count; ++row) {
    if (!batch.captioned[static_cast<std::size_t>(row)]) continue;
    std::string ids = ids_of(row);
    if (find(ids) || !asked.insert(ids).second) continue;
    missing.emplace_back(std::move(ids), batch.text_length[static_cast<std::size_t>(row)]);
  }
  encode(missing, length);
  torch::Tensor out_BLD = torch::zeros({count, length, encoder_->width()}, torch::kFloat16);
  for (std::int64_t i = 0; i < count; ++i)
    if (batch.captioned[static_cast<std::size_t>(first + i)]) out_BLD[i].copy_(*find(ids_of(first + i)));
  while (bytes_ > kMaxBytes && !recent_.empty()) {
    bytes_ -= recent_.back().second.nbytes();
    found_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return out_BLD.to(device_).to(torch::kFloat32);
}

}  // namespace microdit::eval
