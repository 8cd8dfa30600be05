// Buffers, gathers and reductions around the blocks.
#include "train/sharded_model.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/utils/lambda_post_hook.h>
#include <torch/utils.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "nn/kernels/adamw.h"
#include "train/recomputed_block.h"

namespace microdit::train {
namespace {

double sum_of_squares(const torch::Tensor& values) {
  if (values.is_cuda()) return values.to(torch::kFloat64).square().sum().item<double>();
  return nn::sum_of_squares_cpu(values.const_data_ptr<float>(), values.numel());
}

/// Casts of weights are not kept: in a slot they are soon another block's.
class NoCastCache {
 public:
  NoCastCache() : before_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~NoCastCache() { at::autocast::set_autocast_cache_enabled(before_); }
  NoCastCache(const NoCastCache&) = delete;
  NoCastCache& operator=(const NoCastCache&) = delete;

 private:
  bool before_;
};

}  // namespace

ShardedModel::ShardedModel(Shards& shards, const Options& options)
    : shards_(shards), options_(options), parameters_(shards.layout().parameters()), side_(options.device) {
  place();
  const std::vector<Bucket>& buckets = shards_.layout().buckets();
  reduced_.resize(buckets.size());
  reducing_.resize(buckets.size());
  gathering_.resize(buckets.size());
  missing_.resize(buckets.size());
  order_.resize(buckets.size());
  std::iota(order_.rbegin(), order_.rend(), 0);
  // Blocks as their gradients come; then what only the end of the backward pass completes.
  std::ranges::stable_sort(order_, std::greater<>(), [&](std::size_t i) { return buckets[i].first_block; });
  if (!options_.full) add_hooks();
}

bool ShardedModel::is_sharded(std::size_t bucket) const {
  return options_.full && shards_.layout().buckets()[bucket].is_of_blocks();
}

torch::Tensor ShardedModel::held_part(std::size_t bucket, const torch::Tensor& whole) const {
  const Shards::Piece& held = shards_.held(bucket);
  return whole.narrow(0, held.offset - shards_.layout().buckets()[bucket].offset, held.count);
}

void ShardedModel::add_hooks() {
  const std::vector<Bucket>& buckets = shards_.layout().buckets();
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (!buckets[i].is_of_blocks()) continue;  // several blocks may add to them: complete at the end
    for (std::size_t k = 0; k < buckets[i].num_placements; ++k) {
      accumulators_.push_back(
          torch::autograd::impl::grad_accumulator(parameters_[buckets[i].first_placement + k]));
      accumulators_.back()->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
          [this, i](const torch::autograd::variable_list& outputs, const torch::autograd::variable_list&) {
            --missing_[i];
            reduce_complete();
            return outputs;
          }));
    }
  }
}

models::BlockRunner ShardedModel::block_runner() {
  return [this](std::int64_t block, const models::BlockFn& fn, const std::vector<torch::Tensor>& inputs) {
    return run(block, fn, inputs);
  };
}

bool ShardedModel::recomputes(std::int64_t block) const {
  return options_.full || (options_.recompute_every > 0 && block % options_.recompute_every == 0);
}

torch::Tensor ShardedModel::run(std::int64_t block, const models::BlockFn& fn,
                                const std::vector<torch::Tensor>& inputs) {
  if (!torch::GradMode::is_enabled()) {
    core::check(is_whole() || all_whole_, "block {} without a graph outside of with_weights", block);
    return fn(inputs);
  }
  if (block >= shards_.layout().num_blocks()) return plain(fn, inputs);  // not named by Denoiser::blocks
  side_.wait(gathering_[shards_.layout().bucket_of_block(block)]);
  if (!recomputes(block) || all_whole_) return plain(fn, inputs);
  if (!options_.full) return recomputed(fn, inputs, {});
  const auto uncached = [fn](const std::vector<torch::Tensor>& in) {
    const NoCastCache no_cache;
    return fn(in);
  };
  return recomputed(uncached, inputs,
                    {.before_forward =
                         [this, block] {
                           use_weights(shards_.layout().bucket_of_block(block));
                           fetch_beside(block, block + 1);
                         },
                     .before_backward = [this, block] { begin_backward_of(block); },
                     .after_backward = [this, block] { end_backward_of(block); }});
}

/// The bucket's weights are in their slot when the current stream comes to it.
void ShardedModel::use_weights(std::size_t bucket) {
  if (!is_sharded(bucket)) return;  // a block of others' parameters alone
  fetch(bucket);
  side_.wait(weight_slots_[slot_of_[bucket]].done);
}

void ShardedModel::fetch(std::size_t bucket) {
  if (!is_sharded(bucket)) return;
  Slot& slot = weight_slots_[slot_of_[bucket]];
  if (slot.bucket == static_cast<std::int64_t>(bucket)) return;
  slot.bucket = static_cast<std::int64_t>(bucket);
  slot.done = side_.run([&] {
    const torch::NoGradGuard no_grad;
    held_part(bucket, weights_[bucket]).copy_(masters_[bucket]);
    shards_.gather(bucket, weights_[bucket]);
  });
}

/// Sends for the bucket of block `next`, where that is another than `block`'s and in the other slot.
void ShardedModel::fetch_beside(std::int64_t block, std::int64_t next) {
  const FlatLayout& layout = shards_.layout();
  if (next < 0 || next >= layout.num_blocks()) return;
  const std::size_t here = layout.bucket_of_block(block), there = layout.bucket_of_block(next);
  if (here != there && slot_of_[here] != slot_of_[there]) fetch(there);
}

void ShardedModel::begin_backward_of(std::int64_t block) {
  const std::size_t bucket = shards_.layout().bucket_of_block(block);
  use_weights(bucket);
  fetch_beside(block, block - 1);
  if (options_.accumulates || !is_sharded(bucket)) return;
  Slot& slot = gradient_slots_[slot_of_[bucket]];
  if (slot.bucket == static_cast<std::int64_t>(bucket)) return;  // an upper block of it has begun
  side_.wait(slot.done);                                         // its last reduction
  slot.bucket = static_cast<std::int64_t>(bucket);
  whole_gradients_[bucket].zero_();
}

void ShardedModel::end_backward_of(std::int64_t block) {
  const std::size_t bucket = shards_.layout().bucket_of_block(block);
  if (is_last_ && is_sharded(bucket) && block == shards_.layout().buckets()[bucket].first_block)
    reduce(bucket);
}

void ShardedModel::begin_step() {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < gradients_.size(); ++i)
    if (!is_sharded(i) || options_.accumulates) whole_gradients_[i].zero_();
  for (Slot& slot : gradient_slots_) slot.bucket = -1;
  is_last_ = false;
}

void ShardedModel::begin_microbatch(bool is_last) {
  for (std::size_t i = 0; i < gathering_.size(); ++i)  // anything may use what lies outside of the blocks
    if (!shards_.layout().buckets()[i].is_of_blocks()) side_.wait(gathering_[i]);
  is_last_ = is_last;
  next_ = 0;
  reduced_.assign(reduced_.size(), false);
  const std::vector<Bucket>& buckets = shards_.layout().buckets();
  for (std::size_t i = 0; i < buckets.size(); ++i)
    missing_[i] = static_cast<std::int64_t>(buckets[i].num_placements);
}

/// Those that are complete, as far as all before them are.
void ShardedModel::reduce_complete() {
  if (!is_last_) return;
  for (; next_ < order_.size() && missing_[order_[next_]] == 0; ++next_) reduce(order_[next_]);
}

void ShardedModel::reduce(std::size_t bucket) {
  reduced_[bucket] = true;
  const torch::Tensor &whole = whole_gradients_[bucket], &held = gradients_[bucket];
  reducing_[bucket] = side_.run([&] {
    const torch::NoGradGuard no_grad;
    shards_.reduce(bucket, whole);
    const torch::Tensor sum = held_part(bucket, whole);
    if (sum.data_ptr() != held.data_ptr()) held.copy_(sum);
  });
  if (is_sharded(bucket) && !options_.accumulates)
    gradient_slots_[slot_of_[bucket]].done = std::move(reducing_[bucket]);
}

double ShardedModel::finish_step() {
  const torch::NoGradGuard no_grad;
  for (const std::size_t bucket : order_) {
    if (reduced_[bucket]) continue;
    if (is_sharded(bucket) && !options_.accumulates) {  // it had no part
      side_.wait(gradient_slots_[slot_of_[bucket]].done);
      whole_gradients_[bucket].zero_();
    }
    reduce(bucket);
  }
  wait_for_weights();
  for (SideStream::Done& done : reducing_) side_.wait(done);
  for (Slot& slot : gradient_slots_) side_.wait(slot.done);
  double squares = 0;
  for (std::size_t i = 0; i < gradients_.size(); ++i) squares += own_squares(i);
  return squares;
}

double ShardedModel::own_squares(std::size_t bucket) const {
  const Shards::Piece &own = shards_.own(bucket), &held = shards_.held(bucket);
  return sum_of_squares(gradients_[bucket].narrow(0, own.offset - held.offset, own.count));
}

void ShardedModel::publish() {
  for (Slot& slot : weight_slots_) {
    side_.wait(slot.done);
    slot.bucket = -1;
  }
  const std::vector<Bucket>& buckets = shards_.layout().buckets();
  const auto gather = [&](bool of_blocks) {
    for (std::size_t i = 0; i < masters_.size(); ++i) {
      if (is_sharded(i) || buckets[i].is_of_blocks() != of_blocks) continue;
      gathering_[i] = side_.run([&] {
        const torch::NoGradGuard no_grad;
        if (has_own_masters()) held_part(i, weights_[i]).copy_(masters_[i]);
        shards_.gather(i, weights_[i]);
      });
    }
  };
  gather(false);  // needed first
  gather(true);
}

/// All resident ones.
void ShardedModel::wait_for_weights() {
  for (SideStream::Done& done : gathering_) side_.wait(done);
}

void ShardedModel::with_weights(const std::function<torch::Tensor(std::size_t)>& held,
                                const std::function<void()>& work) {
  wait_for_weights();
  torch::Tensor whole;
  std::string no_memory;
  try {
    whole = torch::empty({shards_.layout().total()},
                         torch::TensorOptions().dtype(options_.compute).device(options_.device));
  } catch (const c10::Error& error) {
    no_memory = error.what_without_backtrace();
  }
  if (shards_.comm().any(!no_memory.empty()))
    core::system_error("whole other weights do not fit into memory beside the present ones{}{}",
                       no_memory.empty() ? "" : ": ", no_memory);
  const std::vector<Bucket>& buckets = shards_.layout().buckets();
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    const torch::NoGradGuard no_grad;
    const torch::Tensor values = whole.narrow(0, buckets[i].offset, buckets[i].count);
    held_part(i, values).copy_(held(i));
    shards_.gather(i, values);
    bind(i, values);
  }
  all_whole_ = true;
  const auto back = [&] {
    for (std::size_t i = 0; i < buckets.size(); ++i) bind(i, weights_[i]);
    all_whole_ = false;
  };
  try {
    work();
  } catch (...) {
    back();
    throw;
  }
  back();
}

void ShardedModel::with_own_weights(const std::function<void()>& work) {
  wait_for_weights();
  if (is_whole()) return work();
  with_weights([&](std::size_t bucket) { return masters_[bucket]; }, work);
}

}  // namespace microdit::train
