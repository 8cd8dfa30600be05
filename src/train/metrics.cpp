// Writing a run's numbers.
#include "train/metrics.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/environment.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"

namespace microdit::train {
namespace {

constexpr std::size_t kWindowSteps = 50;  // of images_per_s

/// Keeps whole lines of steps <= the last, whose losses `watch` is told; a torn last line goes too, and what is measured again.
std::filesystem::path cut_back(const std::filesystem::path& path, const MetricsStart& start,
                               LossWatch& watch) {
  if (!std::filesystem::exists(path)) return path;
  std::string kept;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const core::Json json = core::Json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.contains("step")) continue;
    const auto step = json["step"].get<std::int64_t>();
    if (step > start.step || (start.validates && step == start.step && json.contains("validation"))) continue;
    kept += line + "\n";
    if (json.contains("loss") && json["loss"].is_number()) watch.add(json["loss"].get<double>());
  }
  core::atomic_write(path, kept);
  return path;
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// Three digits: for people.
double rounded(double value, double unit) {
  return std::round(value / unit) * unit;
}

/// Of this process, in GB.
struct Memory {
  double now = 0, peak = 0;
};
Memory resident_memory() {
  Memory memory;
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    const auto kilobytes = [&] { return std::strtod(line.c_str() + line.find(':') + 1, nullptr) * 1024e-9; };
    if (line.starts_with("VmHWM:")) memory.peak = kilobytes();
    if (line.starts_with("VmRSS:")) memory.now = kilobytes();
  }
  return memory;
}

/// What starting needed is given back, and the peak begins anew: from here on it is the training's.
Memory begin_of_training() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5\n";  // proc(5): resets VmHWM
  return resident_memory();
}

/// Where Slurm ends the job before the training is done: how far it gets.
std::string job_end_text(std::int64_t step, std::int64_t total_steps, double left_s) {
  const double end = std::strtod(core::variable("SLURM_JOB_END_TIME", "0").c_str(), nullptr);
  const double job_left_s = end - unix_time();
  if (end == 0 || job_left_s >= left_s || left_s <= 0) return "";
  const double share = std::max(0.0, job_left_s) / left_s;
  return fmt::format("; the job ends in {}, near step {}", core::duration_text(std::max(0.0, job_left_s)),
                     step + static_cast<std::int64_t>(share * static_cast<double>(total_steps - step)));
}

}  // namespace

Metrics::Metrics(const RunFolder& run, const MetricsStart& start, std::int64_t total_steps,
                 std::int64_t batch_size, std::int64_t log_every_steps)
    : first_step_(start.step),
      total_steps_(total_steps),
      batch_size_(batch_size),
      log_every_(log_every_steps),
      file_(cut_back(run.metrics(), start, watch_)),
      events_(run.tensorboard(), start.step),
      ends_{Clock::now()},
      last_line_(ends_.front()),
      start_gb_(begin_of_training().now),
      levels_(start.levels) {}

/// Over the last steps, so that a node that slows down shows.
double Metrics::images_per_s() const {
  const double window_s = seconds(ends_.back() - ends_.front());
  return static_cast<double>((static_cast<std::int64_t>(ends_.size()) - 1) * batch_size_) /
         std::max(1e-9, window_s);
}

void Metrics::measure_by(double flops_per_image, double peak) {
  flops_per_image_ = flops_per_image;
  peak_ = peak;
  core::log_info(
      "an image takes {:.3g} GFLOP to train; the fastest product of these shapes makes {:.3g} TFLOP/s here",
      flops_per_image / 1e9, peak / 1e12);
}

double Metrics::share_of_peak() const {
  return peak_ > 0 ? images_per_s() * flops_per_image_ / peak_ : 0;
}

void Metrics::step(const StepMetrics& m) {
  const Clock::time_point now = Clock::now();
  const double step_s = seconds(now - ends_.back());
  ends_.push_back(now);
  if (ends_.size() > kWindowSteps + 1) ends_.pop_front();
  const double rate = images_per_s();
  num_skipped_ += m.skipped;
  watch_.add(m.loss);
  if (watch_.diverged() && !std::exchange(divergence_is_said_, true))
    core::log_warn("step {}: {}; lower optimizer.lr, or go back to an earlier checkpoint (init.from)", m.step,
                   watch_.text());
  wait_since_line_s_ += m.wait_s;
  comm_since_line_s_ += m.comm_s;
  const Memory memory = resident_memory();
  if (m.step == first_step_ + 1)
    core::log_info(
        "the first step took {} beyond that: activations and work space",
        core::bytes_text(static_cast<std::uint64_t>(1e9 * std::max(0.0, memory.peak - start_gb_))));
  const bool edge = m.step == total_steps_ || m.step == first_step_ + 1;
  const bool is_point = edge || m.step % log_every_ == 0;
  // Loss and norm with all their bits: resumed runs are compared by these lines.
  core::Json line;
  line["step"] = m.step;
  line["loss"] = m.loss;
  line["lr"] = m.lr;
  line["grad_norm"] = m.grad_norm;
  if (m.skipped) line["skipped"] = true;
  line["images_per_s"] = rounded(rate, 0.1);
  if (peak_ > 0) {
    line["tflops"] = rounded(rate * flops_per_image_ / 1e12, 1e-4);
    line["share_of_peak"] = rounded(share_of_peak(), 1e-4);
  }
  line["step_s"] = rounded(step_s, 1e-5);
  line["wait_s"] = rounded(m.wait_s, 1e-5);
  if (m.comm_s > 0) line["comm_s"] = rounded(m.comm_s, 1e-5);
  if (m.checkpoint_s > 0) line["checkpoint_s"] = rounded(m.checkpoint_s, 1e-5);
  line["memory_gb"] = rounded(memory.now, 0.001);
  line["memory_peak_gb"] = rounded(memory.peak, 0.001);
  if (m.bad_rows > 0) line["bad_rows"] = m.bad_rows;
  if (m.gpu_memory_gb > 0) line["gpu_memory_gb"] = rounded(m.gpu_memory_gb, 0.001);
  add_levels(m, line);
  if (m.slowest) add_slowest(m, line);
  line["time"] = rounded(unix_time(), 0.001);
  file_.append(line.dump() + "\n");
  if (m.checkpoint_s > 0) events_.scalar("speed/checkpoint_s", m.step, static_cast<float>(m.checkpoint_s));
  if (is_point) {
    events_.scalar("loss/train", m.step, static_cast<float>(m.loss));
    events_.scalar("lr", m.step, static_cast<float>(m.lr));
    events_.scalar("grad_norm", m.step, static_cast<float>(m.grad_norm));
    events_.scalar("speed/images_per_s", m.step, static_cast<float>(rate));
    if (peak_ > 0) {
      events_.scalar("speed/tflops", m.step, static_cast<float>(rate * flops_per_image_ / 1e12));
      events_.scalar("speed/share_of_peak", m.step, static_cast<float>(share_of_peak()));
    }
    events_.scalar("speed/wait_s", m.step, static_cast<float>(m.wait_s));
    events_.scalar("speed/comm_s", m.step, static_cast<float>(m.comm_s));
    events_.scalar("memory_gb", m.step, static_cast<float>(memory.now));
    events_.scalar("memory_peak_gb", m.step, static_cast<float>(memory.peak));
    progress(m, step_s);
  }
}

/// With every point of TensorBoard, over the steps since the last: a single batch has too few samples of a level.
void Metrics::add_levels(const StepMetrics& m, core::Json& line) {
  levels_.resize(m.levels.size());
  for (std::size_t i = 0; i < m.levels.size(); ++i) levels_[i] += m.levels[i];
  if (levels_.empty() || (m.step != total_steps_ && m.step % log_every_ != 0)) return;
  const std::size_t count = levels_.size() / 2;
  core::Json means = core::Json::array();
  for (std::size_t i = 0; i < count; ++i) {
    const bool any = levels_[count + i] > 0;
    means.push_back(any ? core::Json(levels_[i] / levels_[count + i]) : core::Json());
    if (any)
      events_.scalar(fmt::format("loss_levels/{}", i), m.step,
                     static_cast<float>(levels_[i] / levels_[count + i]));
  }
  line["loss_levels"] = means;
  std::ranges::fill(levels_, 0.0);
}

void Metrics::add_slowest(const StepMetrics& m, core::Json& line) {
  line["slowest"] = {{"rank", m.slowest->rank},
                     {"host", m.slowest->host},
                     {"of_median", rounded(m.slowest->of_median, 0.001)}};
  events_.scalar("speed/slowest_of_median", m.step, static_cast<float>(m.slowest->of_median));
  if (m.slowest->is_straggler())
    core::log_warn(
        "rank {} on {} computes {:.2f} times as long as the median rank for {} steps: all wait for it; look "
        "at "
        "that node (doctor env there), or leave it out (--exclude={})",
        m.slowest->rank, m.slowest->host, m.slowest->of_median, kStragglerSteps, m.slowest->host);
}

/// A line when asked for, but in a batch log not more often than is read.
void Metrics::progress(const StepMetrics& m, double step_s) {
  const Clock::time_point now = Clock::now();
  const double since_s = seconds(now - last_line_);
  const bool edge = m.step == total_steps_ || m.step == first_step_ + 1;
  const double steps_per_s = images_per_s() / static_cast<double>(batch_size_);
  static const bool watched = ::isatty(STDERR_FILENO) == 1;
  if (!edge && !m.skipped &&
      since_s < (watched ? 1 : core::progress_interval_s(static_cast<double>(total_steps_), steps_per_s)))
    return;
  const double left_s = static_cast<double>(total_steps_ - m.step) / std::max(1e-9, steps_per_s);
  core::log_info(
      "step {}/{} ({:.0f} %)  loss {:.4f}  lr {:.2e}  grad {:.3f}  {:.1f} images/s{}  {:.3f} s/step  data "
      "wait "
      "{:.1f} %{}  "
      "{} left{}{}",
      m.step, total_steps_, 100.0 * static_cast<double>(m.step) / static_cast<double>(total_steps_), m.loss,
      m.lr, m.grad_norm, images_per_s(),
      peak_ > 0 ? fmt::format(" ({:.0f} % of peak)", 100 * share_of_peak()) : "", step_s,
      100 * wait_since_line_s_ / std::max(1e-9, since_s),
      comm_since_line_s_ > 0
          ? fmt::format("  comm {:.1f} %", 100 * comm_since_line_s_ / std::max(1e-9, since_s))
          : "",
      core::duration_text(left_s), job_end_text(m.step, total_steps_, left_s),
      m.skipped ? "  SKIPPED (not finite)" : "");
  last_line_ = now;
  wait_since_line_s_ = comm_since_line_s_ = 0;
}

void Metrics::picture(const std::string& tag, std::int64_t step, const std::filesystem::path& png_file,
                      std::int64_t height, std::int64_t width) {
  const std::string png = core::read_text(png_file);
  events_.picture(tag, step, height, width, std::as_bytes(std::span(png.data(), png.size())));
}

void Metrics::leave_out(Clock::time_point begin) {
  const Clock::duration taken = Clock::now() - begin;
  for (Clock::time_point& end : ends_) end += taken;
  last_line_ += taken;
}

void Metrics::validation(std::int64_t step, const Validated& raw, const std::optional<Validated>& average,
                         bool best) {
  core::Json found;
  const auto add = [&](const char* name, const Validated& one) {
    found[name] = {{"loss", one.loss}, {"levels", one.levels}};
    events_.scalar(fmt::format("validation/{}", name), step, static_cast<float>(one.loss));
    for (std::size_t i = 0; i < one.levels.size(); ++i)
      events_.scalar(fmt::format("validation_levels/{}_{}", name, i), step,
                     static_cast<float>(one.levels[i]));
  };
  add("raw", raw);
  if (average) add("average", *average);
  core::Json line = {{"step", step}, {"validation", found}};
  if (best) line["best"] = true;
  file_.append(line.dump() + "\n");
}

void Metrics::sync() {
  file_.sync();
}

}  // namespace microdit::train
