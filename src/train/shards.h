// Who holds which piece of the training's state, and how pieces meet.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/levels.h"
#include "train/flat_layout.h"

namespace microdit::train {

/// Every rank owns 1/R of each bucket: for the norm, and for what is written once. It holds the state of its own piece (`grad_op`, `full`), of
/// its node's ranks of the same place together (their scope `node`: state is sharded inside a node and replicated across nodes), or
/// of all (`none`). The sums, and so all bits, are the same for each.
class Shards {
 public:
  struct Piece {
    std::int64_t offset = 0;  ///< in the flat buffers
    std::int64_t count = 0;
    std::int64_t state_offset = 0;  ///< held pieces: one behind the other
  };
  /// `sharding`: none | grad_op | full; `scope`: world | node. Collective.
  Shards(const FlatLayout& layout, comm::Communicator& comm, const std::string& sharding,
         const std::string& scope, std::int64_t ranks_per_node);

  const FlatLayout& layout() const { return layout_; }
  comm::Communicator& comm() const { return levels_.world(); }
  const comm::Levels& levels() const { return levels_; }
  const Piece& own(std::size_t bucket) const { return own_[bucket]; }
  const Piece& held(std::size_t bucket) const { return held_[bucket]; }
  std::int64_t held_total() const { return held_total_; }

  // `whole_N`: a bucket's values, on this rank's device; the collectives work in it. On the current stream.

  /// The held piece becomes the sum over ranks (fp32); what lies elsewhere is lost.
  void reduce(std::size_t bucket, const torch::Tensor& whole_N);
  /// From the ranks' held pieces all become whole.
  void gather(std::size_t bucket, const torch::Tensor& whole_N);
  /// From the ranks' own pieces their held ones become whole.
  void spread(std::size_t bucket, const torch::Tensor& whole_N);
  /// Seconds that this thread was in them since the last call: on the CPU all of it, waiting for other ranks too; of a GPU only what
  /// enqueueing took.
  double take_seconds() { return std::exchange(seconds_, 0.0); }

 private:
  /// A bucket as the two levels cut it: `inside` pieces, each of which the nodes cut again.
  struct Cut {
    std::int64_t node_offset, node_count;  ///< the piece of this place, within the bucket
    std::int64_t own_offset, own_count;    ///< this rank's part of it
  };
  Cut cut(std::size_t bucket) const;
  void gather_across(const Cut& cut, const torch::Tensor& whole_N);
  void gather_inside(const Cut& cut, const torch::Tensor& whole_N);

  void do_spread(const Cut& cut, const torch::Tensor& whole_N);

  enum class Held { own, node, all };

  const FlatLayout& layout_;
  comm::Levels levels_;
  Held held_by_;
  std::vector<Piece> own_, held_;
  std::int64_t held_total_ = 0;
  double seconds_ = 0;
};

}  // namespace microdit::train
