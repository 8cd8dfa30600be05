// The optimizer's pass over the held pieces, and checkpoints of them.
#include "train/optimizer_state.h"

#include <fmt/ranges.h>
#include <torch/utils.h>

#include <algorithm>
#include <atomic>

#include "core/error.h"
#include "nn/kernels/adamw_reference.h"
#include "nn/kernels/current_stream.h"

namespace microdit::train {

OptimizerState::OptimizerState(ShardedModel& model, const Options& options)
    : model_(model), shards_(model.shards()), fused_(options.fused) {
  const auto like = torch::TensorOptions().dtype(torch::kFloat32).device(model.device());
  exp_avg_ = torch::zeros({shards_.held_total()}, like);
  exp_avg_sq_ = torch::zeros({shards_.held_total()}, like);
  plan_runs(options.roles);
  if (!options.with_ema) return;
  ema_ = torch::zeros({shards_.held_total()}, like);
  reset_ema();
}

void OptimizerState::plan_runs(const std::array<RoleFactors, nn::kRoleNames.size()>& roles) {
  for (std::size_t i = 0; i < num_buckets(); ++i) {
    const Bucket& bucket = shards_.layout().buckets()[i];
    const Piece& piece = shards_.held(i);
    for (std::size_t k = 0; k < bucket.num_placements; ++k) {
      const std::size_t number = bucket.first_placement + k;
      const Placement& place = shards_.layout().placements()[number];
      const bool is_last = k + 1 == bucket.num_placements;  // has the padding behind it
      const std::int64_t place_end =
          is_last ? bucket.offset + bucket.count : shards_.layout().placements()[number + 1].offset;
      const std::int64_t begin = std::max(place.offset, piece.offset);
      const std::int64_t end = std::min(place_end, piece.offset + piece.count);
      if (begin >= end) continue;
      const RoleFactors& factors = roles[static_cast<std::size_t>(place.role)];
      if (!runs_.empty() && runs_.back().bucket == i && runs_.back().factors == factors)
        runs_.back().count += end - begin;
      else
        runs_.push_back({i, begin - piece.offset, end - begin, factors});
    }
  }
}

torch::Tensor OptimizerState::held(const torch::Tensor& values, std::size_t bucket) const {
  return values.narrow(0, shards_.held(bucket).state_offset, shards_.held(bucket).count);
}

void OptimizerState::update_run(const Run& run, const nn::AdamWStep& step) {
  const auto state = [&](const torch::Tensor& values) {
    return values.defined() ? held(values, run.bucket).narrow(0, run.begin, run.count) : torch::Tensor();
  };
  const nn::AdamWTensors t{model_.master(run.bucket).narrow(0, run.begin, run.count),
                           model_.gradient(run.bucket).narrow(0, run.begin, run.count), state(exp_avg_),
                           state(exp_avg_sq_), state(ema_)};
  if (!fused_) return nn::adamw_reference(t, step);
  const nn::AdamWBuffers b{.weights = t.weights.data_ptr<float>(),
                           .gradients = t.gradients.data_ptr<float>(),
                           .exp_avg = t.exp_avg.data_ptr<float>(),
                           .exp_avg_sq = t.exp_avg_sq.data_ptr<float>(),
                           .ema = t.ema.defined() ? t.ema.data_ptr<float>() : nullptr,
                           .count = run.count};
  t.weights.is_cuda() ? nn::adamw_cuda(b, step, nn::current_stream(t.weights.device()))
                      : nn::adamw_cpu(b, step);
}

void OptimizerState::update(const nn::AdamWStep& step) {
  const torch::NoGradGuard no_grad;
  for (const Run& run : runs_) {
    nn::AdamWStep of_role = step;
    of_role.lr *= run.factors.lr;
    of_role.weight_decay *= run.factors.weight_decay;
    update_run(run, of_role);
  }
  model_.publish();
}

void OptimizerState::reset_ema() {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < num_buckets(); ++i) held(ema_, i).copy_(model_.master(i));
}

std::vector<checkpoint::Part> OptimizerState::parts() {
  const torch::NoGradGuard no_grad;
  std::int64_t own_count = 0;
  for (std::size_t i = 0; i < num_buckets(); ++i) own_count += shards_.own(i).count;
  // The last checkpoint's memory again, once its writer has let go of it: the page faults of fresh memory
  // take several times as long as the copying.
  if (!snapshot_.defined() || snapshot_.use_count() > 1)
    snapshot_ = torch::empty({own_count * (ema_.defined() ? 4 : 3)},
                             torch::TensorOptions().pinned_memory(model_.device().is_cuda()));
  std::atomic_thread_fence(std::memory_order_acquire);  // after the writer's last read, if it has let go
  const auto memory = std::make_shared<const torch::Tensor>(snapshot_);
  std::int64_t filled = 0;
  std::vector<checkpoint::Part> parts;
  const auto add = [&](const std::string& kind, const torch::Tensor& held_values, std::size_t bucket) {
    const Piece &own = shards_.own(bucket), &piece = shards_.held(bucket);
    snapshot_.narrow(0, filled, own.count).copy_(held_values.narrow(0, own.offset - piece.offset, own.count));
    const float* copy = snapshot_.const_data_ptr<float>() + filled;
    filled += own.count;
    for (const Placement& place : shards_.layout().placements()) {
      const std::int64_t begin = std::max(place.offset, own.offset);
      const std::int64_t end = std::min(place.offset + place.count, own.offset + own.count);
      if (begin >= end) continue;
      const std::shared_ptr<const float> first(memory, copy + (begin - own.offset));
      parts.push_back({kind + "/" + place.name,
                       place.shape,
                       begin - place.offset,
                       {first, static_cast<std::size_t>(end - begin)}});
    }
  };
  for (std::size_t i = 0; i < num_buckets(); ++i) {
    add("weights", model_.master(i), i);
    add("exp_avg", held(exp_avg_, i), i);
    add("exp_avg_sq", held(exp_avg_sq_, i), i);
    if (ema_.defined()) add("ema", held(ema_, i), i);
  }
  return parts;
}

/// Fills the held piece of `bucket` with what the source holds of `kind`.
void OptimizerState::read(const StateSource& source, const std::string& kind, std::size_t bucket,
                          const torch::Tensor& held_values) {
  const Bucket& b = shards_.layout().buckets()[bucket];
  const Piece &own = shards_.own(bucket), &piece = shards_.held(bucket);
  torch::Tensor host = torch::zeros({own.count}, torch::kFloat32);
  for (std::size_t k = b.first_placement; k < b.first_placement + b.num_placements; ++k) {
    const Placement& place = shards_.layout().placements()[k];
    const std::int64_t begin = std::max(place.offset, own.offset);
    const std::int64_t end = std::min(place.offset + place.count, own.offset + own.count);
    if (begin >= end) continue;
    source.read(kind, place.name, begin - place.offset,
                {host.data_ptr<float>() + begin - own.offset, static_cast<std::size_t>(end - begin)});
  }
  if (piece.count == own.count) {
    held_values.copy_(host);
    return;
  }
  const torch::Tensor whole = torch::empty({b.count}, held_values.options());
  whole.narrow(0, own.offset - b.offset, own.count).copy_(host);
  shards_.spread(bucket, whole);
  held_values.copy_(whole.narrow(0, piece.offset - b.offset, piece.count));
}

/// UserError unless the source holds `kind` of every parameter in its shape.
void OptimizerState::check_model(const StateSource& source, const std::string& kind) const {
  for (const Placement& place : shards_.layout().placements()) {
    const auto found = source.shape(kind, place.name);
    if (!found)
      core::user_error("{}: holds no {}/{}; it is a checkpoint of another model", source.origin(), kind,
                       place.name);
    if (*found != place.shape)
      core::user_error("{}: {}/{} has shape [{}], this model needs [{}]; it is a checkpoint of another model",
                       source.origin(), kind, place.name, fmt::join(*found, ", "),
                       fmt::join(place.shape, ", "));
  }
}

void OptimizerState::load(const StateSource& source, const Load& what) {
  const torch::NoGradGuard no_grad;
  if (!what.weights.empty()) check_model(source, what.weights);
  if (what.moments)
    for (const char* kind : {"exp_avg", "exp_avg_sq"}) check_model(source, kind);
  const auto read_all = [&](const std::string& kind, const torch::Tensor& values) {
    for (std::size_t i = 0; i < num_buckets(); ++i) read(source, kind, i, held(values, i));
  };
  if (!what.weights.empty()) {
    for (std::size_t i = 0; i < num_buckets(); ++i) read(source, what.weights, i, model_.master(i));
    model_.publish();
  }
  if (what.moments) {
    read_all("exp_avg", exp_avg_);
    read_all("exp_avg_sq", exp_avg_sq_);
  }
  if (!ema_.defined()) return;
  if (what.ema && source.shape("ema", shards_.layout().placements().front().name)) {
    check_model(source, "ema");
    read_all("ema", ema_);
  } else {
    reset_ema();
  }
}

void OptimizerState::with_average(const std::function<void()>& work) {
  if (!has_ema()) return model_.with_own_weights(work);
  model_.with_weights([&](std::size_t bucket) { return held(ema_, bucket); }, work);
}

}  // namespace microdit::train
