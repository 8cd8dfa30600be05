// Validations of the loop: when, what is the best, when patience ends.
#include <filesystem>

#include "core/error.h"
#include "core/log.h"
#include "train/trainer.h"

namespace microdit::train {

namespace fs = std::filesystem;

/// All steps are done, or patience is at its end.
bool Trainer::is_over() const {
  return completed_ >= config_.steps ||
         (cadences_.patience > 0 && best_.without_better() >= cadences_.patience);
}

checkpoint::Retention Trainer::retention() const {
  return {.keep_last = config_.checkpoint.keep_last,
          .keep_every = config_.checkpoint.keep_every,
          .keep_step = cadences_.keep_best ? best_there_ : -1};
}

/// Of the best checkpoint that is there, by the link to it.
std::int64_t Trainer::best_of_link() const {
  std::error_code none;
  const fs::path best = fs::read_symlink(run_.checkpoints() / "best", none);
  const std::optional<std::int64_t> step = checkpoint::step_of(best.string());
  return step && fs::exists(run_.checkpoints() / best, none) ? *step : -1;
}

/// checkpoints/best leads to the best that is there: `published`, until the next is, too.
void Trainer::lead_to_best(std::int64_t published) {
  if (!cadences_.keep_best || comm_.rank() != 0 || published < 0) return;
  best_there_ = published;
  const fs::path link = run_.checkpoints() / "best", aside = run_.checkpoints() / ".best";
  std::error_code error;
  fs::remove(aside, error);
  fs::create_directory_symlink(checkpoint::step_name(published), aside, error);
  if (!error) fs::rename(aside, link, error);
  if (error) core::log_warn("{}: cannot be made: {}", link.string(), error.message());
}

/// Before the first step and every so many.
bool Trainer::validation_is_due() const {
  const std::int64_t every = cadences_.validate_every_steps;
  return every > 0 && completed_ % every == 0 && best_.last_step() != completed_;
}

/// Raw weights, and the average where there is one, which then decides what is best.
void Trainer::validate_if_due() {
  if (!validation_is_due()) return;
  const auto begin = std::chrono::steady_clock::now();
  const comm::WiderDeadline measuring(comm_, kLongWork_s);
  std::optional<Validated> raw, average;
  training_->model.with_own_weights([&] { raw = task_.validate(comm_, stop_); });
  if (raw && config_.ema.decay > 0)
    training_->optimizer.with_average([&] { average = task_.validate(comm_, stop_); });
  comm_.barrier();  // nobody waits for a slower one outside the wider deadline
  if (metrics_) metrics_->leave_out(begin);
  if (!raw ||
      (config_.ema.decay > 0 && !average)) {  // asked to stop, as all ranks saw: the next life begins with it
    stop_agreed_ = true;
    return;
  }
  const bool best = best_.add(completed_, average ? average->loss : raw->loss);
  if (metrics_) metrics_->validation(completed_, *raw, average, best);
  core::log_info("step {}: validation loss {:.5f}{}{}", completed_, raw->loss,
                 average ? fmt::format(", averaged weights (which count) {:.5f}", average->loss) : "",
                 best ? ", the best so far"
                 : best_.best_step() < 0
                     ? ""
                     : fmt::format("; best {:.5f} at step {}", best_.best(), best_.best_step()));
  report_in_background();
  if (!best || !cadences_.keep_best) return;
  if (last_checkpoint_ == completed_) return lead_to_best(completed_);  // a life begins with a validation
  if (writer_->busy()) or_warn("written", &Trainer::publish_checkpoint);
  or_warn("begun", &Trainer::start_checkpoint);
}

}  // namespace microdit::train
