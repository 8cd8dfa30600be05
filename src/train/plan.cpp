// Arithmetic of dry runs.
#include "train/plan.h"

#include <fmt/format.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>

#include "core/disk.h"
#include "nn/flop_counter.h"
#include "nn/state_dict.h"
#include "train/flat_layout.h"

namespace microdit::train {
namespace {

constexpr std::int64_t kFloat = 4, kHalf = 2;

/// Values of a bucket that a rank holds the optimizer's state of.
std::int64_t held_of(std::int64_t count, const LoopConfig& config, const Machine& machine) {
  if (config.sharding == "none") return count;
  return count / (config.scope == "node" ? machine.per_node : machine.ranks);
}

std::string bytes(std::int64_t count) {
  return core::bytes_text(static_cast<std::uint64_t>(count));
}

}  // namespace

std::string MemoryPlan::text() const {
  const auto if_any = [](std::int64_t count, const char* what) {
    return count > 0 ? fmt::format(", {} of {}", bytes(count), what) : "";
  };
  return fmt::format("{} of weights{}, {} of gradients, {} of moments{}: {} and activations", bytes(weights),
                     if_any(masters, "their fp32 masters"), bytes(gradients), bytes(moments),
                     if_any(average, "averaged weights"), bytes(total()));
}

MemoryPlan plan_memory(const torch::nn::Module& module, const std::vector<models::BlockModules>& blocks,
                       const LoopConfig& config, const Machine& machine, bool bf16_weights) {
  const FlatLayout layout(module, blocks, machine.ranks, config.bucket_mb << 20);
  const bool accumulates = config.passes(machine.ranks) > 1;
  const std::int64_t value = bf16_weights ? kHalf : kFloat;
  std::int64_t largest = 0, held_total = 0;
  MemoryPlan plan;
  for (const Bucket& bucket : layout.buckets()) {
    const bool is_sharded = config.sharding == "full" && bucket.is_of_blocks();
    const std::int64_t held = held_of(bucket.count, config, machine);
    held_total += held;
    if (is_sharded) largest = std::max(largest, bucket.count);
    if (!is_sharded) plan.weights += value * bucket.count;
    if (is_sharded || bf16_weights) plan.masters += kFloat * held;
    plan.gradients += kFloat * (is_sharded && !accumulates ? held : bucket.count);
  }
  plan.weights += 2 * value * largest;
  if (!accumulates) plan.gradients += 2 * kFloat * largest;
  plan.moments = 2 * kFloat * held_total;
  if (config.ema.decay > 0) plan.average = kFloat * held_total;
  return plan;
}

Traffic plan_traffic(std::int64_t parameters, const LoopConfig& config, const Machine& machine,
                     bool bf16_weights) {
  const double p = static_cast<double>(parameters), per_node = machine.per_node,
               nodes = static_cast<double>(machine.ranks) / per_node;
  const double inside_share = (per_node - 1) / per_node, across_share = (nodes - 1) / nodes / per_node;
  const double weight = bf16_weights ? kHalf : kFloat;
  Traffic traffic{inside_share * kFloat * p,
                  across_share * kFloat * p};  // one reduce-scatter of fp32 gradients
  const bool is_full = config.sharding == "full", is_none = config.sharding == "none";
  // Of gradients where all hold them, of weights after the update, or twice a microbatch.
  const double gathers = is_full ? 2.0 * static_cast<double>(config.passes(machine.ranks)) : 1.0;
  const double gathered = is_none ? static_cast<double>(kFloat) : weight;
  traffic.inside += gathers * inside_share * gathered * p;
  if (config.scope == "node")
    traffic.across += across_share * kFloat * p;  // the nodes tell one another their sums
  else
    traffic.across += gathers * across_share * gathered * p;
  return traffic;
}

WorkPlan plan_work(models::Denoiser& net, const models::DenoiserConfig& config, const stream::RowShape& shape,
                   double mask_ratio) {
  constexpr std::int64_t kBatch = 2;
  const std::int64_t side = shape.latent_size, rows = std::max<std::int64_t>(shape.text_length, 1);
  nn::FlopCounter counter;
  models::Condition condition;
  if (config.takes_classes()) condition.class_B = torch::zeros({kBatch}, torch::kLong);
  if (config.takes_text() && net.text_conditioner()) {
    const models::TextRows made = net.text_conditioner()->forward(torch::zeros({kBatch, rows}, torch::kLong),
                                                                  torch::ones({kBatch, rows}, torch::kBool));
    condition.text_BLD = made.rows_BLW;
    condition.text_mask_BL = made.seen_BL;
  } else if (config.takes_text()) {
    condition.text_BLD = torch::zeros({kBatch, rows, config.caption_channels});
    if (config.text_mask) condition.text_mask_BL = torch::ones({kBatch, rows}, torch::kBool);
  }
  std::optional<models::Mask> mask;
  if (mask_ratio > 0) {
    const std::int64_t patches = side / net.patch_size();
    mask = models::Mask{mask_ratio, torch::rand({kBatch, patches * patches})};
  }
  net.forward(torch::zeros({kBatch, shape.channels, side, side}), torch::ones({kBatch}), condition, mask);
  return {counter.forward() / kBatch, counter.training() / kBatch};
}

std::string roles_text(const torch::nn::Module& module) {
  std::array<std::int64_t, nn::kRoleNames.size()> counts{};
  for (const nn::DistinctParameter& one : nn::distinct_parameters(module))
    counts[static_cast<std::size_t>(nn::role_of(one.name, one.tensor))] += one.tensor.numel();
  std::string text;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0)
      text += fmt::format("{}{:.3g} M {}", text.empty() ? "" : ", ", static_cast<double>(counts[i]) / 1e6,
                          nn::kRoleNames[i]);
  return text;
}

}  // namespace microdit::train
