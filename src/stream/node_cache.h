// Copies of shards on a disk of this node, made in the background in the order in which they are first read. The order of the
// samples does not know of them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

namespace microdit::stream {

/// Several processes of a node share a folder. Once it is full nothing more is copied: every shard of an epoch is read equally
/// often, so none is better to have than another.
class NodeCache {
 public:
  /// UserError when the folder cannot be made or written. `max_bytes` counts everything in it.
  NodeCache(std::filesystem::path folder, std::uint64_t max_bytes);
  ~NodeCache();
  NodeCache(const NodeCache&) = delete;

  /// The finished copy, if there is one of this size.
  std::optional<std::filesystem::path> find(const std::string& name, std::uint64_t bytes) const;
  /// Asks for a copy of `from`; returns at once. True while one may come.
  bool want(const std::filesystem::path& from, const std::string& name, std::uint64_t bytes);
  /// Removes a copy that gave wrong bytes; it is not made again by this process.
  void forget(const std::string& name);

 private:
  struct Wish {
    std::filesystem::path from;
    std::string name;
    std::uint64_t bytes;
  };
  void work();
  void copy(const Wish& wish);
  bool stopped();

  const std::filesystem::path folder_;
  const std::uint64_t max_bytes_;
  std::mutex lock_;
  std::condition_variable wanted_;
  std::deque<Wish> wishes_;
  std::set<std::string> asked_;    ///< also those that will never be copied
  std::set<std::string> pending_;  ///< asked for, and neither copied nor given up
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace microdit::stream
