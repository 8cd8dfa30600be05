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
  if (config.batch_size % comm.size() != 0)
    core::user_error("batch_size={}: not divisible by the {} ranks", config.batch_size, comm.size());
  const std::int64_t rows = config.batch_size / comm.size();
  const std::int64_t micro = config.microbatch_size == 0 ? rows : std::min(rows, config.microbatch_size);
  fmt::print("ranks: {} here; {} samples a rank and step, in {} pass(es) of {}; device {}, {}\n", comm.size(),
             rows, (rows + micro - 1) / micro, micro, config.device, config.precision);
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
    const std::uint64_t state = checkpoint - weights;
    const auto pieces = static_cast<std::uint64_t>(config.sharding == "none" ? 1 : comm.size());
    fmt::print(
        "model: {:.1f} M parameters; a rank holds {} of weights and gradients and {} of optimizer state "
        "(activations "
        "come on top; microbatch_size sets them)\n",
        static_cast<double>(parameters) / 1e6, core::bytes_text(2 * weights),
        core::bytes_text(state / pieces));
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
  describe_loop(config.loop, count_parameters(net), comm);
  fmt::print("dry run: nothing was written\n");
}

}  // namespace microdit::train
