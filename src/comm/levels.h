// The ranks of a job in two levels: those of a node, and those of the same place on all nodes.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace microdit::comm {

/// Rank node * per_node + place is the place-th of its node. Sums go inside the nodes first, then between them, so that a value travels over
/// the network once a node; their bits depend on (ranks, ranks per node). A level of one rank has no communicator.
class Levels {
 public:
  /// `ranks_per_node` 0: as launched, or one level where not every node has as many ranks, side by side (said in the log). Else neighbours in
  /// groups of so many count as a node. UserError where they do not divide the ranks. Collective.
  Levels(Communicator& world, std::int64_t ranks_per_node);

  Communicator& world() const { return world_; }
  /// False where there is one level because the ranks lie unevenly.
  bool are_nodes() const { return are_nodes_; }
  int nodes() const { return nodes_; }
  int per_node() const { return per_node_; }
  int node() const { return world_.rank() / per_node_; }
  int place() const { return world_.rank() % per_node_; }
  /// The ranks of this node, by place; null where it has one.
  Communicator* inside() const { return nodes_ == 1 && per_node_ > 1 ? &world_ : inside_.get(); }
  /// The ranks of this place, by node; null where there is one node.
  Communicator* across() const { return per_node_ == 1 && nodes_ > 1 ? &world_ : across_.get(); }

 private:
  Communicator& world_;
  bool are_nodes_ = true;
  int nodes_ = 1;
  int per_node_ = 1;
  std::unique_ptr<Communicator> inside_, across_;
};

}  // namespace microdit::comm
