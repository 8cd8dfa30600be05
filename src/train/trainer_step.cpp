// A step of the loop.
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <utility>

#include "core/error.h"
#include "core/progress.h"
#include "nn/autocast.h"
#include "nn/peak.h"
#include "train/schedule.h"
#include "train/trainer.h"

namespace microdit::train {
namespace {

double gpu_memory_gb(torch::Device device) {
  if (!device.is_cuda()) return 0;
  const auto stats = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return static_cast<double>(stats.allocated_bytes[0].peak) / 1e9;  // [0]: all sizes together
}

}  // namespace

void Trainer::step() {
  const auto begin = std::chrono::steady_clock::now();
  task_.next_batch();
  wait_s_ = core::seconds_since(begin);
  training_->shards.take_seconds();
  training_->model.begin_step();
  const double loss_here = backward();
  const double norm2_here = training_->model.finish_step();
  const double computed_s = core::seconds_since(begin) - wait_s_;
  comm_s_ = training_->shards.take_seconds();
  const double busy_s = computed_s - comm_s_;
  const auto agreeing = std::chrono::steady_clock::now();
  const Agreement agreed = agree(norm2_here, loss_here);
  slowest_ = stragglers_->step(busy_s);
  comm_s_ += core::seconds_since(agreeing);
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
  const std::int64_t microbatch = config_.microbatch(comm_.size());
  double sum = 0;
  for (std::int64_t first = 0; first < rows(); first += microbatch) {
    const Slice slice{first, std::min(microbatch, rows() - first)};
    training_->model.begin_microbatch(slice.first + slice.count == rows());
    const double share = static_cast<double>(slice.count) / static_cast<double>(config_.batch_size);
    const torch::Tensor loss = loss_of(slice);
    (loss * share).backward();
    sum += loss.item<double>() * share;
  }
  return sum;
}

/// Of the life's first slice it is counted, too, how much it multiplies.
torch::Tensor Trainer::loss_of(const Slice& slice) {
  const nn::Autocast autocast(config_.precision == "bf16", device_);
  if (std::exchange(is_measured_, true)) return task_.loss(slice);
  nn::FlopCounter counter;
  const torch::Tensor loss = task_.loss(slice);
  counter.stop();
  measure(counter, slice.count);
  return loss;
}

/// All ranks at once, for they share cores and cards.
void Trainer::measure(const nn::FlopCounter& counted, std::int64_t images) {
  const auto begin = std::chrono::steady_clock::now();
  comm_.barrier();
  double peak[] = {nn::measure_peak(counted, device_, config_.precision == "bf16")};
  comm_.all_reduce_sum(peak);
  if (!metrics_) return;
  metrics_->leave_out(begin);
  if (peak[0] > 0) metrics_->measure_by(counted.training() / static_cast<double>(images), peak[0]);
}

Trainer::Agreement Trainer::agree(double norm2_here, double loss_here) {
  const double minutes = core::seconds_since(last_checkpoint_time_) / 60;
  const bool due = comm_.rank() == 0 && config_.checkpoint.every_minutes > 0 &&
                   minutes >= config_.checkpoint.every_minutes;
  std::vector<double> values = {norm2_here,
                                loss_here,
                                stop_.requested() ? 1.0 : 0.0,
                                writer_->busy() && writer_->durable_here() ? 1.0 : 0.0,
                                due ? 1.0 : 0.0,
                                static_cast<double>(task_.num_bad_rows())};
  const std::ptrdiff_t own = std::ssize(values);
  std::ranges::copy(task_.take_level_losses(), std::back_inserter(values));
  comm_.all_reduce_sum(values);
  return {values[0],
          values[1],
          values[2] > 0,
          values[3] == comm_.size(),
          values[4] > 0,
          static_cast<std::int64_t>(values[5]),
          {values.begin() + own, values.end()}};
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
    training_->optimizer.update(step);
    skipped_in_a_row_ = 0;
  } else {
    ++skipped_in_a_row_;
  }
  comm_s_ = comm_.size() > 1 ? comm_s_ + training_->shards.take_seconds() : 0;  // one rank waits for nobody
  if (metrics_) {
    metrics_->step({.step = completed_ + 1,
                    .loss = agreed.loss,
                    .lr = lr,
                    .grad_norm = norm,
                    .wait_s = wait_s_,
                    .comm_s = comm_s_,
                    .checkpoint_s = std::exchange(checkpoint_s_, 0.0),
                    .levels = agreed.levels,
                    .slowest = slowest_,
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

}  // namespace microdit::train
