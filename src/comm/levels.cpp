// Who is on which node.
#include "comm/levels.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::comm {
namespace {

/// Ranks on every node, where all have as many, side by side; else 0.
int launched_per_node(Communicator& world) {
  const std::vector<std::string> hosts = world.all_gather(core::host_name() + " " + core::boot_id());
  const auto first = static_cast<std::size_t>(std::ranges::count(hosts, hosts.front()));
  if (hosts.size() % first != 0) return 0;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    const std::string& of_node = hosts[rank / first * first];
    if (hosts[rank] != of_node || static_cast<std::size_t>(std::ranges::count(hosts, of_node)) != first)
      return 0;
  }
  return static_cast<int>(first);
}

}  // namespace

Levels::Levels(Communicator& world, std::int64_t ranks_per_node) : world_(world) {
  const int ranks = world.size();
  if (ranks_per_node > 0 && ranks % ranks_per_node != 0)
    core::user_error("ranks_per_node={}: does not divide the {} ranks; leave it out (as launched)",
                     ranks_per_node, ranks);
  per_node_ = ranks_per_node > 0 ? static_cast<int>(ranks_per_node) : launched_per_node(world);
  if (per_node_ == 0) {
    core::log_warn(
        "the {} ranks are not as many on every node, side by side: sums go through the network without a "
        "level "
        "inside the nodes; start equally many on each (--ntasks-per-node, --distribution=block)",
        ranks);
    per_node_ = ranks;
    are_nodes_ = false;
  }
  nodes_ = ranks / per_node_;
  if (nodes_ == 1 || per_node_ == 1) return;
  inside_ = world.split(node());
  across_ = world.split(place());
}

}  // namespace microdit::comm
