// Pieces and their collectives.
#include "train/shards.h"

#include <chrono>

#include "core/error.h"
#include "core/progress.h"
#include "nn/kernels/current_stream.h"
#include "nn/state_dict.h"

namespace microdit::train {
namespace {

comm::Buffer part(const torch::Tensor& values, std::int64_t offset, std::int64_t count) {
  auto* const first = static_cast<std::byte*>(values.data_ptr()) + offset * values.element_size();
  return {first, count, values.is_cuda(), nn::current_stream(values.device()),
          nn::from_torch(values.scalar_type())};
}

/// Adds the seconds that it lives.
class Timed {
 public:
  explicit Timed(double& seconds) : seconds_(seconds) {}
  ~Timed() { seconds_ += core::seconds_since(begin_); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace

Shards::Shards(const FlatLayout& layout, comm::Communicator& comm, const std::string& sharding,
               const std::string& scope, std::int64_t ranks_per_node)
    : layout_(layout),
      levels_(comm, ranks_per_node),
      held_by_(sharding == "none" ? Held::all
               : scope == "node"  ? Held::node
                                  : Held::own) {
  if (held_by_ == Held::node && !levels_.are_nodes())
    core::user_error(
        "scope=node: not every node has as many ranks, side by side; start equally many on each "
        "(--ntasks-per-node, --distribution=block), or say scope=world");
  for (std::size_t i = 0; i < layout.buckets().size(); ++i) {
    const Bucket& bucket = layout.buckets()[i];
    const Cut c = cut(i);
    own_.push_back({bucket.offset + c.own_offset, c.own_count});
    held_.push_back(held_by_ == Held::all    ? Piece{bucket.offset, bucket.count}
                    : held_by_ == Held::node ? Piece{bucket.offset + c.node_offset, c.node_count}
                                             : own_.back());
    held_.back().state_offset = held_total_;
    held_total_ += held_.back().count;
  }
}

Shards::Cut Shards::cut(std::size_t bucket) const {
  const std::int64_t count = layout_.buckets()[bucket].count;
  const std::int64_t node_count = count / levels_.per_node(), own_count = node_count / levels_.nodes();
  const std::int64_t node_offset = levels_.place() * node_count;
  return {node_offset, node_count, node_offset + levels_.node() * own_count, own_count};
}

void Shards::reduce(std::size_t bucket, const torch::Tensor& whole) {
  const Timed timed(seconds_);
  const Cut c = cut(bucket);
  if (comm::Communicator* inside = levels_.inside())
    inside->reduce_scatter_sum(part(whole, 0, whole.numel()), part(whole, c.node_offset, c.node_count));
  if (comm::Communicator* across = levels_.across())
    across->reduce_scatter_sum(part(whole, c.node_offset, c.node_count),
                               part(whole, c.own_offset, c.own_count));
  do_spread(c, whole);
}

void Shards::gather(std::size_t bucket, const torch::Tensor& whole) {
  const Timed timed(seconds_);
  if (held_by_ == Held::all) return;
  const Cut c = cut(bucket);
  if (held_by_ == Held::own) gather_across(c, whole);
  gather_inside(c, whole);
}

void Shards::spread(std::size_t bucket, const torch::Tensor& whole) {
  const Timed timed(seconds_);
  do_spread(cut(bucket), whole);
}

void Shards::do_spread(const Cut& c, const torch::Tensor& whole) {
  if (held_by_ == Held::own) return;
  gather_across(c, whole);
  if (held_by_ == Held::all) gather_inside(c, whole);
}

void Shards::gather_across(const Cut& c, const torch::Tensor& whole) {
  if (comm::Communicator* across = levels_.across())
    across->all_gather(part(whole, c.own_offset, c.own_count), part(whole, c.node_offset, c.node_count));
}

void Shards::gather_inside(const Cut& c, const torch::Tensor& whole) {
  if (comm::Communicator* inside = levels_.inside())
    inside->all_gather(part(whole, c.node_offset, c.node_count), part(whole, 0, whole.numel()));
}

}  // namespace microdit::train
