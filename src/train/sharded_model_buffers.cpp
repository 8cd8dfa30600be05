// The memory of a sharded model.
#include <torch/utils.h>

#include <algorithm>
#include <utility>

#include "train/sharded_model.h"

namespace microdit::train {
namespace {

/// One buffer that is given out piece by piece.
class Pieces {
 public:
  Pieces(std::int64_t count, const torch::TensorOptions& options) : buffer_(torch::zeros({count}, options)) {}
  torch::Tensor next(std::int64_t count) {
    const std::int64_t begin = std::exchange(begin_, begin_ + count);
    return buffer_.narrow(0, begin, count);
  }

 private:
  torch::Tensor buffer_;
  std::int64_t begin_ = 0;
};

}  // namespace

/// Makes the buffers and fills them with the parameters' values.
void ShardedModel::place() {
  const torch::NoGradGuard no_grad;
  const FlatLayout& layout = shards_.layout();
  const std::vector<Bucket>& buckets = layout.buckets();
  const auto fp32 = torch::TensorOptions().dtype(torch::kFloat32).device(options_.device);
  std::int64_t largest = 0, resident = 0, sharded = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (is_sharded(i)) largest = std::max(largest, buckets[i].count);
    (is_sharded(i) ? sharded : resident) += is_sharded(i) ? shards_.held(i).count : buckets[i].count;
  }
  const bool whole_gradients = !options_.full || options_.accumulates;
  const bool own_masters = has_own_masters();  // else resident weights are masters themselves
  Pieces weights(resident, fp32.dtype(options_.compute)),
      masters(own_masters ? shards_.held_total() : sharded, fp32),
      gradients(whole_gradients ? layout.total() : resident, fp32),
      gradient_shards(whole_gradients ? 0 : sharded, fp32);
  for (Slot& slot : weight_slots_) slot.values = torch::zeros({largest}, fp32.dtype(options_.compute));
  for (Slot& slot : gradient_slots_) slot.values = torch::zeros({whole_gradients ? 0 : largest}, fp32);
  std::size_t turn = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const std::int64_t count = buckets[i].count, held = shards_.held(i).count;
    slot_of_.push_back(is_sharded(i) ? turn++ % 2 : 0);
    const auto in_slot = [&](const std::array<Slot, 2>& slots) {
      return slots[slot_of_[i]].values.narrow(0, 0, count);
    };
    const bool has_whole_gradient = whole_gradients || !is_sharded(i);
    weights_.push_back(is_sharded(i) ? in_slot(weight_slots_) : weights.next(count));
    whole_gradients_.push_back(has_whole_gradient ? gradients.next(count) : in_slot(gradient_slots_));
    const torch::Tensor given = values_of(i);
    weights_[i].copy_(given);
    masters_.push_back(own_masters || is_sharded(i) ? masters.next(held) : held_part(i, weights_[i]));
    masters_[i].copy_(held_part(i, given));
    gradients_.push_back(has_whole_gradient ? held_part(i, whole_gradients_[i]) : gradient_shards.next(held));
    bind(i, weights_[i]);
    bind_gradients(i);
  }
}

/// The values that a bucket's parameters have, as they lie in it.
torch::Tensor ShardedModel::values_of(std::size_t bucket) const {
  const Bucket& b = shards_.layout().buckets()[bucket];
  torch::Tensor values =
      torch::zeros({b.count}, torch::TensorOptions().dtype(torch::kFloat32).device(options_.device));
  for (std::size_t k = b.first_placement; k < b.first_placement + b.num_placements; ++k) {
    const Placement& p = shards_.layout().placements()[k];
    values.narrow(0, p.offset - b.offset, p.count).view(p.shape).copy_(parameters_[k]);
  }
  return values;
}

void ShardedModel::bind_gradients(std::size_t bucket) {
  const Bucket& b = shards_.layout().buckets()[bucket];
  for (std::size_t k = b.first_placement; k < b.first_placement + b.num_placements; ++k) {
    const Placement& p = shards_.layout().placements()[k];
    parameters_[k].set_grad_dtype(torch::kFloat32);
    parameters_[k].mutable_grad() =
        whole_gradients_[bucket].narrow(0, p.offset - b.offset, p.count).view(p.shape);
  }
}

/// The bucket's parameters are views of `weights`.
void ShardedModel::bind(std::size_t bucket, const torch::Tensor& weights) {
  const Bucket& b = shards_.layout().buckets()[bucket];
  for (std::size_t k = b.first_placement; k < b.first_placement + b.num_placements; ++k) {
    const Placement& p = shards_.layout().placements()[k];
    parameters_[k].set_data(weights.narrow(0, p.offset - b.offset, p.count).view(p.shape));
  }
}

ShardedModel::Bytes ShardedModel::bytes() const {
  Bytes bytes;
  const auto add = [](std::int64_t& sum, const torch::Tensor& t) {
    sum += static_cast<std::int64_t>(t.nbytes());
  };
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (!is_sharded(i)) add(bytes.weights, weights_[i]);
    if (is_sharded(i) || has_own_masters()) add(bytes.masters, masters_[i]);
    add(bytes.gradients, is_sharded(i) && !options_.accumulates ? gradients_[i] : whole_gradients_[i]);
  }
  for (std::size_t s = 0; s < 2; ++s) {
    add(bytes.weights, weight_slots_[s].values);
    add(bytes.gradients, gradient_slots_[s].values);
  }
  return bytes;
}

}  // namespace microdit::train
