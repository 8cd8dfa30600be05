// The loop.
#include "train/trainer.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>

#include <cmath>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "image/encode.h"
#include "nn/state_dict.h"
#include "train/report.h"
#include "train/schedule.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

/// bf16 compute for the ops that gain from it, while it lives.
class Autocast {
 public:
  Autocast(bool on, torch::Device device) : on_(on), type_(device.type()) {
    if (!on_) return;
    at::autocast::set_autocast_dtype(type_, at::kBFloat16);
    at::autocast::set_autocast_enabled(type_, true);
  }
  ~Autocast() {
    if (!on_) return;
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, false);
  }

 private:
  bool on_;
  at::DeviceType type_;
};

/// A run folder, a checkpoint folder: the checkpoint to start from.
checkpoint::Reader open_initial(const fs::path& from, comm::Communicator& comm) {
  if (fs::exists(from / "manifest.json")) return checkpoint::Reader(from);
  if (auto latest = checkpoint::open_latest(from / "checkpoints", comm)) return std::move(*latest);
  core::user_error("init.from={}: neither a run with checkpoints, nor a checkpoint, nor a .safetensors file",
                   from.string());
}

}  // namespace

RunFolder run_folder(const LoopConfig& config) {
  return RunFolder(fs::path(config.runs) / config.name);
}

void resolve_decay_steps(LoopConfig& config) {
  if (config.schedule.decay_steps != 0) return;
  config.schedule.decay_steps = config.steps;
  const fs::path settings = run_folder(config).settings();
  if (fs::exists(settings)) {
    config.schedule.decay_steps =
        core::read_json(settings).at("schedule").at("decay_steps").get<std::int64_t>();
  }
}

Trainer::Trainer(const LoopConfig& config, RunSettings settings, TrainTask& task, torch::Device device,
                 comm::Communicator& comm, const core::StopFlag& stop)
    : config_(config),
      task_(task),
      device_(device),
      comm_(comm),
      stop_(stop),
      run_(run_folder(config)),
      picture_every_steps_(settings.picture_every_steps) {
  if (config.batch_size % comm.size() != 0) {
    core::user_error("batch_size={}: not divisible by the {} ranks", config.batch_size, comm.size());
  }
  // A first start makes its folder only when everything it starts from has been read; a later one compares
  // settings first.
  double is_first[] = {comm.rank() == 0 && !fs::exists(run_.settings()) ? 1.0 : 0.0};
  comm.all_reduce_sum(is_first);
  const auto open_run = [&] {
    run_.open(settings.json, settings.yaml, task.facts(), harmless_settings(), comm);
  };
  if (is_first[0] == 0) open_run();
  if (config.init.from.ends_with(".safetensors")) {
    nn::load_state_dict(task.module(), nn::load_tensors(config.init.from), config.init.from,
                        {"pos_embed", "mask_token"});
  }
  flat_.emplace(task.module(), comm.size(), config.bucket_mb << 20, device);
  optimizer_.emplace(*flat_, comm, config.sharding == "grad_op", config.ema.decay > 0);
  core::log_info("{}: {} parameters, {} rank(s) x {} thread(s), batch {}, {} steps, sharding {}",
                 run_.path().string(), flat_->num_parameters(), comm.size(), config.threads_per_rank,
                 config.batch_size, config.steps, config.sharding);
  resume();
  if (is_first[0] != 0) open_run();
  writer_.emplace(run_.checkpoints(), comm);
  if (comm.rank() == 0)
    metrics_.emplace(run_, completed_, config.steps, config.batch_size, config.log_every_steps);
}

void Trainer::resume() {
  auto latest = checkpoint::open_latest(run_.checkpoints(), comm_);
  if (!latest) return initialize();
  const core::Json& state = latest->state();
  optimizer_->load(*latest, {});
  completed_ = latest->step();
  updates_ = state.at("updates").get<std::int64_t>();
  skipped_in_a_row_ = state.at("skipped_in_a_row").get<std::int64_t>();
  last_checkpoint_ = completed_;
  core::log_info("resuming from {} (step {})", latest->folder().string(), completed_);
}

void Trainer::initialize() {
  const InitConfig& init = config_.init;
  if (init.from.empty() || init.from.ends_with(".safetensors")) return;
  const checkpoint::Reader reader = open_initial(init.from, comm_);
  const bool all = init.load == "all";
  optimizer_->load(
      reader,
      {.weights = init.weights == "ema" ? "ema" : "weights", .moments = init.load != "weights", .ema = all});
  if (init.load != "weights") updates_ = reader.state().at("updates").get<std::int64_t>();
  if (all) completed_ = reader.step();
  core::log_info("starting from {} (step {}, {} weights, load {})", reader.folder().string(), reader.step(),
                 init.weights, init.load);
}

int Trainer::run() {
  const std::int64_t rows = config_.batch_size / comm_.size();
  task_.module().train();
  if (completed_ < config_.steps) task_.start(completed_, comm_.rank() * rows, rows, config_.batch_size);
  last_checkpoint_time_ = std::chrono::steady_clock::now();
  while (completed_ < config_.steps && !stop_agreed_) step();
  if (last_checkpoint_ != completed_) start_checkpoint();
  if (writer_->busy()) writer_->finish(config_.checkpoint.keep_last, config_.checkpoint.keep_every);
  if (completed_ < config_.steps) {
    if (comm_.rank() == 0) write_report(run_);
    core::log_info("stopped at step {} of {} as asked; run the same command to continue", completed_,
                   config_.steps);
    return core::kRequeueMe;
  }
  close();
  return core::kDone;
}

void Trainer::step() {
  task_.next_batch();
  flat_->zero_gradients();
  const double loss_here = backward();
  const double norm2_here = optimizer_->reduce_gradients();
  const Agreement agreed = agree(norm2_here, loss_here);
  apply(agreed);
  ++completed_;
  if (writer_->busy() && agreed.durable)
    writer_->publish(config_.checkpoint.keep_last, config_.checkpoint.keep_every);
  if (completed_ % config_.checkpoint.every_steps == 0 || agreed.checkpoint_due) start_checkpoint();
  if (picture_every_steps_ > 0 && completed_ % picture_every_steps_ == 0) show_picture();
  stop_agreed_ = agreed.stop;
}

/// Forward and backward over the microbatches; gradients accumulate in fp32. Returns this rank's share of the
/// mean loss.
double Trainer::backward() {
  const std::int64_t rows = config_.batch_size / comm_.size();
  const std::int64_t micro = config_.microbatch_size == 0 ? rows : std::min(rows, config_.microbatch_size);
  double sum = 0;
  for (std::int64_t first = 0; first < rows; first += micro) {
    const Slice slice{first, std::min(micro, rows - first)};
    const double share = static_cast<double>(slice.count) / static_cast<double>(config_.batch_size);
    torch::Tensor loss;
    {
      Autocast autocast(config_.precision == "bf16", device_);
      loss = task_.loss(slice);
    }
    (loss * share).backward();
    sum += loss.item<double>() * share;
  }
  return sum;
}

Trainer::Agreement Trainer::agree(double norm2_here, double loss_here) {
  const double minutes =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - last_checkpoint_time_).count() / 60;
  const bool due = comm_.rank() == 0 && config_.checkpoint.every_minutes > 0 &&
                   minutes >= config_.checkpoint.every_minutes;
  double values[] = {norm2_here, loss_here, stop_.requested() ? 1.0 : 0.0,
                     writer_->busy() && writer_->durable_here() ? 1.0 : 0.0, due ? 1.0 : 0.0};
  comm_.all_reduce_sum(values);
  return {values[0], values[1], values[2] > 0, values[3] == comm_.size(), values[4] > 0};
}

void Trainer::apply(const Agreement& agreed) {
  const double norm = std::sqrt(agreed.norm2);
  const double lr = learning_rate(config_.optimizer, config_.schedule, completed_);
  const bool finite = std::isfinite(norm) && std::isfinite(agreed.loss);
  if (finite) {
    nn::AdamWStep step{.lr = lr,
                       .beta1 = config_.optimizer.betas[0],
                       .beta2 = config_.optimizer.betas[1],
                       .eps = config_.optimizer.eps,
                       .weight_decay = config_.optimizer.weight_decay,
                       .step = ++updates_};
    // torch's clip_grad_norm_: min(1, max_norm / (norm + 1e-6)).
    const double clip = config_.optimizer.clip_norm;
    if (clip > 0) step.gradient_scale = std::min(1.0, clip / (norm + 1e-6));
    step.ema_decay = ema_decay(config_.ema, completed_ + 1);
    optimizer_->update(step);
    skipped_in_a_row_ = 0;
  } else {
    ++skipped_in_a_row_;
  }
  if (metrics_) metrics_->step({completed_ + 1, agreed.loss, lr, norm, !finite});
  if (skipped_in_a_row_ >= config_.max_skipped_steps) {
    core::system_error(
        "step {}: the gradient has not been finite for {} steps; lower optimizer.lr or look at the data "
        "(the last checkpoint is good)",
        completed_ + 1, skipped_in_a_row_);
  }
}

core::Json Trainer::state() const {
  core::Json state;
  state["updates"] = updates_;
  state["skipped_in_a_row"] = skipped_in_a_row_;
  state["position"] = completed_ * config_.batch_size;
  state["seed"] = config_.seed;
  state["facts"] = task_.facts();
  return state;
}

void Trainer::start_checkpoint() {
  if (last_checkpoint_ == completed_) return;
  if (metrics_) metrics_->sync();
  std::vector<checkpoint::Part> parts = optimizer_->parts();
  if (comm_.rank() == 0) {
    for (const auto& item : task_.module().named_buffers()) {
      const torch::Tensor buffer = item.value().to(torch::kCPU, torch::kFloat32).contiguous();
      const float* data = buffer.data_ptr<float>();
      parts.push_back({"buffers/" + item.key(), buffer.sizes().vec(), 0,
                       std::vector<float>(data, data + buffer.numel())});
    }
  }
  writer_->start(completed_, std::move(parts), state());
  last_checkpoint_ = completed_;
  last_checkpoint_time_ = std::chrono::steady_clock::now();
}

void Trainer::show_picture() {
  ShardedOptimizer::EmaScope averaged(*optimizer_);
  if (comm_.rank() != 0) return;
  const auto picture = task_.picture(completed_);
  if (!picture) return;
  const fs::path file = run_.samples() / fmt::format("step_{:07d}.png", completed_);
  core::atomic_write(file, image::encode_png(*picture));
  metrics_->picture("samples", completed_, file, picture->height, picture->width);
  write_report(run_);
}

void Trainer::close() {
  ShardedOptimizer::EmaScope averaged(*optimizer_);
  if (comm_.rank() != 0) return;
  task_.finish(run_.path());
  write_report(run_);
  core::log_info("done: {} steps; checkpoint {}, report {}", completed_,
                 (run_.checkpoints() / checkpoint::step_name(completed_)).string(), run_.report().string());
}

}  // namespace microdit::train
