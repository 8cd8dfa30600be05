// A life: accept, claim, copy; run the ranks; judge; go on elsewhere, again, or no more.
#include "lives/life.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>

#include "core/atomic_file.h"
#include "core/error.h"
#include "lives/again.h"
#include "lives/ledger.h"
#include "lives/owner.h"

namespace microdit::lives {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLaunches = 3;
constexpr std::chrono::seconds kLaunchPause{2};

void demand_program(const Stage& stage) {
  const fs::path program = stage.bin / stage.name;
  const bool there = stage.prefix.empty() ? ::access(program.c_str(), X_OK) == 0
                                          : ask(stage.prefix + Words{"test", "-x", program.string()},
                                                std::chrono::minutes(10), Errors::shown)
                                                    .exit_code == 0;
  if (there) return;
  if (!stage.prefix.empty())
    core::user_error(
        "{} is missing behind MICRODIT_PREFIX=\"{}\"; set MICRODIT_BIN to the programs' folder in there",
        program.string(), shell_line(stage.prefix));
  core::user_error(
      "{} is missing: build first (scripts/setup.sh, then cmake --preset release && ninja -C build)",
      program.string());
}

/// The ranks' command line: each is started through this program, which keeps early signals for it.
Words rank_line(const Stage& stage, const Words& program, const std::string& mark) {
  Words line = stage.launcher + Words{own_program().string(), "rank"};
  if (!mark.empty()) line = line + Words{"--mark", mark};
  return line + Words{"--"} + stage.prefix + program;
}

/// What a program answers at once, alone: no life of a job.
bool only_asks(const Words& arguments) {
  constexpr std::array<std::string_view, 6> kQuestions = {"--dry-run", "--help",         "-h",
                                                          "--version", "--print-config", "--check-settings"};
  return std::find_first_of(arguments.begin(), arguments.end(), kQuestions.begin(), kQuestions.end()) !=
         arguments.end();
}

class Life {
 public:
  Life(const Stage& stage, const Words& script_arguments, const Surroundings& here, const Slurm& slurm)
      : stage_(stage),
        script_arguments_(script_arguments),
        here_(here),
        slurm_(slurm),
        ledger_(stage.state, here.first()),
        ran_before_(ledger_.counters.lives > 0) {}

  int run() {
    Ending ending;
    try {
      const Words program = prepare();
      ending = run_ranks(program);
    } catch (const Held&) {
      undo();
      throw;
    } catch (const core::FaultError& error) {  // Slurm or a file system, not the user
      ending = own_fault(error);
    } catch (const std::exception& error) {
      if (!is_later()) {
        undo();
        throw;
      }
      ending = own_fault(error);
    } catch (...) {
      undo();
      throw;
    }
    return finish(ending);
  }

 private:
  /// An earlier life was accepted, so what is refused now is no mistake.
  bool is_later() const { return ran_before_ && !began_here_; }

  /// As if a rank had met it, but of no node's making.
  Ending own_fault(const std::exception& error) {
    say(stage_.name, error.what());
    blames_no_node_ = true;
    return {.exit_code = core::kHardwareFault};
  }

  /// What the ranks run: of a training job the copies that its first life made.
  Words prepare() {
    if (!fs::exists(ledger_.script())) fs::copy_file(stage_.script, ledger_.script());
    ledger_.begin_life();
    ++ledger_.counters.lives;
    ledger_.save();
    if (!stage_.trains()) {
      demand_program(stage_);
      return Words{(stage_.bin / stage_.name).string()} + stage_.arguments;
    }
    std::error_code none;
    fs::path folder = fs::read_symlink(ledger_.kept(), none);
    if (none) folder = begin_training();
    kept_ = std::make_unique<Kept>(folder);
    owner().claim();
    return {kept_->program(stage_).string(), "--config", kept_->config().string()};
  }

  /// Everything that can refuse comes before the first byte in the run's folder.
  fs::path begin_training() {
    demand_program(stage_);
    check_settings(stage_);
    const Resolved resolved = resolve(stage_);
    const fs::path folder = fs::absolute(resolved.run / "life" / here_.key).lexically_normal();
    Owner(folder.parent_path(), here_, slurm_).claim();
    kept_ = std::make_unique<Kept>(folder);
    began_here_ = true;
    kept_->create(stage_, resolved.config, here_);
    fs::create_directory_symlink(folder, ledger_.kept());
    return folder;
  }

  /// A launcher that failed before it started a rank is asked again: srun meets a busy controller, and Open MPI's mpirun
  /// fails when another mpirun of the same user on the same node removes the session folder that they share.
  Watched launch(const Words& line, const Grace& grace) const {
    for (int launches = 1;; ++launches) {
      const Watched watched = watch(line, !stage_.launcher.empty(), grace);
      if (watched.exit_code != core::kFailed || watched.stop_was_asked || ledger_.ranks_began() ||
          launches == kMaxLaunches)
        return watched;
      say(stage_.name, "no rank was started (see above); trying again");
      std::this_thread::sleep_for(kLaunchPause);
    }
  }

  Ending run_ranks(const Words& program) {
    ::setenv("MICRODIT_PROGRESS", ledger_.progress_file().c_str(), 1);
    ::setenv("MICRODIT_FAULTY_NODES", ledger_.faults_file().c_str(), 1);
    began_ = now();
    say(stage_.name,
        fmt::format("life {} of job {} on {}: {} ranks, {} GPUs, {} threads each", ledger_.counters.lives,
                    here_.job, here_.nodes, here_.ranks, here_.gpus, variable("OMP_NUM_THREADS", "1")));
    const Grace grace{std::chrono::seconds(here_.stop_seconds), [&] {
                        const auto facts = slurm_.facts(here_.job);
                        return facts && is_out_of_time(*facts);
                      }};
    const Watched watched = launch(rank_line(stage_, program, ledger_.ranks_file().string()), grace);
    terminated_ = watched.was_terminated;
    Ending ending{watched.exit_code,   ledger_.progress(), watched.stop_was_asked,
                  watched.was_overdue, is_later(),         ledger_.ranks_began()};
    if (ending.exit_code == 0 && !ending.ranks_began) {
      say(stage_.name, "the launcher returned success, but no rank was started (see above)");
      ending.exit_code = core::kFailed;
    }
    return ending;
  }

  /// A run or bookkeeping that is full or gone must not cost the job its next life.
  template <class Action>
  void try_to(Action action) const {
    try {
      action();
    } catch (const std::exception& error) {
      say(stage_.name, error.what());
    }
  }

  int finish(const Ending& ending) {
    const Decision decision = decide(ending, here_.limits, ledger_.counters);
    try_to([&] { ledger_.save(); });
    if (decision.next == Next::live_again || decision.next == Next::live_elsewhere) {
      const std::optional<int> exit_code = go_on(ending, decision);
      if (exit_code) return *exit_code;
    } else {
      if (!decision.why.empty()) say(stage_.name, decision.why);
      account(ending, decision.next == Next::done ? "done" : "ended");
    }
    if (decision.exit_code == core::kUserMistake && began_here_) {
      undo();
    } else {
      if (kept_) try_to([&] { owner().release(); });
      ledger_.remove();
    }
    return decision.exit_code;
  }

  /// Claim and ledger stay even where no next life is ours to start, for Slurm itself may requeue a job that it
  /// preempted. Nothing: the job is over.
  std::optional<int> go_on(const Ending& ending, const Decision& decision) {
    std::string avoid;
    if (decision.next == Next::live_elsewhere)
      try_to([&] {
        // Which of many it was nobody knows.
        if (!blames_no_node_) avoid = ledger_.faulty_nodes();
        if (!blames_no_node_ && avoid.empty() && here_.num_nodes == 1) avoid = here_.nodes;
      });
    const Again again = live_again({here_, stage_, script_arguments_, script(), avoid, terminated_}, slurm_);
    say(stage_.name, fmt::format("{}; {}", decision.why, again.text));
    if (kept_ && !again.successor.empty()) try_to([&] { owner().hand_over(again.successor); });
    account(ending, again.text);
    if (again.is_over) return std::nullopt;
    return again.successor.empty() ? decision.exit_code : again.exit_code;
  }

  /// Of the next life; Slurm's own copy, should ours be gone.
  fs::path script() const {
    std::error_code none;
    return fs::exists(ledger_.script(), none) ? ledger_.script() : stage_.script;
  }

  /// A start that was refused leaves nothing.
  void undo() {
    if (kept_) try_to([&] { owner().release(); });
    if (kept_ && began_here_) kept_->remove();
    ledger_.remove();
  }

  void account(const Ending& ending, const std::string& then) const {
    const std::int64_t seconds = began_ == 0 ? 0 : now() - began_;
    const std::string progress = ending.exit_code == 0 ? ""
                                 : ending.progress     ? ", progress"
                                                       : ", no progress";
    say(stage_.name,
        fmt::format("life {} took {}:{:02}:{:02} on {} ({:.2f} GPU hours), exit code {}{}",
                    ledger_.counters.lives, seconds / 3600, seconds / 60 % 60, seconds % 60, here_.nodes,
                    static_cast<double>(seconds * here_.gpus) / 3600, ending.exit_code, progress));
    std::error_code none;
    if (!kept_ || !fs::exists(kept_->folder(), none)) return;
    kept_->record({{"life", ledger_.counters.lives},
                   {"job", here_.job},
                   {"nodes", here_.nodes},
                   {"ranks", here_.ranks},
                   {"gpus", here_.gpus},
                   {"began", iso_date(now() - seconds)},
                   {"seconds", seconds},
                   {"exit_code", ending.exit_code},
                   {"progress", ending.progress},
                   {"then", then}});
  }

  Owner owner() const { return Owner(kept_->folder().parent_path(), here_, slurm_); }

  const Stage& stage_;
  const Words& script_arguments_;
  const Surroundings& here_;
  const Slurm& slurm_;
  Ledger ledger_;
  const bool ran_before_;
  std::unique_ptr<Kept> kept_{};
  bool began_here_ = false;  ///< this life made the copies
  bool terminated_ = false;
  bool blames_no_node_ = false;
  std::int64_t began_ = 0;
};

}  // namespace

Words read_stage(const Words& words, Stage& stage) {
  const auto divider = std::find(words.begin(), words.end(), "--");
  if (words.empty() || divider == words.begin() || divider == words.end())
    core::user_error("life: expected STAGE DEFAULTS... -- ARGUMENTS...");
  const Words given(divider + 1, words.end());
  const bool is_whole = std::any_of(given.begin(), given.end(), [](const std::string& word) {
    return word.starts_with("--config") || word.starts_with("train=") || word.starts_with("dataset=") ||
           (word.starts_with("--run") && !word.starts_with("--run-"));
  });
  stage.name = words[0];
  if (!is_whole) stage.arguments = Words(words.begin() + 1, divider);
  stage.arguments = stage.arguments + split_words(variable("MICRODIT_ARGS")) + given;
  const bool shares = (stage.name == "download" || stage.name == "clean" || stage.name == "precompute" ||
                       stage.name == "score") &&
                      std::none_of(given.begin(), given.end(),
                                   [](const std::string& word) { return word.starts_with("task="); });
  if (shares && !variable("SLURM_ARRAY_TASK_ID").empty()) {
    const std::string tasks = variable("MICRODIT_TASKS");
    const std::string share =
        tasks.empty() ? "" : fmt::format("{}/{}", variable("SLURM_ARRAY_TASK_ID"), tasks);
    if (const std::string task = variable("MICRODIT_TASK", share); !task.empty())
      stage.arguments.push_back("task=" + task);
  }
  return given;
}

int live(const Stage& stage, const Words& script_arguments, const Surroundings& here, const Slurm& slurm) {
  take_signals();
  const Words program = Words{(stage.bin / stage.name).string()} + stage.arguments;
  if (only_asks(script_arguments)) {
    demand_program(stage);
    return watch(stage.prefix + program, false).exit_code;
  }
  if (here.in_slurm() && !stage.state.empty()) return Life(stage, script_arguments, here, slurm).run();
  demand_program(stage);
  const int exit_code = watch(rank_line(stage, program, ""), !stage.launcher.empty()).exit_code;
  if (exit_code == core::kRequeueMe)
    say(stage.name, "stopped with its work saved; the same command continues it");
  if (exit_code != core::kDone && exit_code != core::kRequeueMe)
    say(stage.name, fmt::format("failed with exit code {}", exit_code));
  return exit_code;
}

}  // namespace microdit::lives
