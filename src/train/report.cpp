// The report page.
#include "train/report.h"

#include <algorithm>
#include <fstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "image/encode.h"
#include "image/plot.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

std::string base64(const std::string& bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](std::size_t k) -> unsigned {
      return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u;
    };
    const unsigned word = at(0) << 16 | at(1) << 8 | at(2);
    out.push_back(kAlphabet[word >> 18]);
    out.push_back(kAlphabet[word >> 12 & 63]);
    out.push_back(i + 1 < bytes.size() ? kAlphabet[word >> 6 & 63] : '=');
    out.push_back(i + 2 < bytes.size() ? kAlphabet[word & 63] : '=');
  }
  return out;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out.push_back(c);
  }
  return out;
}

std::string picture(const fs::path& file, const std::string& caption) {
  if (!fs::exists(file)) return "";
  return "<figure><img alt=\"" + escaped(caption) + "\" src=\"data:image/png;base64," +
         base64(core::read_text(file)) + "\"><figcaption>" + escaped(caption) + "</figcaption></figure>\n";
}

struct Curve {
  image::Series raw{"loss", {}, {}};
  image::Series smooth{"loss, averaged", {}, {}};
  double rate = 0;
};

Curve read_curve(const fs::path& metrics) {
  Curve curve;
  double mean = 0;
  double weight = 0;
  std::ifstream in(metrics);
  for (std::string line; std::getline(in, line);) {
    const core::Json json = core::Json::parse(line, nullptr, false);
    if (json.is_discarded() || !json["loss"].is_number()) continue;
    const auto step = json["step"].get<double>();
    const auto loss = json["loss"].get<double>();
    mean = 0.98 * mean + 0.02 * loss;
    weight = 0.98 * weight + 0.02;
    curve.raw.x.push_back(step);
    curve.raw.y.push_back(loss);
    curve.smooth.x.push_back(step);
    curve.smooth.y.push_back(mean / weight);
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

/// Of the pictures painted last: images/latest/grid.png, or images/grid.png.
fs::path newest_grid(const fs::path& images) {
  const fs::path latest = images / "latest" / "grid.png";
  return fs::exists(latest) ? latest : images / "grid.png";
}

constexpr const char* kPage = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222}
img {max-width: 100%; border: 1px solid #ddd}
figure {margin: 1rem 0}
figcaption {color: #666; font-size: .85rem}
pre {background: #f6f6f6; padding: 1rem; overflow: auto; font-size: .8rem}
</style></head><body>
<h1>{title}</h1>
{body}</body></html>
)";

std::string page(const std::string& title, const std::string& body) {
  std::string html = kPage;
  const auto fill = [&](const std::string& hole, const std::string& text) {
    for (std::size_t at = 0; (at = html.find(hole, at)) != std::string::npos; at += text.size())
      html.replace(at, hole.size(), text);
  };
  fill("{title}", escaped(title));
  fill("{body}", body);
  return html;
}

std::string numbers(const fs::path& metrics_json) {
  if (!fs::exists(metrics_json)) return "";
  return "<h2>Evaluation</h2>\n<pre>" + escaped(core::read_json(metrics_json).dump(2)) + "</pre>\n";
}

}  // namespace

void write_report(const RunFolder& run) {
  const Curve curve = read_curve(run.metrics());
  const fs::path loss_png = run.path() / "loss.png";
  if (!curve.raw.x.empty()) {
    const image::Image plot = image::plot(
        {curve.raw, curve.smooth},
        {.title = run.path().filename().string(), .x_label = "step", .y_label = "loss", .log_y = true});
    const auto png = image::encode_png(plot);
    core::atomic_write(loss_png, png);
  }
  std::string body;
  body += picture(newest_grid(run.path() / "images"), "Generated pictures");
  if (!curve.raw.x.empty()) {
    body += fmt::format("<p>{} steps, {:.0f} images/s.</p>\n", static_cast<std::int64_t>(curve.raw.x.back()),
                        curve.rate);
  }
  body += picture(loss_png, "Training loss");
  body += numbers(run.path() / "metrics.json");
  for (const fs::path& file : sorted_pictures(run.path() / "evaluation"))
    body += picture(file, file.stem().string());
  // The first pictures and the last few show the learning; a long run keeps the rest in samples/.
  const auto grids = sorted_pictures(run.samples());
  if (!grids.empty()) body += "<h2>While training</h2>\n";
  for (std::size_t i = 0; i < grids.size(); ++i) {
    if (i < 2 || i + 4 >= grids.size()) body += picture(grids[i], grids[i].stem().string());
  }
  if (fs::exists(run.config()))
    body += "<h2>Settings</h2>\n<pre>" + escaped(core::read_text(run.config())) + "</pre>\n";
  core::atomic_write(run.report(), page(run.path().filename().string(), body));
}

}  // namespace microdit::train
