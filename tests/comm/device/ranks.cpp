// Communicators for the tests: threads that meet at a barrier, or MPI's world for the whole process.
#include "comm/device/ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <thread>

#include "comm/device_path.h"
#include "comm/rank_order_sum.h"
#include "core/log.h"
#include "core/scratch_folder.h"

namespace microdit::comm {
namespace {

/// What the threads share.
struct Meeting {
  explicit Meeting(int size) : gate(size), texts(size), buffers(size), doubles(size) {}
  std::barrier<> gate;
  std::vector<std::string> texts;
  std::vector<Buffer> buffers;
  std::vector<std::vector<double>> doubles;
  std::span<std::byte> sent;
};

class ThreadRank final : public Communicator {
 public:
  using Communicator::broadcast;
  ThreadRank(Meeting& meeting, int rank, double deadline_s)
      : meeting_(meeting), rank_(rank), watchdog_(deadline_s, rank, [](int code) { std::_Exit(code); }) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_.texts.size()); }
  int local_rank() const override { return rank_; }
  void barrier() override { meeting_.gate.arrive_and_wait(); }
  void all_reduce_sum(std::span<double> values) override {
    reduce(values, [](double a, double b) { return a + b; });
  }
  void all_reduce_max(std::span<double> values) override {
    reduce(values, [](double a, double b) { return a > b ? a : b; });
  }
  void reduce_scatter_sum(Buffer in, Buffer out) override {
    if (in.on_cuda) return device_->reduce_scatter_sum(in, out);
    meeting_.buffers[own()] = in;
    barrier();
    std::vector<const float*> pieces;
    for (const Buffer& buffer : meeting_.buffers) pieces.push_back(buffer.floats() + rank_ * out.count);
    std::vector<float> sum(static_cast<std::size_t>(out.count));
    sum_in_rank_order(pieces, out.count, sum.data());
    barrier();
    std::copy(sum.begin(), sum.end(), out.floats());
  }
  void all_gather(Buffer in, Buffer out) override {
    if (in.on_cuda) return device_->all_gather(in, out);
    meeting_.buffers[own()] = in;
    barrier();
    for (int r = 0; r < size(); ++r) {
      const std::byte* piece = meeting_.buffers[static_cast<std::size_t>(r)].bytes();
      std::byte* place = out.bytes() + r * in.num_bytes();
      if (piece != place) std::copy_n(piece, in.num_bytes(), place);
    }
    barrier();
  }
  void broadcast(std::span<std::byte> bytes, int root) override {
    if (rank_ == root) meeting_.sent = bytes;
    barrier();
    if (rank_ != root) std::copy(meeting_.sent.begin(), meeting_.sent.end(), bytes.begin());
    barrier();
  }
  std::vector<std::string> all_gather(const std::string& text) override {
    meeting_.texts[own()] = text;
    barrier();
    std::vector<std::string> all = meeting_.texts;
    barrier();
    return all;
  }
  std::unique_ptr<Communicator> split(int) override { throw std::logic_error("no test splits threads"); }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }
  void set_deadline(double seconds) override { watchdog_.set_deadline(seconds); }
  double deadline_s() const override { return watchdog_.deadline_s(); }
  void use_cuda(bool own_gpus) override { device_ = make_device_path(*this, own_gpus, watchdog_); }

 private:
  std::size_t own() const { return static_cast<std::size_t>(rank_); }
  template <class Join>
  void reduce(std::span<double> values, const Join& join) {
    meeting_.doubles[own()].assign(values.begin(), values.end());
    barrier();
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = meeting_.doubles[0][i];
      for (std::size_t r = 1; r < meeting_.doubles.size(); ++r)
        values[i] = join(values[i], meeting_.doubles[r][i]);
    }
    barrier();
  }

  Meeting& meeting_;
  const int rank_;
  Watchdog watchdog_;
  std::unique_ptr<DevicePath> device_;
};

std::unique_ptr<Communicator> the_world;

class World final : public testing::Environment {
 public:
  void SetUp() override {
    // What a test that ends its process leaves behind goes with the rest.
    setenv("TMPDIR", scratch_.path().c_str(), 1);
    if (!has_mpi()) return;
    the_world = make_communicator(60);
    core::start_log(the_world->rank());
  }
  void TearDown() override { the_world.reset(); }

 private:
  const core::ScratchFolder scratch_;
};
const auto* const registered = testing::AddGlobalTestEnvironment(new World);

}  // namespace

bool has_mpi() {
  return detect_launch().num_tasks > 1;
}

std::vector<fakes::Gpu> node_of(int count, const std::string& name) {
  std::vector<fakes::Gpu> gpus;
  for (int i = 0; i < count; ++i) gpus.push_back({.uuid = name + "/" + std::to_string(i), .pci_bus = i + 1});
  return gpus;
}

void on_ranks(const Node& node, const std::function<void(Communicator&)>& body, const Ranks& ranks) {
  if (has_mpi()) {
    fakes::plug_in(node(the_world->rank()));
    the_world->barrier();
    body(*the_world);
    the_world->use_cuda(false);  // ends what belongs to these GPUs
    return;
  }
  fakes::plug_in(node(0));
  Meeting meeting(ranks.size);
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < ranks.size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank comm(meeting, rank, ranks.deadline_s);
      body(comm);
    });
  }
}

}  // namespace microdit::comm
