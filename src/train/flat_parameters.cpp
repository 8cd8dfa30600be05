// Layout of the flat buffers.
#include "train/flat_parameters.h"

#include <torch/utils.h>

#include "core/error.h"
#include "nn/state_dict.h"

namespace microdit::train {
namespace {

constexpr std::int64_t kLine = 16;  // floats in a cache line

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

FlatParameters::FlatParameters(torch::nn::Module& module, int num_ranks, std::int64_t bucket_bytes,
                               torch::Device device) {
  const std::vector<nn::DistinctParameter> named = nn::distinct_parameters(module);
  const std::int64_t unit = kLine * num_ranks;
  std::int64_t at = 0;
  Bucket bucket;
  for (const nn::DistinctParameter& item : named) {
    const torch::Tensor& p = item.tensor;
    core::check(p.scalar_type() == torch::kFloat32, "parameter {} is not fp32", item.name);
    placements_.push_back({item.name, p.sizes().vec(), at, p.numel()});
    num_parameters_ += p.numel();
    at = round_up(at + p.numel(), kLine);
    if ((at - bucket.offset) * static_cast<std::int64_t>(sizeof(float)) >= bucket_bytes) {
      at = bucket.offset + round_up(at - bucket.offset, unit);
      bucket.count = at - bucket.offset;
      buckets_.push_back(bucket);
      bucket = {at, 0};
    }
  }
  if (at > bucket.offset) {
    at = bucket.offset + round_up(at - bucket.offset, unit);
    bucket.count = at - bucket.offset;
    buckets_.push_back(bucket);
  }
  const auto options = torch::TensorOptions().dtype(torch::kFloat32).device(device);
  weights_ = torch::zeros({at}, options);
  gradients_ = torch::zeros({at}, options);
  torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < placements_.size(); ++i) {
    const Placement& place = placements_[i];
    torch::Tensor p = named[i].tensor;
    torch::Tensor view = weights_.narrow(0, place.offset, place.count).view(place.shape);
    view.copy_(p);
    p.set_data(view);
    p.mutable_grad() = gradients_.narrow(0, place.offset, place.count).view(place.shape);
  }
}

}  // namespace microdit::train
