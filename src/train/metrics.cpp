// Writing a run's numbers.
#include "train/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"

namespace microdit::train {
namespace {

/// Keeps whole lines of steps <= last; a torn last line goes too.
void cut_back(const std::filesystem::path& path, std::int64_t last) {
  if (!std::filesystem::exists(path)) return;
  std::string kept;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const core::Json json = core::Json::parse(line, nullptr, false);
    if (json.is_discarded() || !json.contains("step") || json["step"].get<std::int64_t>() > last) continue;
    kept += line + "\n";
  }
  core::atomic_write(path, kept);
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Metrics::Metrics(const RunFolder& run, std::int64_t resumed_step, std::int64_t total_steps,
                 std::int64_t batch_size, std::int64_t log_every_steps)
    : first_step_(resumed_step),
      total_steps_(total_steps),
      batch_size_(batch_size),
      log_every_(log_every_steps),
      events_(run.tensorboard(), resumed_step),
      start_(std::chrono::steady_clock::now()),
      last_line_(start_),
      last_line_step_(resumed_step) {
  cut_back(run.metrics(), resumed_step);
  file_ = std::fopen(run.metrics().c_str(), "ab");
  if (file_ == nullptr)
    core::system_error("{}: cannot be written: {}", run.metrics().string(), std::strerror(errno));
}

Metrics::~Metrics() {
  std::fclose(file_);
}

double Metrics::elapsed_s() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void Metrics::step(const StepMetrics& m) {
  const auto done = static_cast<double>((m.step - first_step_) * batch_size_);
  const double rate = done / std::max(1e-9, elapsed_s());
  // Loss and norm with all their bits: resumed runs are compared by these lines.
  core::Json line;
  line["step"] = m.step;
  line["loss"] = m.loss;
  line["lr"] = m.lr;
  line["grad_norm"] = m.grad_norm;
  if (m.skipped) line["skipped"] = true;
  line["images_per_s"] = std::round(rate * 10) / 10;
  line["time"] = std::round(unix_time() * 1000) / 1000;
  const std::string text = line.dump() + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_) != text.size() || std::fflush(file_) != 0) {
    core::system_error("metrics.jsonl: {}", std::strerror(errno));
  }
  const bool due = m.step % log_every_ == 0 || m.step == total_steps_ || m.step == first_step_ + 1;
  if (due) {
    events_.scalar("loss/train", m.step, static_cast<float>(m.loss));
    events_.scalar("lr", m.step, static_cast<float>(m.lr));
    events_.scalar("grad_norm", m.step, static_cast<float>(m.grad_norm));
    events_.scalar("images_per_s", m.step, static_cast<float>(rate));
    events_.flush();
    progress(m);
  }
}

void Metrics::progress(const StepMetrics& m) {
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - last_line_).count();
  const double rate = static_cast<double>((m.step - last_line_step_) * batch_size_) / std::max(1e-9, seconds);
  window_rate_ = window_rate_ == 0 ? rate : 0.7 * window_rate_ + 0.3 * rate;
  const double left_s =
      static_cast<double>((total_steps_ - m.step) * batch_size_) / std::max(1e-9, window_rate_);
  core::log_info("step {}/{} ({:.0f} %)  loss {:.4f}  lr {:.2e}  grad {:.3f}  {:.1f} images/s  {} left{}",
                 m.step, total_steps_,
                 100.0 * static_cast<double>(m.step) / static_cast<double>(total_steps_), m.loss, m.lr,
                 m.grad_norm, rate, duration_text(left_s), m.skipped ? "  SKIPPED (not finite)" : "");
  last_line_ = now;
  last_line_step_ = m.step;
}

void Metrics::picture(const std::string& tag, std::int64_t step, const std::filesystem::path& png_file,
                      std::int64_t height, std::int64_t width) {
  const std::string png = core::read_text(png_file);
  events_.picture(tag, step, height, width, std::as_bytes(std::span(png.data(), png.size())));
  events_.flush();
}

void Metrics::sync() {
  std::fflush(file_);
  ::fsync(::fileno(file_));
}

}  // namespace microdit::train
