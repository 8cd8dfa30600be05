// Layout of the flat buffers.
#include "train/flat_layout.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "nn/state_dict.h"

namespace microdit::train {
namespace {

constexpr std::int64_t kLine = 16;  // floats in a cache line

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Block of every parameter that one block alone uses.
std::map<const void*, std::int64_t> blocks_of_parameters(const std::vector<models::BlockModules>& blocks) {
  std::map<const void*, std::int64_t> block_of;
  for (std::size_t block = 0; block < blocks.size(); ++block)
    for (const auto& module : blocks[block])
      for (const nn::DistinctParameter& one : nn::distinct_parameters(*module)) {
        const auto number = static_cast<std::int64_t>(block);
        const auto [found, is_new] = block_of.try_emplace(one.tensor.unsafeGetTensorImpl(), number);
        if (!is_new && found->second != number) found->second = -1;
      }
  return block_of;
}

/// One with several names is used in several places.
std::int64_t block_of_parameter(const std::map<const void*, std::int64_t>& block_of,
                                const nn::DistinctParameter& parameter) {
  const auto found = block_of.find(parameter.tensor.unsafeGetTensorImpl());
  return found == block_of.end() || !parameter.aliases.empty() ? -1 : found->second;
}

/// In the module's order, but a block's parameters one behind the other, from its first on.
std::vector<nn::DistinctParameter> by_blocks(const torch::nn::Module& module,
                                             const std::map<const void*, std::int64_t>& block_of) {
  std::vector<nn::DistinctParameter> named = nn::distinct_parameters(module);
  std::map<std::int64_t, std::size_t> first_of;  // block -> place of its first
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const std::int64_t block = block_of_parameter(block_of, named[i]);
    places.emplace_back(block < 0 ? i : first_of.try_emplace(block, i).first->second, i);
  }
  std::ranges::sort(places);
  std::vector<nn::DistinctParameter> ordered;
  for (const auto& [first, i] : places) ordered.push_back(std::move(named[i]));
  return ordered;
}

}  // namespace

FlatLayout::FlatLayout(const torch::nn::Module& module, const std::vector<models::BlockModules>& blocks,
                       int num_ranks, std::int64_t bucket_bytes)
    : bucket_of_block_(blocks.size()) {
  const std::map<const void*, std::int64_t> block_of = blocks_of_parameters(blocks);
  const std::int64_t unit = kLine * num_ranks;
  std::int64_t last_block = -1;
  for (const nn::DistinctParameter& item : by_blocks(module, block_of)) {
    const torch::Tensor& p = item.tensor;
    core::check(p.scalar_type() == torch::kFloat32, "parameter {} is not fp32", item.name);
    const std::int64_t block = block_of_parameter(block_of, item);
    const bool is_full = !buckets_.empty() && (total_ - buckets_.back().offset) * 4 >= bucket_bytes;
    const bool is_next = block == last_block + 1, is_same = block == last_block;
    const bool ends = is_full && (block < 0 || !is_same);
    if (buckets_.empty() || ends || (!is_same && (!is_next || last_block < 0))) {
      cut(unit);
      buckets_.push_back({.offset = total_, .first_block = block, .first_placement = placements_.size()});
    }
    Bucket& bucket = buckets_.back();
    bucket.last_block = block;
    ++bucket.num_placements;
    if (block >= 0) bucket_of_block_[static_cast<std::size_t>(block)] = buckets_.size() - 1;
    placements_.push_back({item.name, p.sizes().vec(), total_, p.numel(), nn::role_of(item.name, p)});
    parameters_.push_back(p);
    num_parameters_ += p.numel();
    total_ = round_up(total_ + p.numel(), kLine);
    last_block = block;
  }
  cut(unit);
}

/// The last bucket ends here.
void FlatLayout::cut(std::int64_t unit) {
  if (buckets_.empty()) return;
  Bucket& bucket = buckets_.back();
  bucket.count = round_up(total_ - bucket.offset, unit);
  total_ = bucket.offset + bucket.count;
}

}  // namespace microdit::train
