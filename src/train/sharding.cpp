// Collectives and the optimizer pass over flat buffers.
#include "train/sharding.h"

#include <fmt/ranges.h>
#include <torch/utils.h>

#include <algorithm>
#include <atomic>

#include "core/error.h"
#include "nn/kernels/adamw_reference.h"

namespace microdit::train {
namespace {

comm::FloatBuffer buffer(const torch::Tensor& tensor, std::int64_t offset, std::int64_t count, void* stream) {
  return {tensor.data_ptr<float>() + offset, count, tensor.is_cuda(), stream};
}

double sum_of_squares(const torch::Tensor& values, std::int64_t offset, std::int64_t count) {
  if (values.is_cuda())
    return values.narrow(0, offset, count).to(torch::kFloat64).square().sum().item<double>();
  return nn::sum_of_squares_cpu(values.data_ptr<float>() + offset, count);
}

}  // namespace

ShardedOptimizer::ShardedOptimizer(FlatParameters& flat, comm::Communicator& comm, const Options& options)
    : flat_(flat), comm_(comm), shard_state_(options.shard_state), fused_(options.fused) {
  std::int64_t state_count = 0;
  std::int64_t largest = 0;
  for (const Bucket& bucket : flat.buckets()) {
    own_.push_back(own_piece(bucket));
    Piece held = shard_state_ ? own_.back() : Piece{bucket.offset, 0, bucket.count};
    held.state_offset = state_count;
    state_count += held.count;
    held_.push_back(held);
    largest = std::max(largest, own_.back().count);
  }
  const auto like_weights = flat.weights().options();
  exp_avg_ = torch::zeros({state_count}, like_weights);
  exp_avg_sq_ = torch::zeros({state_count}, like_weights);
  if (comm.size() > 1) reduced_ = torch::empty({largest}, like_weights);
  if (!options.with_ema) return;
  ema_ = torch::zeros({state_count}, like_weights);
  reset_ema();
}

ShardedOptimizer::Piece ShardedOptimizer::own_piece(const Bucket& bucket) const {
  const std::int64_t count = bucket.count / comm_.size();
  return {bucket.offset + comm_.rank() * count, 0, count};
}

double ShardedOptimizer::reduce_gradients() {
  torch::Tensor& gradients = flat_.gradients();
  double norm2 = 0;
  for (std::size_t i = 0; i < own_.size(); ++i) {
    const Bucket& bucket = flat_.buckets()[i];
    const Piece& own = own_[i];
    if (comm_.size() > 1) {
      comm_.reduce_scatter_sum(buffer(gradients, bucket.offset, bucket.count, stream()),
                               buffer(reduced_, 0, own.count, stream()));
      gradients.narrow(0, own.flat_offset, own.count).copy_(reduced_.narrow(0, 0, own.count));
      if (!shard_state_) {
        comm_.all_gather(buffer(gradients, own.flat_offset, own.count, stream()),
                         buffer(gradients, bucket.offset, bucket.count, stream()));
      }
    }
    norm2 += sum_of_squares(gradients, own.flat_offset, own.count);
  }
  return norm2;
}

void ShardedOptimizer::update_piece(const Piece& held, const nn::AdamWStep& step) {
  const auto flat = [&](const torch::Tensor& values) {
    return values.narrow(0, held.flat_offset, held.count);
  };
  const auto state = [&](const torch::Tensor& values) {
    return values.defined() ? values.narrow(0, held.state_offset, held.count) : torch::Tensor();
  };
  const nn::AdamWTensors t{flat(flat_.weights()), flat(flat_.gradients()), state(exp_avg_),
                           state(exp_avg_sq_), state(ema_)};
  if (!fused_) return nn::adamw_reference(t, step);
  const nn::AdamWBuffers b{.weights = t.weights.data_ptr<float>(),
                           .gradients = t.gradients.data_ptr<float>(),
                           .exp_avg = t.exp_avg.data_ptr<float>(),
                           .exp_avg_sq = t.exp_avg_sq.data_ptr<float>(),
                           .ema = t.ema.defined() ? t.ema.data_ptr<float>() : nullptr,
                           .count = held.count};
  t.weights.is_cuda() ? nn::adamw_cuda(b, step, stream()) : nn::adamw_cpu(b, step);
}

void ShardedOptimizer::update(const nn::AdamWStep& step) {
  for (std::size_t i = 0; i < held_.size(); ++i) {
    const Piece& held = held_[i];
    update_piece(held, step);
    if (shard_state_ && comm_.size() > 1) {
      const Bucket& bucket = flat_.buckets()[i];
      comm_.all_gather(buffer(flat_.weights(), held.flat_offset, held.count, stream()),
                       buffer(flat_.weights(), bucket.offset, bucket.count, stream()));
    }
  }
}

void ShardedOptimizer::reset_ema() {
  torch::NoGradGuard no_grad;
  for (const Piece& held : held_) {
    ema_.narrow(0, held.state_offset, held.count)
        .copy_(flat_.weights().narrow(0, held.flat_offset, held.count));
  }
}

void ShardedOptimizer::gather(torch::Tensor& flat_values, const torch::Tensor& state) {
  for (std::size_t i = 0; i < held_.size(); ++i) {
    const Piece& held = held_[i];
    flat_values.narrow(0, held.flat_offset, held.count).copy_(state.narrow(0, held.state_offset, held.count));
    if (shard_state_ && comm_.size() > 1) {
      const Bucket& bucket = flat_.buckets()[i];
      comm_.all_gather(buffer(flat_values, held.flat_offset, held.count, stream()),
                       buffer(flat_values, bucket.offset, bucket.count, stream()));
    }
  }
}

std::vector<checkpoint::Part> ShardedOptimizer::parts() {
  std::int64_t own_count = 0;
  for (const Piece& own : own_) own_count += own.count;
  // The last checkpoint's memory again, once its writer has let go of it: the page faults of fresh memory
  // take several times as long as the copying.
  if (!snapshot_.defined() || snapshot_.use_count() > 1)
    snapshot_ = torch::empty({own_count * (ema_.defined() ? 4 : 3)},
                             torch::TensorOptions().pinned_memory(flat_.weights().is_cuda()));
  std::atomic_thread_fence(std::memory_order_acquire);  // after the writer's last read, if it has let go
  const auto held = std::make_shared<const torch::Tensor>(snapshot_);
  std::int64_t filled = 0;
  std::vector<checkpoint::Part> parts;
  const auto add = [&](const std::string& kind, const torch::Tensor& values, const Piece& own,
                       std::int64_t offset) {
    snapshot_.narrow(0, filled, own.count).copy_(values.narrow(0, offset, own.count));
    const float* copy = snapshot_.const_data_ptr<float>() + filled;
    filled += own.count;
    for (const Placement& place : flat_.placements()) {
      const std::int64_t begin = std::max(place.offset, own.flat_offset);
      const std::int64_t end = std::min(place.offset + place.count, own.flat_offset + own.count);
      if (begin >= end) continue;
      const std::shared_ptr<const float> first(held, copy + (begin - own.flat_offset));
      parts.push_back({kind + "/" + place.name,
                       place.shape,
                       begin - place.offset,
                       {first, static_cast<std::size_t>(end - begin)}});
    }
  };
  for (std::size_t i = 0; i < own_.size(); ++i) {
    const Piece& own = own_[i];
    const std::int64_t in_state = own.flat_offset - held_[i].flat_offset + held_[i].state_offset;
    add("weights", flat_.weights(), own, own.flat_offset);
    add("exp_avg", exp_avg_, own, in_state);
    add("exp_avg_sq", exp_avg_sq_, own, in_state);
    if (ema_.defined()) add("ema", ema_, own, in_state);
  }
  return parts;
}

template <class OffsetOf>
void ShardedOptimizer::copy_in(const checkpoint::Reader& reader, const std::string& kind,
                               const std::vector<Piece>& pieces, const OffsetOf& offset_of,
                               torch::Tensor& values) {
  for (const Piece& piece : pieces) {
    torch::Tensor host = torch::zeros({piece.count}, torch::kFloat32);
    for (const Placement& place : flat_.placements()) {
      const std::int64_t begin = std::max(place.offset, piece.flat_offset);
      const std::int64_t end = std::min(place.offset + place.count, piece.flat_offset + piece.count);
      if (begin >= end) continue;
      reader.read(
          kind + "/" + place.name, begin - place.offset,
          {host.data_ptr<float>() + begin - piece.flat_offset, static_cast<std::size_t>(end - begin)});
    }
    values.narrow(0, offset_of(piece), piece.count).copy_(host);
  }
}

/// UserError unless `reader` holds `kind` of every parameter in its shape.
void ShardedOptimizer::check_model(const checkpoint::Reader& reader, const std::string& kind) const {
  for (const Placement& place : flat_.placements()) {
    const std::string name = kind + "/" + place.name;
    const auto found = reader.tensors().find(name);
    if (found == reader.tensors().end()) {
      core::user_error("{}: holds no {}; it is a checkpoint of another model", reader.folder().string(),
                       name);
    }
    if (found->second != place.shape) {
      core::user_error("{}: {} has shape [{}], this model needs [{}]; it is a checkpoint of another model",
                       reader.folder().string(), name, fmt::join(found->second, ", "),
                       fmt::join(place.shape, ", "));
    }
  }
}

// Each rank reads its own pieces alone; the ranks then tell one another. R ranks read a checkpoint once, not R times.
void ShardedOptimizer::load(const checkpoint::Reader& reader, const Load& what) {
  torch::NoGradGuard no_grad;
  check_model(reader, what.weights);
  copy_in(
      reader, what.weights, own_, [](const Piece& piece) { return piece.flat_offset; }, flat_.weights());
  for (std::size_t i = 0; i < own_.size() && comm_.size() > 1; ++i) {
    const Bucket& bucket = flat_.buckets()[i];
    comm_.all_gather(buffer(flat_.weights(), own_[i].flat_offset, own_[i].count, stream()),
                     buffer(flat_.weights(), bucket.offset, bucket.count, stream()));
  }
  const auto in_state = [](const Piece& piece) { return piece.state_offset; };
  if (what.moments) {
    copy_in(reader, "exp_avg", held_, in_state, exp_avg_);
    copy_in(reader, "exp_avg_sq", held_, in_state, exp_avg_sq_);
  }
  if (!ema_.defined()) return;
  if (what.ema && reader.has("ema/" + flat_.placements().front().name)) {
    copy_in(reader, "ema", held_, in_state, ema_);
  } else {
    reset_ema();
  }
}

void ShardedOptimizer::swap_in_average() {
  if (!has_ema()) return;
  torch::NoGradGuard no_grad;
  std::string no_memory;
  try {
    kept_ = flat_.weights().clone();
  } catch (const c10::Error& error) {
    no_memory = error.what_without_backtrace();
  }
  if (comm_.any(!no_memory.empty())) {
    kept_.reset();
    core::system_error("the averaged weights do not fit into memory beside the others{}{}",
                       no_memory.empty() ? "" : ": ", no_memory);
  }
  gather(flat_.weights(), ema_);
}

void ShardedOptimizer::swap_out_average() {
  if (!kept_.defined()) return;
  torch::NoGradGuard no_grad;
  flat_.weights().copy_(kept_);
  kept_.reset();
}

}  // namespace microdit::train
