// Streams as splits.
#include "eval/eval_data.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/dataset_folder.h"
#include "core/error.h"

namespace microdit::eval {

torch::Tensor half_rows(const std::vector<std::uint16_t>& values, std::int64_t first, at::IntArrayRef shape) {
  std::int64_t row = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) row *= shape[i];
  auto* data = const_cast<std::uint16_t*>(values.data()) + first * row;
  return torch::from_blob(data, shape, torch::kFloat16);
}

std::unique_ptr<Split> Split::open(const RunFacts& facts, const std::string& split,
                                   const std::string& caption, std::uint64_t seed) {
  stream::StreamConfig config;
  for (const std::string& dataset : facts.datasets)
    config.sources.push_back({core::dataset_folder("latents", dataset), 0});
  config.size = facts.size;
  config.split = split;
  config.caption_sources = {caption};
  config.seed = seed;
  try {
    return std::unique_ptr<Split>(new Split(config));
  } catch (const stream::EmptySplit&) {
    return nullptr;
  }
}

Piece Split::read(std::int64_t first, std::int64_t count, bool with_captions) const {
  stream::Batch batch = stream_.read(first, count, with_captions);
  const auto& f = stream_.facts();
  return {half_rows(batch.latents, 0, {batch.count, f.channels, f.latent_size, f.latent_size})
              .to(torch::kFloat32),
          half_rows(batch.text, 0, {batch.count, f.text_length, f.text_width}).to(torch::kFloat32),
          std::move(batch.sample), std::move(batch.captions)};
}

std::vector<std::int64_t> shares(const std::vector<std::int64_t>& sizes, std::int64_t candidates,
                                 std::int64_t prompts) {
  const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  if (total <= candidates) return sizes;
  std::vector<std::int64_t> out;
  for (const std::int64_t size : sizes) {
    const double part =
        static_cast<double>(candidates) * static_cast<double>(size) / static_cast<double>(total);
    out.push_back(std::max(std::llround(part), static_cast<long long>(std::min(size, prompts))));
  }
  // The largest gives way for what rounding and small splits took.
  const auto largest = std::max_element(out.begin(), out.end());
  *largest -= std::accumulate(out.begin(), out.end(), std::int64_t{0}) - candidates;
  core::check(*largest >= prompts, "{} candidates for {} prompts of each split", candidates, prompts);
  return out;
}

}  // namespace microdit::eval
