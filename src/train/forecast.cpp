// Dry runs of the trainings.
#include "train/forecast.h"
#include "nn/state_dict.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "core/dataset_folder.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/json.h"
#include "core/progress.h"
#include "train/advice.h"
#include "train/denoiser_task.h"
#include "train/plan.h"
#include "train/trainer.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

/// Whether a stage folder is there; says when not, and who makes it.
bool is_there(const fs::path& folder, const char* made_by) {
  if (fs::exists(folder / "manifest.jsonl")) return true;
  fmt::print("data: {} is not there yet: {}\n", folder.string(), made_by);
  return false;
}

bool all_there(const std::vector<LatentsData>& data) {
  bool all = true;
  for (const LatentsData& source : data) {
    if (!source.dataset.empty())
      all &= is_there(core::latents_folder(source.dataset, source.recipe),
                      "download, clean and precompute make it (slurm/pipeline.sh runs them in order)");
  }
  return all;
}

bool all_there(const std::vector<DataSource>& data) {
  bool all = true;
  for (const DataSource& source : data)
    all &= is_there(core::dataset_folder("samples", source.dataset), "download and clean make it");
  return all;
}

std::int64_t count_parameters(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const nn::DistinctParameter& one : nn::distinct_parameters(module)) count += one.tensor.numel();
  return count;
}

/// What is trained, as far as its data let it be built.
struct Network {
  const torch::nn::Module& module;
  std::vector<models::BlockModules> blocks{};
  bool bf16_weights = false;
  WorkPlan work{};  ///< zeros: not counted
};

// Of the table: H100 and H200 (products measured on an H200; what a well-made step reaches of them; NVLink as NCCL uses it; one 400 Gb/s card
// a GPU).
constexpr double kPeak = 790e12, kReached = 0.6, kInsideBytes_s = 370e9, kAcrossBytes_s = 45e9;
constexpr int kPerNode = 8;

std::string gb(double bytes) {
  return fmt::format("{:.2f}", bytes / 1e9);
}

/// What is sent hides behind what is computed, or the other way round.
double step_seconds(double flops, const Traffic& traffic) {
  const double compute = flops / (kPeak * kReached);
  const double talk = traffic.inside / kInsideBytes_s + traffic.across / kAcrossBytes_s;
  return std::max(compute, talk);
}

void describe_clusters(const LoopConfig& config, const Network& network, std::int64_t parameters) {
  fmt::print(
      "on GPUs, {} a node (a model, not a measurement: products at {:.0f} TFLOP/s, of which {:.0f} % are "
      "reached; {:.0f} GB/s inside a "
      "node, {:.0f} GB/s to others; what is sent hides behind what is computed):\n"
      "  {:>5}  {:>12}  {:>14}  {:>12}  {:>10}  {:>10}  {:>9}\n",
      kPerNode, kPeak / 1e12, 100 * kReached, kInsideBytes_s / 1e9, kAcrossBytes_s / 1e9, "ranks",
      "samples each", "GB of state", "GB sent", "s/step", "images/s", "GPU-hours");
  for (const int ranks : {8, 64, 512}) {
    if (config.batch_size % ranks != 0) continue;
    const Machine machine{ranks, kPerNode};
    const std::int64_t rows = config.rows(ranks);
    const MemoryPlan memory =
        plan_memory(network.module, network.blocks, config, machine, network.bf16_weights);
    const Traffic traffic = plan_traffic(parameters, config, machine, network.bf16_weights);
    const double seconds = step_seconds(network.work.training * static_cast<double>(rows), traffic);
    const std::string hours =
        config.steps.is_known()
            ? fmt::format("{:.0f}", seconds * static_cast<double>(config.steps.steps()) * ranks / 3600)
            : "";
    fmt::print("  {:>5}  {:>12}  {:>14}  {:>12}  {:>10.3f}  {:>10.0f}  {:>9}\n", ranks, rows,
               gb(static_cast<double>(memory.total())), gb(traffic.inside + traffic.across), seconds,
               static_cast<double>(config.batch_size) / seconds, hours);
  }
}

void describe_network(const LoopConfig& config, const Network& network, int ranks) {
  config.demand_shares(ranks);
  const std::int64_t parameters = count_parameters(network.module);
  fmt::print("model: {} parameters: {}\n", parameters, roles_text(network.module));
  const Machine here{ranks, config.ranks_per_node > 0 ? static_cast<int>(config.ranks_per_node) : ranks};
  if (ranks % here.per_node != 0)
    core::user_error("ranks_per_node={}: does not divide the {} ranks", here.per_node, ranks);
  fmt::print("memory of a rank: {}\n",
             plan_memory(network.module, network.blocks, config, here, network.bf16_weights).text());
  if (ranks > 1) {
    const Traffic traffic = plan_traffic(parameters, config, here, network.bf16_weights);
    fmt::print("sent by a rank and step: {} inside its node, {} to others\n",
               core::bytes_text(static_cast<std::uint64_t>(traffic.inside)),
               core::bytes_text(static_cast<std::uint64_t>(traffic.across)));
  }
  if (network.work.forward == 0) return;
  const double flops = network.work.training;
  fmt::print("work: {:.4g} GFLOP to train an image ({:.4g} forward), {:.4g} TFLOP a step\n", flops / 1e9,
             network.work.forward / 1e9, flops * static_cast<double>(config.batch_size) / 1e12);
  if (config.device == "cuda") describe_clusters(config, network, parameters);
}

/// The speed that a run's metrics end with, or 0.
double recorded_rate(const fs::path& metrics) {
  constexpr std::streamoff kTail = 4096;  // a line has about 250 bytes
  std::ifstream in(metrics, std::ios::binary | std::ios::ate);
  if (!in) return 0;
  in.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(in.tellg()) - kTail));
  double rate = 0;
  for (std::string line; std::getline(in, line);) {
    const core::Json json = core::Json::parse(line, nullptr, false);
    if (json.is_object()) rate = json.value("images_per_s", rate);
  }
  return rate;
}

/// What is left to do, and how long that takes where this run's own speed is known.
void describe_work(const LoopConfig& config, const RunFolder& run) {
  const std::vector<std::int64_t> there = visible_steps(run.checkpoints());
  const std::int64_t reached = there.empty() ? 0 : there.back();
  if (!config.steps.is_known()) {
    fmt::print("work: {}; in steps when the data are there\n", config.steps.text());
    return;
  }
  if (reached >= config.steps) {
    fmt::print("work: finished at step {}; steps={} would train {} more\n", reached, 2 * reached, reached);
    return;
  }
  const std::int64_t left = config.steps - reached;
  const double images = static_cast<double>(left) * static_cast<double>(config.batch_size);
  fmt::print("work: {} steps{}, {:.3g} images; ", left,
             reached > 0 ? fmt::format(" from {} on", reached) : "", images);
  const double rate = recorded_rate(run.metrics());
  const std::string measure =
      fmt::format("the same command with name={}_speed steps=30 logs images/s", config.name);
  if (rate > 0)
    fmt::print("{} at the {:.0f} images/s of this run's last steps\n", core::duration_text(images / rate),
               rate);
  else if (config.device == "cpu")
    fmt::print("how long is not known yet: {}\n", measure);
  else
    fmt::print("{} if it were 1,000 images/s, which nobody has measured: {}\n",
               core::duration_text(images / 1000), measure);
}

/// Shares of the batch, sizes of checkpoints and memory, free space.
void describe_loop(const LoopConfig& config, std::int64_t parameters, const comm::Communicator& comm) {
  config.demand_shares(comm.size());
  fmt::print("ranks: {} here; {} samples a rank and step, in {} pass(es) of {}; device {}, {}\n", comm.size(),
             config.rows(comm.size()), config.passes(comm.size()), config.microbatch(comm.size()),
             config.device, config.precision);
  if (config.device == "cuda")
    fmt::print("GPUs: one per rank (--gpus-per-node equal to --ntasks-per-node)\n");
  const auto cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
  if (config.device == "cpu" && config.threads_per_rank * comm.size() > cores)
    fmt::print("threads: {} ranks x {} are more than the {} cores here\n", comm.size(),
               config.threads_per_rank, cores);
  const RunFolder run = run_folder(config);
  const auto weights = static_cast<std::uint64_t>(parameters) * sizeof(float);
  const std::uint64_t checkpoint = weights * (config.ema.decay > 0 ? 4 : 3);
  const std::uint64_t kept =
      static_cast<std::uint64_t>(std::max<std::int64_t>(config.checkpoint.keep_last, 1)) + 1;
  const core::Space space = core::require_space(run.path(), "runs", checkpoint * kept);
  if (parameters > 0) {
    fmt::print("checkpoints: {} each, up to {} at a time; {} free at {}\n", core::bytes_text(checkpoint),
               kept, core::bytes_text(space.bytes), space.at.string());
  }
  describe_work(config, run);
  fmt::print("run: {}{}\n", run.path().string(),
             fs::exists(run.settings()) ? " (exists: it would go on)" : "");
}

}  // namespace

void describe_training(TrainConfig& config, comm::Communicator& comm, const core::StopFlag& stop) {
  if (comm.rank() != 0) return;
  std::int64_t parameters = 0;
  if (all_there(config.data)) {
    const auto alone = comm::make_local_communicator();
    DenoiserTask task(config, torch::kCPU, *alone, stop);
    if (config.sampling.every_steps > 0) task.prepare_pictures(*alone, stop);
    if (config.validation.every_steps > 0) task.prepare_validation(*alone);
    parameters = count_parameters(task.module());
    describe_network(config.loop,
                     {task.module(), task.blocks(),
                      config.loop.precision == "bf16" && task.takes_bf16_weights(), task.work()},
                     comm.size());
  }
  describe_loop(config.loop, parameters, comm);
  fmt::print("dry run: nothing was written\n");
}

void describe_codec_training(CodecConfig& config, comm::Communicator& comm, const core::StopFlag&) {
  if (comm.rank() != 0) return;
  encoders::Autoencoder net(config.codec);
  if (config.size % net.downscale() != 0)
    core::user_error("size={}: not divisible by the codec's downscale {}", config.size, net.downscale());
  if (all_there(config.data)) CodecTask(config, torch::kCPU);
  describe_network(config.loop, {net}, comm.size());
  describe_loop(config.loop, count_parameters(net), comm);
  fmt::print("dry run: nothing was written\n");
}

}  // namespace microdit::train
