// How long a checkpoint of the demonstration's training (weights, two moments, EMA) keeps the training
// waiting: copying and handing over, then agreeing and renaming once the background write is durable. Prints,
// per checkpoint, the milliseconds of both and of the whole. Usage: checkpoint_bench FOLDER [checkpoints]
// [config]
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "demonstration_model.h"
#include "train/sharded_training.h"

namespace {

using namespace microdit;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: checkpoint_bench FOLDER [checkpoints] [config]\n");
    return 2;
  }
  const int checkpoints = argc > 2 ? std::atoi(argv[2]) : 1;
  const auto net =
      models::make_denoiser(bench::demonstration_model(argc > 3 ? argv[3] : "configs/models/emoji.yaml"), 1);
  const auto comm = comm::make_local_communicator();
  train::ShardedTraining training(*net, net->blocks(), *comm, {.optimizer = {.with_ema = true}});
  checkpoint::Writer writer(argv[1], *comm);
  for (int step = 1; step <= checkpoints; ++step) {
    // As while training goes on: the old checkpoint is deleted meanwhile.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const auto begin = Clock::now();
    writer.start(step, training.optimizer.parts(), {});
    const double start_ms = ms_since(begin);
    while (!writer.durable_here()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto durable = Clock::now();
    writer.publish({1, 0});
    fmt::print("{:.3f} {:.3f} {:.3f}\n", start_ms, ms_since(durable), ms_since(begin));
  }
}
