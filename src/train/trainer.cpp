// The loop.
#include "train/trainer.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cmath>
#include <utility>

#include "core/atomic_file.h"
#include "core/device_fault.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "image/encode.h"
#include "nn/autocast.h"
#include "nn/state_dict.h"
#include "train/advice.h"
#include "train/report.h"
#include "train/schedule.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

void report_or_warn(const fs::path& run) {
  try {
    write_report(RunFolder(run));
  } catch (const std::exception& error) {
    core::log_warn("report: {}", error.what());
  }
}

double gpu_memory_gb(torch::Device device) {
  if (!device.is_cuda()) return 0;
  const auto stats = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return static_cast<double>(stats.allocated_bytes[0].peak) / 1e9;  // [0]: all sizes together
}

}  // namespace

int Trainer::run() {
  const std::int64_t rows = config_.batch_size / comm_.size();
  task_.module().train();
  if (!is_over()) task_.start(completed_, comm_.rank() * rows, rows, config_.batch_size);
  last_checkpoint_time_ = std::chrono::steady_clock::now();
  if (last_checkpoint_ == best_.best_step()) lead_to_best(last_checkpoint_);
  validate_if_due();
  while (!is_over() && !stop_agreed_) step();
  if (stop_agreed_ && !is_over()) core::log_info("asked to stop: saving step {}", completed_);
  final_checkpoint();
  if (report_.valid()) report_.wait();
  if (!is_over() && comm_.rank() == 0) report_or_warn(run_.path());
  if (!is_over() || !close()) {
    core::log_info("stopped at step {} of {} as asked; continue with: {}", completed_, config_.steps.steps(),
                   command_with(life_, {}));
    return core::kRequeueMe;
  }
  const bool diverged = metrics_ && metrics_->watch().diverged();
  if (completed_ < config_.steps)
    core::log_info(
        "ended early: no validation was better than step {}'s ({:.5f}) in {} (validation.patience)",
        best_.best_step(), best_.best(), best_.without_better());
  core::log_info("done: {} steps{}; checkpoint {}, report {}", completed_,
                 diverged ? ", but " + metrics_->watch().text() : "",
                 (run_.checkpoints() / checkpoint::step_name(completed_)).string(), run_.report().string());
  core::log_info("continue with: {}", completed_ < config_.steps
                                          ? command_with(life_, {"validation.patience=0"})
                                      : rate_ends(config_.schedule, 2 * completed_)
                                          ? branch_command(life_, run_, completed_, 2 * completed_)
                                          : continue_command(life_, run_, 2 * completed_));
  return core::kDone;
}

void Trainer::step() {
  const auto begin = std::chrono::steady_clock::now();
  task_.next_batch();
  wait_s_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  flat_->zero_gradients();
  const double loss_here = backward();
  const double norm2_here = optimizer_->reduce_gradients();
  const Agreement agreed = agree(norm2_here, loss_here);
  apply(agreed);
  ++completed_;
  if (writer_->busy() && agreed.durable) or_warn("written", &Trainer::publish_checkpoint);
  if (!agreed.stop) validate_if_due();  // before the checkpoint, which then holds what was found
  if (stop_agreed_) return;
  const bool due = completed_ % config_.checkpoint.every_steps == 0 || agreed.checkpoint_due;
  if (due && last_checkpoint_ != completed_) {
    if (writer_->busy()) or_warn("written", &Trainer::publish_checkpoint);
    or_warn("begun", &Trainer::start_checkpoint);
  }
  const std::int64_t pictures = cadences_.picture_every_steps;
  if (pictures > 0 && (completed_ % pictures == 0 || completed_ == config_.steps) && !agreed.stop)
    show_picture();
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
      const nn::Autocast autocast(config_.precision == "bf16", device_);
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
  double values[] = {norm2_here,
                     loss_here,
                     stop_.requested() ? 1.0 : 0.0,
                     writer_->busy() && writer_->durable_here() ? 1.0 : 0.0,
                     due ? 1.0 : 0.0,
                     static_cast<double>(task_.num_bad_rows())};
  comm_.all_reduce_sum(values);
  return {values[0],     values[1],
          values[2] > 0, values[3] == comm_.size(),
          values[4] > 0, static_cast<std::int64_t>(values[5])};
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
  if (metrics_) {
    metrics_->step({.step = completed_ + 1,
                    .loss = agreed.loss,
                    .lr = lr,
                    .grad_norm = norm,
                    .wait_s = wait_s_,
                    .gpu_memory_gb = gpu_memory_gb(device_),
                    .bad_rows = agreed.bad_rows,
                    .skipped = !finite});
  }
  if (skipped_in_a_row_ > config_.max_skipped_steps) {
    const std::string begin = last_checkpoint_ < 0
                                  ? ""
                                  : fmt::format(" from step {}, which is good (init.from={})",
                                                last_checkpoint_, run_.path().string());
    core::system_error(
        "step {}: loss {}, gradient norm {}; not finite for {} step(s) in a row, and max_skipped_steps={}: "
        "look at the data, or train anew{} with a lower optimizer.lr",
        completed_ + 1, agreed.loss, norm, skipped_in_a_row_, config_.max_skipped_steps, begin);
  }
}

core::Json Trainer::state() const {
  core::Json state;
  state["updates"] = updates_;
  state["skipped_in_a_row"] = skipped_in_a_row_;
  state["position"] = completed_ * config_.batch_size;
  state["seed"] = config_.seed;
  state["facts"] = task_.facts();
  state["steps"] = config_.steps.steps();
  for (const nn::DistinctParameter& one :
       nn::distinct_parameters(task_.module()))  // for who knows no modules
    if (!one.aliases.empty()) state["aliases"][one.name] = one.aliases;
  if (best_.last_step() >= 0) {
    state["validation"] = best_.to_json();
    state["validation"]["measured"] = cadences_.measured;
  }
  if (is_over() && completed_ < config_.steps) state["ended_early"] = true;
  return state;
}

void Trainer::start_checkpoint() {
  if (last_checkpoint_ == completed_) return;
  last_checkpoint_time_ = std::chrono::steady_clock::now();
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
  writes_best_ = best_.best_step() == completed_;
}

void Trainer::publish_checkpoint() {
  const comm::WiderDeadline slowest_writer(comm_, kLongWork_s);
  const std::int64_t step = std::exchange(last_checkpoint_, -1);
  checkpoint::Retention kept = retention();
  if (cadences_.keep_best && writes_best_) kept.keep_step = step;
  writer_->publish(kept);
  last_checkpoint_ = step;
  if (writes_best_) lead_to_best(step);
  if (comm_.rank() == 0) core::report_progress(checkpoint::step_name(step));
}

void Trainer::or_warn(const char* what, void (Trainer::*work)()) {
  try {
    (this->*work)();
  } catch (const core::SystemError& error) {
    core::log_warn("checkpoint could not be {}: {}; the next is tried when it is due", what, error.what());
  }
}

/// The last one must succeed: what it says is the job's end.
void Trainer::final_checkpoint() {
  const comm::WiderDeadline writing(comm_, kLongWork_s);
  if (writer_->busy()) or_warn("written", &Trainer::publish_checkpoint);
  if (last_checkpoint_ != completed_) {
    start_checkpoint();
    publish_checkpoint();
  }
  writer_->finish(retention());
}

void Trainer::show_picture() {
  const auto begin = std::chrono::steady_clock::now();
  const comm::WiderDeadline painting(comm_, kLongWork_s);
  try {
    optimizer_->with_average([&] {
      const auto picture = task_.picture(completed_, comm_, stop_);
      if (!picture || comm_.rank() != 0) return;
      const fs::path file = run_.samples() / fmt::format("step_{:07d}.png", completed_);
      core::atomic_write(file, image::encode_png(*picture));
      metrics_->picture("samples", completed_, file, picture->height, picture->width);
      report_in_background();
    });
  } catch (const core::DeviceFault&) {
    throw;
  } catch (const std::exception& error) {
    core::log_warn("no picture of step {}: {}", completed_, error.what());
  }
  comm_.barrier();  // nobody waits for a slower one outside the wider deadline
  if (metrics_) metrics_->leave_out(begin);
}

/// Rank 0 reads all metrics again for it: not on the loop's time.
void Trainer::report_in_background() {
  if (comm_.rank() != 0) return;
  if (report_.valid() && report_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  report_ = std::async(std::launch::async, [path = run_.path()] { report_or_warn(path); });
}

/// False when a stop was requested before all was written.
bool Trainer::close() {
  const comm::WiderDeadline measuring(comm_, kLongWork_s);
  bool finished = true;
  optimizer_->with_average([&] {
    if (comm_.rank() == 0) finished = task_.finish(run_.path(), stop_);
  });
  if (comm_.rank() == 0) {
    report_or_warn(run_.path());
    if (metrics_->num_skipped() > 0)
      core::log_warn(
          "{} steps of this life were skipped, because the gradient was not finite (\"skipped\" in {})",
          metrics_->num_skipped(), run_.metrics().string());
  }
  return !comm_.any(!finished);  // also: nobody waits for rank 0 outside the wider deadline
}

}  // namespace microdit::train
