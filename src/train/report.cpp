// The report page.
#include "train/report.h"

#include <algorithm>
#include <deque>
#include <fstream>
#include <numeric>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/html.h"
#include "core/json.h"
#include "eval/grid_pages.h"
#include "eval/summary.h"
#include "image/encode.h"
#include "image/plot.h"
#include "train/evaluations.h"
#include "train/loss_watch.h"
#include "train/validation_page.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

struct Curve {
  image::Series raw{.name = "training loss", .x = {}, .y = {}, .faint = true};
  image::Series smooth{.name = fmt::format("mean of {} steps", kLossWindow), .x = {}, .y = {}};
  double rate = 0;
  std::vector<ValidationLine> validations{};
  LossWatch watch{};
};

Curve read_curve(const fs::path& metrics) {
  Curve curve;
  std::deque<double> window;  // summed anew for each point: a loss of 1e17 would stay in a running sum
  std::ifstream in(metrics);
  for (std::string line; std::getline(in, line);) {
    const core::Json json = core::Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number()) continue;
    if (auto found = validation_of(json)) curve.validations.push_back(*std::move(found));
    if (!json.contains("loss") || !json["loss"].is_number()) continue;
    const auto step = json["step"].get<double>();
    const auto loss = json["loss"].get<double>();
    window.push_back(loss);
    if (window.size() > kLossWindow) window.pop_front();
    curve.watch.add(loss);
    curve.raw.x.push_back(step);
    curve.raw.y.push_back(loss);
    curve.smooth.x.push_back(step);
    curve.smooth.y.push_back(std::accumulate(window.begin(), window.end(), 0.0) /
                             static_cast<double>(window.size()));
    curve.rate = json.value("images_per_s", 0.0);
  }
  return curve;
}

std::vector<fs::path> sorted_pictures(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".png" && !entry.path().filename().string().starts_with(".")) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Prompts of a call as a numbered list: the pictures' font may lack their letters.
std::string prompts_html(const fs::path& manifest) {
  std::ifstream in(manifest);
  std::string items, last;
  bool any = false;
  for (std::string line; std::getline(in, line);) {
    const core::Json json = core::Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("prompt")) continue;
    const std::string prompt = json["prompt"].get<std::string>();
    if (!any || prompt != last) items += "<li>" + core::escaped(prompt) + "</li>\n";
    last = prompt;
    any = true;
  }
  return any ? "<details><summary>prompts as text</summary>\n<ol>" + items + "</ol></details>\n" : "";
}

/// What was painted last: images/latest.
std::string painted_html(const fs::path& folder) {
  constexpr std::size_t kMostPages = 4;
  std::string html;
  std::size_t page = 0;
  for (; fs::exists(folder / eval::grid_page_name(page)); ++page) {
    if (page < kMostPages)
      html += core::html_picture(folder / eval::grid_page_name(page), "Generated pictures");
  }
  if (page > kMostPages) html += fmt::format("<p>{} more pages lie in the folder.</p>\n", page - kMostPages);
  return html + prompts_html(folder / "manifest.jsonl");
}

/// The prompts of the pictures painted while training, as text.
std::string sampling_prompts(const fs::path& settings) {
  const core::Json json = fs::exists(settings) ? core::read_json(settings) : core::Json::object();
  const core::Json::json_pointer at("/sampling/prompts");
  if (!json.contains(at) || !json.at(at).is_array()) return "";
  std::string items;
  for (const core::Json& prompt : json.at(at))
    items += "<li>" + core::escaped(prompt.get<std::string>()) + "</li>\n";
  return "<details><summary>prompts as text</summary>\n<ol>" + items + "</ol></details>\n";
}

}  // namespace

void write_report(const RunFolder& run) {
  const Curve curve = read_curve(run.metrics());
  const std::vector<Evaluated> evaluations = read_evaluations(run);
  const fs::path loss_png = run.path() / "loss.png";
  const std::string name = core::whole_path(run.path()).filename().string();
  if (!curve.raw.x.empty()) {
    std::vector<image::Series> series = {curve.raw, curve.smooth};
    if (!curve.validations.empty()) series.push_back(validation_curve(curve.validations));
    for (image::Series& points : loss_points(evaluations)) series.push_back(std::move(points));
    const image::Image plot =
        image::plot(series, {.title = name, .x_label = "step", .y_label = "loss", .log_y = true});
    core::atomic_write(loss_png, image::encode_png(plot));
  }
  std::string body;
  const std::string verdict = evaluations.empty() ? "" : eval::recital(evaluations.back().metrics);
  if (!verdict.empty()) body += "<p class=\"verdict\">" + core::escaped(verdict) + "</p>\n";
  if (curve.watch.diverged()) body += "<p class=\"verdict\">" + core::escaped(curve.watch.text()) + "</p>\n";
  body += painted_html(run.path() / "images" / "latest");
  if (!curve.raw.x.empty()) {
    body += fmt::format("<p>{} steps, {:.0f} images/s.</p>\n", static_cast<std::int64_t>(curve.raw.x.back()),
                        curve.rate);
  }
  body += core::html_picture(loss_png,
                             "Loss: of each training batch, and on held-out samples where it was measured");
  body += validation_html(run, curve.validations);
  body += evaluations_html(evaluations);
  // The first pictures and the last few show the learning; a long run keeps the rest in samples/.
  const auto grids = sorted_pictures(run.samples());
  if (!grids.empty()) body += "<h2>While training</h2>\n";
  for (std::size_t i = 0; i < grids.size(); ++i) {
    if (i < 2 || i + 4 >= grids.size()) body += core::html_picture(grids[i], grids[i].stem().string());
  }
  if (!grids.empty()) body += sampling_prompts(run.settings());
  if (fs::exists(run.config()))
    body += "<h2>Settings</h2>\n<pre>" + core::escaped(core::read_text(run.config())) + "</pre>\n";
  core::atomic_write(run.report(), core::html_page(name, body));
}

}  // namespace microdit::train
