// What lies in the runs' folders, as rows.
#include "train/runs_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <fstream>
#include <limits>
#include <numeric>
#include <set>

#include "checkpoint/checkpoint.h"
#include "checkpoint/inspect.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"
#include "core/shown_text.h"
#include "eval/summary.h"
#include "train/loss_watch.h"
#include "train/run_folder.h"
#include "train/validation_page.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;
using core::Json;

constexpr std::size_t kMostKeys = 8;  // that a page has room for

void flatten(const Json& json, const std::string& at, std::map<std::string, std::string>& settings) {
  for (const auto& [key, value] : json.items()) {
    const std::string path = at.empty() ? key : at + "." + key;
    if (path == "name" || path == "runs") continue;
    if (value.is_structured() && !value.empty() && (value.is_object() || value.front().is_object()))
      flatten(value, path, settings);
    else
      settings[path] = value.is_string() ? value.get<std::string>() : value.dump();
  }
}

void read_metrics(const fs::path& file, RunSummary& run) {
  std::deque<double> window;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) continue;
    const auto step = json["step"].get<std::int64_t>();
    if (const auto found = validation_of(json)) {
      const double loss = found->deciding().loss;
      run.held_out = loss;
      if (std::isfinite(loss) && (!run.best || loss < *run.best)) run.best = loss;
      run.held_out_steps.push_back(static_cast<double>(step));
      run.held_outs.push_back(loss);
    }
    if (!json.contains("loss") || !json["loss"].is_number()) continue;
    window.push_back(json["loss"].get<double>());
    if (window.size() > kLossWindow) window.pop_front();
    run.step = step;
    run.loss = std::accumulate(window.begin(), window.end(), 0.0) / static_cast<double>(window.size());
    run.steps.push_back(static_cast<double>(step));
    run.losses.push_back(*run.loss);
    run.images_per_s = json.value("images_per_s", 0.0);
  }
}

/// Step of the newest checkpoint and the steps that its training meant to do; {-1, 0} without one.
std::pair<std::int64_t, std::int64_t> newest_checkpoint(const fs::path& folder) {
  const std::vector<std::int64_t> steps = checkpoint::list_steps(folder);
  if (steps.empty()) return {-1, 0};
  const fs::path file = folder / checkpoint::step_name(steps.front()) / "manifest.json";
  if (!fs::exists(file)) return {-1, 0};
  const Json manifest = core::read_json(file);
  const Json state = manifest.value("state", Json::object());
  return {manifest.value("step", std::int64_t{-1}), state.value("steps", std::int64_t{0})};
}

/// How its last job's last life ended (life/JOB/lives.jsonl): {"done" | "ended" | another, exit code}; nothing of runs without, and
/// where a later job's folder says of no life yet that it ended.
std::optional<std::pair<std::string, int>> last_life(const fs::path& run) {
  std::optional<std::pair<std::string, int>> last;
  fs::file_time_type newest = fs::file_time_type::min();
  std::error_code error;
  for (const auto& job : fs::directory_iterator(run / "life", error)) {
    const fs::path file = job.path() / "lives.jsonl";
    const bool has_ended = fs::exists(file, error);
    const fs::file_time_type time = fs::last_write_time(has_ended ? file : job.path() / "about.json", error);
    if (error || time < newest) continue;
    newest = time;
    last.reset();
    if (!has_ended) continue;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);)
      if (const Json json = Json::parse(line, nullptr, false); json.is_object())
        last = {json.value("then", ""), json.value("exit_code", 0)};
  }
  return last;
}

RunSummary summarize(const fs::path& path) {
  RunSummary run{.name = path.filename().string(), .state = "not begun"};
  const RunFolder folder(path);
  const auto last = last_life(path);
  const auto failed = [&] { return fmt::format("failed at step {} (exit code {})", run.step, last->second); };
  if (!fs::exists(folder.settings())) {
    if (last && last->first == "ended") run.state = failed();
    return run;
  }
  const Json settings = core::read_json(folder.settings());
  flatten(settings, "", run.settings);
  read_metrics(folder.metrics(), run);
  const auto [saved, wanted] = newest_checkpoint(folder.checkpoints());
  const std::string steps = run.settings.contains("steps") ? run.settings.at("steps") : "?";
  if (saved >= 0 && saved >= wanted && (steps == std::to_string(wanted) || steps.ends_with('p')))
    run.state = "done";
  else if (last && last->first == "done" && run.step == saved)
    run.state = fmt::format("done early, at step {}", saved);
  else if (last && last->first == "ended")
    run.state = failed();
  else
    run.state = fmt::format("step {} of {}", run.step, steps);
  return run;
}

double rank_of(const RunSummary& run, bool by_held_out) {
  const double value = (by_held_out ? run.best : run.loss).value_or(NAN);
  return std::isfinite(value) ? value : std::numeric_limits<double>::infinity();
}

std::string number(const std::optional<double>& value, bool exact) {
  if (!value) return "";
  return exact ? fmt::format("{}", *value) : eval::short_number(*value);
}

}  // namespace

std::vector<RunSummary> summarize_runs(const fs::path& folder) {
  if (!fs::is_directory(folder))
    core::user_error("{}: no such folder of runs", core::without_controls(folder.string()));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (fs::exists(entry.path() / "settings.json")) names.insert(entry.path().filename().string());
  std::ifstream cells(folder / "cells.txt");
  for (std::string line; std::getline(cells, line);)
    if (const std::string name = line.substr(0, line.find('\t'));
        !name.empty() && name.find('/') == name.npos)
      names.insert(name);
  if (names.empty()) core::user_error("{}: holds no runs", core::without_controls(folder.string()));
  std::vector<RunSummary> runs;
  for (const std::string& name : names) runs.push_back(summarize(folder / name));
  const bool by_held_out =
      std::ranges::any_of(runs, [](const RunSummary& run) { return run.best.has_value(); });
  std::ranges::stable_sort(runs, [&](const RunSummary& a, const RunSummary& b) {
    return rank_of(a, by_held_out) < rank_of(b, by_held_out);
  });
  return runs;
}

std::vector<std::string> differing_keys(const std::vector<RunSummary>& runs) {
  std::map<std::string, std::set<std::string>> values;
  for (const RunSummary& run : runs)
    for (const auto& [key, value] : run.settings) values[key].insert(value);
  const auto begun = std::ranges::count_if(runs, [](const RunSummary& run) { return !run.settings.empty(); });
  std::vector<std::string> keys;
  for (const auto& [key, found] : values) {
    const auto have =
        std::ranges::count_if(runs, [&](const RunSummary& run) { return run.settings.contains(key); });
    if (found.size() > 1 || have < begun) keys.push_back(key);
  }
  return keys;
}

std::vector<std::vector<std::string>> runs_table(const std::vector<RunSummary>& runs, bool exact) {
  std::vector<std::string> keys = differing_keys(runs);
  if (!exact && keys.size() > kMostKeys) keys.resize(kMostKeys);
  const bool measured =
      std::ranges::any_of(runs, [](const RunSummary& run) { return run.held_out.has_value(); });
  std::vector<std::string> head = {"run", "state"};
  head.insert(head.end(), keys.begin(), keys.end());
  head.insert(head.end(), {"step", "loss"});
  if (measured || exact) head.insert(head.end(), {"held out", "best held out"});
  head.push_back("images/s");
  std::vector<std::vector<std::string>> rows = {head};
  for (const RunSummary& run : runs) {
    std::vector<std::string> row = {core::without_controls(run.name), run.state};
    for (const std::string& key : keys) {
      const auto found = run.settings.find(key);
      row.push_back(found == run.settings.end() ? "" : core::without_controls(found->second));
    }
    const bool begun = run.loss.has_value();
    row.push_back(begun ? std::to_string(run.step) : "");
    row.push_back(number(run.loss, exact));
    if (measured || exact) {
      row.push_back(number(run.held_out, exact));
      row.push_back(number(run.best, exact));
    }
    row.push_back(begun ? fmt::format("{:.1f}", run.images_per_s) : "");
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace microdit::train
