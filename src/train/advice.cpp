// Commands that work, made of the one that was given.
#include "train/advice.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "checkpoint/checkpoint.h"
#include "core/dataset_folder.h"
#include "core/error.h"
#include "core/shell_line.h"
#include "train/start_file.h"
#include "train/state_source.h"

namespace microdit::train {
namespace {

namespace fs = std::filesystem;

std::string key_of(const std::string& word) {
  return word.substr(0, word.find('='));
}

/// Whether `word` sets the same key as `change`. One that sets a whole section stays: the change comes behind it.
bool is_replaced(const std::string& word, const std::string& change) {
  return !word.starts_with("-") && word.find('=') != std::string::npos && key_of(word) == key_of(change);
}

bool only_asks(const std::string& word) {
  return word == "--dry-run" || word == "--check-settings";
}

std::vector<std::string> launcher_of(const core::Json& life) {
  const std::int64_t ranks = life.value("ranks", std::int64_t{1});
  if (ranks < 2) return {};
  return {"mpirun", "-n", std::to_string(ranks)};
}

bool is_typed_here(const core::Json& life) {
  return life.is_object() && life.value("job", "").empty() && life.contains("words") &&
         !life["words"].empty();
}

std::string same_command_with(const std::vector<std::string>& changes) {
  return changes.empty() ? "the same command" : "the same command with " + core::shell_line(changes);
}

/// The first of NAME_2, NAME_3, ... that is free.
std::string free_name(const fs::path& run) {
  for (int i = 2;; ++i) {
    const std::string name = fmt::format("{}_{}", run.filename().string(), i);
    if (!fs::exists(run.parent_path() / name)) return name;
  }
}

std::string checkpoint_of(const fs::path& run, std::int64_t step) {
  return (RunFolder(run).checkpoints() / checkpoint::step_name(step)).string();
}

/// The step that a start from there would begin at, or -1.
std::int64_t first_step_of(const fs::path& from) {
  if (fs::exists(from / "manifest.json")) return checkpoint::step_of(from.filename().string()).value_or(-1);
  const std::vector<std::int64_t> steps = visible_steps(from / "checkpoints");
  return steps.empty() ? -1 : steps.back();
}

/// data.N.recipe=... where the run stays with a recipe that it found as the only one, and there are several now.
std::vector<std::string> recipes_of(const core::Json& settings) {
  std::vector<std::string> words;
  const core::Json data = settings.value("data", core::Json::array());
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::string dataset = data[i].value("dataset", ""), recipe = data[i].value("recipe", "");
    if (dataset.empty() || recipe.empty()) continue;
    try {
      core::latents_folder(dataset, "");
    } catch (const core::UserError&) {
      words.push_back(fmt::format("data.{}.recipe={}", i, recipe));
    }
  }
  return words;
}

}  // namespace

std::vector<std::int64_t> visible_steps(const fs::path& checkpoints) {
  std::vector<std::int64_t> steps;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(checkpoints, none)) {
    const auto step = checkpoint::step_of(entry.path().filename().string());
    if (step && fs::exists(entry.path() / "manifest.json", none)) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string command_with(const core::Json& life, const std::vector<std::string>& changes) {
  if (!is_typed_here(life)) return same_command_with(changes);
  std::vector<std::string> words = launcher_of(life);
  for (const std::string& word : life["words"].get<std::vector<std::string>>()) {
    const bool goes = only_asks(word) || std::ranges::any_of(changes, [&](const std::string& change) {
                        return is_replaced(word, change);
                      });
    if (!goes) words.push_back(word);
  }
  words.insert(words.end(), changes.begin(), changes.end());
  return core::shell_line(words);
}

std::string continue_command(const core::Json& life, const RunFolder& run, std::int64_t steps) {
  const std::string change = fmt::format("steps={}", steps);
  if (!is_typed_here(life)) return same_command_with({change});
  std::vector<std::string> words = launcher_of(life);
  words.insert(words.end(), {life["words"][0].get<std::string>(), "--config", run.config().string(), change});
  return core::shell_line(words);
}

std::string advice_for_changes(const RunFolder& run, const std::vector<std::string>& keys,
                               const RunSettings& now) {
  const bool other_network = std::ranges::any_of(
      keys, [](const std::string& key) { return key.starts_with("model") || key.starts_with("codec"); });
  const std::vector<std::int64_t> steps = visible_steps(run.checkpoints());
  std::vector<std::string> changes = {"name=" + free_name(run.path())};
  for (std::string& word : recipes_of(now.json)) changes.push_back(std::move(word));
  if (steps.empty())
    return fmt::format("Change them back, or begin another run:\n  {}", command_with(now.life, changes));
  const std::string from = checkpoint_of(run.path(), steps.back());
  if (other_network)
    return fmt::format(
        "Change them back, or train the other network from its beginning:\n  {}\n(init.from={} "
        "init.load=weights takes "
        "weights over only where all shapes agree.)",
        command_with(now.life, changes), from);
  changes.insert(changes.end(), {"init.from=" + from, "init.load=all"});
  const core::Json wanted = now.json.value("steps", core::Json());
  if (wanted.is_number() && wanted.get<std::int64_t>() <= steps.back())
    changes.push_back(fmt::format("steps={}", 2 * steps.back()));
  return fmt::format("Change them back, or go on from its step {} in another run:\n  {}", steps.back(),
                     command_with(now.life, changes));
}

std::string branch_command(const core::Json& life, const RunFolder& run, std::int64_t from,
                           std::int64_t steps) {
  return command_with(life, {"name=" + free_name(run.path()), "init.from=" + checkpoint_of(run.path(), from),
                             "init.load=all", "schedule.decay_steps=0", fmt::format("steps={}", steps)});
}

bool rate_ends(const ScheduleConfig& schedule, std::int64_t steps) {
  const bool ends = schedule.kind == "cosine" || schedule.kind == "linear";
  return ends && schedule.final_factor == 0 && schedule.decay_steps > 0 && steps > schedule.decay_steps;
}

void demand_rate(const LoopConfig& config, const core::Json& life, std::int64_t reached) {
  if (!config.steps.is_known() || !config.schedule.decay_steps.is_known()) return;
  if (!rate_ends(config.schedule, config.steps)) return;
  const std::string what =
      fmt::format("steps={}: the learning rate is 0 from step {} on (schedule.decay_steps, final_factor: 0)",
                  config.steps.text(), config.schedule.decay_steps.steps());
  if (reached < 0)
    core::user_error("{}; take fewer steps, a longer decay, or schedule.kind=cosine_cycle", what);
  core::user_error(
      "{}. To train on, begin another run at its step {}, whose rate falls until its own end:\n  {}", what,
      reached, branch_command(life, RunFolder(run_folder(config).path()), reached, config.steps));
}

void demand_steps_of_run(const LoopConfig& config, const core::Json& life, std::int64_t reached) {
  demand_rate(config, life, reached);
  if (!config.steps.is_known() || config.steps >= reached) return;  // in epochs: known when the data are open
  const fs::path run = run_folder(config).path();
  const std::vector<std::int64_t> there = visible_steps(RunFolder(run).checkpoints());
  const auto earlier = std::ranges::find_if(there, [&](std::int64_t step) { return step < config.steps; });
  std::string other;
  if (earlier != there.end()) {
    other =
        fmt::format("\nOr branch off one of its checkpoints (steps {}):\n  {}", fmt::join(there, ", "),
                    command_with(life, {"name=" + free_name(run), "init.from=" + checkpoint_of(run, *earlier),
                                        "init.load=all", fmt::format("steps={}", config.steps.text())}));
  }
  core::user_error("steps={}: {} is at step {} already. To train on, give more:\n  {}{}", config.steps.text(),
                   run.string(), reached, command_with(life, {fmt::format("steps={}", 2 * reached)}), other);
}

void demand_steps_of_start(const LoopConfig& config, std::int64_t first_step) {
  if (config.init.load != "all" || !config.steps.is_known() || first_step < config.steps) return;
  core::user_error(
      "init.from={} init.load=all: starts at step {} of steps={}: nothing to train; give steps={}",
      config.init.from, first_step, config.steps.text(), 2 * first_step);
}

void refuse_start(const std::string& from) {
  const fs::path path = fs::path(from).lexically_normal();
  const fs::path folder = path.has_filename() ? path : path.parent_path();
  for (const fs::path& checkpoints :
       {folder.parent_path(), folder / "checkpoints", folder, folder.parent_path() / "checkpoints"}) {
    const std::vector<std::int64_t> steps = visible_steps(checkpoints);
    if (steps.empty()) continue;
    core::user_error("init.from={}: no such checkpoint; {} holds steps {}: init.from={}", from,
                     checkpoints.string(), fmt::join(steps, ", "),
                     (checkpoints / checkpoint::step_name(steps.back())).string());
  }
  core::user_error(
      "init.from={}: {}neither a run with checkpoints, nor a checkpoint, nor a file of weights "
      "(.safetensors, .pt), nor a folder of diffusers",
      from, fs::exists(from) ? "" : "not there: ");
}

void demand_load_of_file(const InitConfig& init) {
  const fs::path file = init.load == "weights" ? fs::path() : start_file(init.from);
  if (file.empty() || TorchState(file).has_moments()) return;
  core::user_error(
      "init.load={}: {} is a file of weights and holds no optimizer and no step; say init.load=weights, or "
      "name a run",
      init.load, init.from);
}

void check_start(const LoopConfig& config, const core::Json& life, bool with_init, comm::Communicator& comm) {
  comm.on_root([&] {
    const std::vector<std::int64_t> reached = visible_steps(run_folder(config).checkpoints());
    const std::string& from = config.init.from;
    if (!reached.empty()) {
      demand_steps_of_run(config, life, reached.back());
    } else if (!from.empty()) {
      const std::int64_t first = first_step_of(from);
      const bool is_there =
          first >= 0 || fs::exists(fs::path(from) / "manifest.json") || !start_file(from).empty();
      if (with_init && !is_there) refuse_start(from);
      demand_load_of_file(config.init);
      demand_steps_of_start(config, first);
    }
  });
}

}  // namespace microdit::train
