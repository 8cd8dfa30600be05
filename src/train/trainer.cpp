// The loop.
#include "train/trainer.h"

#include <utility>

#include "core/atomic_file.h"
#include "core/device_fault.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "image/encode.h"
#include "nn/state_dict.h"
#include "train/advice.h"
#include "train/report.h"

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

}  // namespace

int Trainer::run() {
  task_.module().train();
  if (!is_over()) task_.start(completed_, comm_.rank() * rows(), rows(), config_.batch_size);
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

core::Json Trainer::state() const {
  core::Json state;
  state["updates"] = updates_;
  state["skipped_in_a_row"] = skipped_in_a_row_;
  state["position"] = completed_ * config_.batch_size;
  state["seed"] = config_.seed;
  state["ranks"] = comm_.size();
  if (metrics_) state["loss_levels"] = metrics_->open_levels();  // rank 0's state is the one that is written
  state["ranks_per_node"] = training_->shards.levels().per_node();
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
  std::vector<checkpoint::Part> parts = training_->optimizer.parts();
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
  const auto begin = std::chrono::steady_clock::now();
  try {
    (this->*work)();
  } catch (const core::SystemError& error) {
    core::log_warn("checkpoint could not be {}: {}; the next is tried when it is due", what, error.what());
  }
  checkpoint_s_ += core::seconds_since(begin);
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
    training_->optimizer.with_average([&] {
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
  if (task_.has_outputs())
    training_->optimizer.with_average([&] {
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
