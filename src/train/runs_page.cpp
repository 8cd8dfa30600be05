// Runs side by side as pictures and a page.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/html.h"
#include "image/encode.h"
#include "image/plot.h"
#include "train/runs_table.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostCurves = 8;  // that a plot has colours for

std::string csv(const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string cell = row[i];
      if (cell.find_first_of(",\"\n") != cell.npos) {
        for (std::size_t at = 0; (at = cell.find('"', at)) != cell.npos; at += 2) cell.insert(at, 1, '"');
        cell = '"' + cell + '"';
      }
      text += (i == 0 ? "" : ",") + cell;
    }
    text += "\n";
  }
  return text;
}

bool are_measured(const std::vector<RunSummary>& runs) {
  return std::ranges::any_of(runs, [](const RunSummary& run) { return run.held_outs.size() > 1; });
}

/// Loss over steps of the best runs.
image::Image curves(const std::vector<RunSummary>& runs, const std::string& title) {
  const bool measured = are_measured(runs);
  std::vector<image::Series> all;
  for (const RunSummary& run : runs) {
    if (all.size() == kMostCurves || run.steps.empty()) break;
    all.push_back({.name = run.name,
                   .x = measured ? run.held_out_steps : run.steps,
                   .y = measured ? run.held_outs : run.losses,
                   .marks = measured});
  }
  return image::plot(all, {.title = title,
                           .x_label = "step",
                           .y_label = measured ? "held-out loss" : "training loss, averaged",
                           .height = 520,
                           .log_y = true});
}

std::optional<double> as_number(const RunSummary& run, const std::string& key) {
  const auto found = run.settings.find(key);
  if (found == run.settings.end()) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(found->second.c_str(), &end);
  if (found->second.empty() || *end != '\0' || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// The differing key with the most numbers; "" without one.
std::string numeric_key(const std::vector<RunSummary>& runs, const std::vector<std::string>& keys) {
  std::string chosen;
  std::size_t most = 1;
  for (const std::string& key : keys) {
    std::set<double> values;
    for (const RunSummary& run : runs)
      if (const auto value = as_number(run, key)) values.insert(*value);
    if (values.size() <= most) continue;
    most = values.size();
    chosen = key;
  }
  return chosen;
}

struct Reached {
  std::map<std::string, std::map<double, double>> groups{};  ///< other settings -> value -> loss
  bool wide = false;                                         ///< values over a decade: by their logarithm
};

Reached reached_by(const std::vector<RunSummary>& runs, const std::string& key,
                   const std::vector<std::string>& keys) {
  Reached reached;
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const RunSummary& run : runs) {
    const auto value = as_number(run, key), loss = run.best ? run.best : run.loss;
    if (!value || !loss || !std::isfinite(*loss)) continue;
    std::string others;
    for (const std::string& other : keys)
      if (const auto found = run.settings.find(other); other != key && found != run.settings.end())
        others += fmt::format("{}{}={}", others.empty() ? "" : ", ", other, found->second);
    reached.groups[others.empty() ? "loss" : others][*value] = *loss;
    least = std::min(least, *value);
    most = std::max(most, *value);
  }
  reached.wide = least > 0 && most / least >= 5;
  return reached;
}

/// What each value of a numeric setting reached; a curve for each choice of the others.
image::Image by_setting(const std::vector<RunSummary>& runs, const std::string& key,
                        const std::vector<std::string>& keys, const std::string& title) {
  const Reached reached = reached_by(runs, key, keys);
  std::vector<image::Series> all;
  for (const auto& [name, points] : reached.groups) {
    if (all.size() == kMostCurves) break;
    image::Series series{.name = name, .x = {}, .y = {}, .marks = true};
    for (const auto& [value, loss] : points) {
      series.x.push_back(reached.wide ? std::log10(value) : value);
      series.y.push_back(loss);
    }
    all.push_back(std::move(series));
  }
  const bool measured = std::ranges::any_of(runs, [](const RunSummary& run) { return run.best.has_value(); });
  return image::plot(all, {.title = title,
                           .x_label = reached.wide ? fmt::format("log10 of {}", key) : key,
                           .y_label = measured ? "best held-out loss" : "training loss at the end",
                           .height = 520});
}

/// The names lead to the runs' reports.
std::string table_html(const fs::path& folder, const std::vector<RunSummary>& runs) {
  std::string html = core::html_table(runs_table(runs, false));
  for (const RunSummary& run : runs) {
    if (!fs::exists(folder / run.name / "report.html")) continue;
    const std::string cell = "<tr><td>" + core::escaped(run.name) + "</td>";
    const std::size_t at = html.find(cell);
    if (at == html.npos) continue;
    html.replace(at, cell.size(),
                 fmt::format("<tr><td><a href=\"./{0}/report.html\">{0}</a></td>", core::escaped(run.name)));
  }
  return html;
}

}  // namespace

fs::path write_runs_page(const fs::path& folder, const std::vector<RunSummary>& runs) {
  const std::string title = core::whole_path(folder).filename().string();
  const std::vector<std::string> keys = differing_keys(runs);
  core::atomic_write(folder / "table.csv", csv(runs_table(runs, true)));
  std::string body = table_html(folder, runs);
  const bool any = std::ranges::any_of(runs, [](const RunSummary& run) { return !run.steps.empty(); });
  if (any) {
    const auto begun = static_cast<std::size_t>(
        std::ranges::count_if(runs, [](const RunSummary& run) { return !run.steps.empty(); }));
    core::atomic_write(folder / "curves.png", image::encode_png(curves(runs, title)));
    body += core::html_picture(folder / "curves.png",
                               begun > kMostCurves ? fmt::format("The best {} of {} runs", kMostCurves, begun)
                                                   : "All runs that have begun");
  }
  const std::string key = any ? numeric_key(runs, keys) : "";
  if (!key.empty()) {
    core::atomic_write(folder / "settings.png", image::encode_png(by_setting(runs, key, keys, title)));
    body += core::html_picture(folder / "settings.png", "What each value reached");
  }
  body += "<p>All digits and all settings that differ: <code>table.csv</code>.</p>\n";
  core::atomic_write(folder / "index.html", core::html_page(title, body));
  return folder / "index.html";
}

}  // namespace microdit::train
