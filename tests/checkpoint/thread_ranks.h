// Several ranks in one process: a thread each, with just the collectives that checkpoints use.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.h"
#include "core/error.h"

namespace microdit::checkpoint {

/// What the ranks share.
struct Meeting {
  explicit Meeting(int size) : gate(size), texts(static_cast<std::size_t>(size)) {}
  std::barrier<> gate;
  std::vector<std::string> texts;
  std::span<const std::byte> sent;
};

class ThreadRank final : public comm::Communicator {
 public:
  using comm::Communicator::broadcast;
  ThreadRank(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.texts.size()); }
  int local_rank() const override { return rank_; }
  void barrier() override { meeting_.gate.arrive_and_wait(); }
  void broadcast(std::span<std::byte> bytes, int root) override {
    if (rank_ == root) meeting_.sent = bytes;
    barrier();
    core::check(meeting_.sent.size() == bytes.size(), "broadcast of different sizes");
    if (rank_ != root) std::copy(meeting_.sent.begin(), meeting_.sent.end(), bytes.begin());
    barrier();
  }
  std::vector<std::string> all_gather(const std::string& text) override {
    meeting_.texts[static_cast<std::size_t>(rank_)] = text;
    barrier();
    std::vector<std::string> all = meeting_.texts;
    barrier();
    return all;
  }
  void all_gather(comm::Buffer, comm::Buffer) override { unused(); }
  void all_reduce_sum(std::span<double>) override { unused(); }
  void all_reduce_max(std::span<double>) override { unused(); }
  void reduce_scatter_sum(comm::Buffer, comm::Buffer) override { unused(); }
  std::unique_ptr<Communicator> split(int) override { unused(); }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }
  void set_deadline(double) override {}
  double deadline_s() const override { return 0; }
  void use_cuda(bool) override { unused(); }

 private:
  [[noreturn]] static void unused() { throw std::logic_error("checkpoints use no such collective"); }
  Meeting& meeting_;
  int rank_;
};

/// Runs `body` on `size` ranks; gives each rank's exception text ("" = none).
inline std::vector<std::string> on_ranks(int size, const std::function<void(comm::Communicator&)>& body) {
  Meeting meeting(size);
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank comm(meeting, rank);
      try {
        body(comm);
      } catch (const std::exception& error) {
        errors[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  threads.clear();
  return errors;
}

}  // namespace microdit::checkpoint
