// Tables and curves of evaluations.
#include "train/evaluations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>

#include "core/atomic_file.h"
#include "core/html.h"
#include "core/log.h"
#include "eval/call_folder.h"
#include "eval/summary.h"
#include "train/tensorboard.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;
using core::Json;

/// Numbers of any other metrics.json (a codec's), dotted names.
void flatten(const Json& json, const std::string& at, std::vector<std::vector<std::string>>& rows) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = at.empty() ? key : at + "." + key;
    if (value.is_object())
      flatten(value, name, rows);
    else
      rows.push_back({name, value.is_number_float() ? eval::short_number(value.get<double>())
                            : value.is_string()     ? value.get<std::string>()
                                                    : value.dump()});
  }
}

std::string numbers_html(const Json& metrics) {
  std::vector<std::vector<std::string>> rows;
  for (const eval::SummaryRow& row : eval::summary_rows(metrics)) {
    if (rows.empty())
      rows.push_back({"", "trained", "held out", "untrained", "chance", "better", "what it is"});
    rows.push_back({row.name, row.trained, row.held_out, row.untrained, row.chance, row.better, row.meaning});
  }
  if (!rows.empty()) {
    return core::html_table(rows) +
           "<p>Retrieval (top 1, within 1 %, median rank): a caption is painted, and the latents of the "
           "candidates, of both splits, are sorted by their L2 distance to the painted one; the rank of the "
           "caption's own picture counts from 1.</p>\n";
  }
  rows.push_back({"", "value"});
  flatten(metrics, "", rows);
  return core::html_table(rows);
}

/// Whole captions of a picture of the best and the worst: its font may lack their letters.
std::string captions_html(const fs::path& file) {
  std::ifstream in(file);
  std::string items;
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) continue;
    items += fmt::format("<li>{}, rank {}: {}</li>\n", core::escaped(json.value("half", "")),
                         json.value("rank", 0), core::escaped(json.value("caption", "")));
  }
  return items.empty() ? ""
                       : "<details><summary>captions as text</summary>\n<ul>" + items + "</ul></details>\n";
}

std::string pictures_html(const fs::path& folder) {
  std::string html;
  for (const auto& [name, title] :
       {std::pair{"trained", "Captions of the training data: the best and the worst"},
        std::pair{"held_out", "Held-out captions: the best and the worst"}}) {
    const std::string file = fmt::format("{}_best_and_worst", name);
    html += core::html_picture(folder / (file + ".png"), title) + captions_html(folder / (file + ".jsonl"));
  }
  return html;
}

std::string earlier_html(const std::vector<Evaluated>& evaluations) {
  if (evaluations.size() < 2) return "";
  std::vector<std::vector<std::string>> rows = {
      {"folder", "how", "loss, held out", "top 1, trained", "top 1, held out", "prompts"}};
  const auto text = [](const std::optional<double>& value) {
    return value ? eval::short_number(*value) : std::string();
  };
  for (auto one = evaluations.rbegin() + 1; one != evaluations.rend(); ++one) {
    const Json& m = one->metrics;
    rows.push_back({one->folder.filename().string(), eval::settings_text(m),
                    text(eval::loss_of(m, "held_out")), text(eval::number_at(m, "/retrieval/trained/top1")),
                    text(eval::number_at(m, "/retrieval/held_out/top1")),
                    text(eval::number_at(m, "/retrieval/trained/prompts"))});
  }
  return "<h3>Earlier evaluations</h3>\n" + core::html_table(rows);
}

}  // namespace

std::vector<Evaluated> read_evaluations(const RunFolder& run) {
  const fs::path home = run.path() / "evaluation", latest = home / "latest",
                 alone = run.path() / "metrics.json";
  std::vector<Evaluated> found;
  for (const fs::path& folder : eval::call_folders(home)) {
    if (fs::exists(folder / "metrics.json"))
      found.push_back({folder, core::read_json(folder / "metrics.json")});
  }
  std::error_code none;
  const auto newest = std::find_if(found.begin(), found.end(), [&](const Evaluated& one) {
    return fs::equivalent(one.folder, latest, none);
  });
  if (newest != found.end()) std::rotate(newest, newest + 1, found.end());
  if (found.empty() && fs::exists(alone)) found.push_back({home, core::read_json(alone)});
  return found;
}

std::vector<image::Series> loss_points(const std::vector<Evaluated>& evaluations) {
  std::vector<image::Series> all;
  for (const auto& [column, name] :
       {std::pair{"held_out", "held-out loss"}, std::pair{"trained", "loss on trained samples"}}) {
    std::map<double, double> points;  // the newest of a step
    for (const Evaluated& one : evaluations) {
      if (const auto loss = eval::loss_of(one.metrics, column))
        points[eval::number_at(one.metrics, "/step").value_or(NAN)] = *loss;
    }
    image::Series series{.name = name, .x = {}, .y = {}, .marks = true};
    for (const auto& [step, loss] : points) {
      series.x.push_back(step);
      series.y.push_back(loss);
    }
    if (!points.empty()) all.push_back(std::move(series));
  }
  return all;
}

std::string evaluations_html(const std::vector<Evaluated>& evaluations) {
  if (evaluations.empty()) return "";
  const Evaluated& newest = evaluations.back();
  std::string html = "<h2>Evaluation</h2>\n" + numbers_html(newest.metrics);
  if (newest.metrics.contains("sampler"))
    html += fmt::format(
        "<p>Painted with {}. All digits: <code>metrics.json</code>{}.</p>\n",
        core::escaped(eval::settings_text(newest.metrics)),
        newest.folder.filename() == "evaluation"
            ? ""
            : ", <code>evaluation/" + core::escaped(newest.folder.filename().string()) + "</code>");
  return html + pictures_html(newest.folder) + earlier_html(evaluations);
}

void record_evaluation(const RunFolder& run) {
  const Json metrics = core::read_json(run.path() / "metrics.json");
  EventFile events(run.tensorboard() / "evaluation");
  const auto step = metrics.value("step", std::int64_t{0});
  for (const auto& [tag, pointer] :
       {std::pair{"loss/held_out", "/loss/held_out"}, std::pair{"loss/trained", "/loss/trained"},
        std::pair{"retrieval/top1_held_out", "/retrieval/held_out/top1"},
        std::pair{"retrieval/top1_trained", "/retrieval/trained/top1"}}) {
    if (const auto value = eval::number_at(metrics, pointer))
      events.scalar(tag, step, static_cast<float>(*value));
  }
}

}  // namespace microdit::train
