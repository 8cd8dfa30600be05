// What every job's main shares: command line, config, log, communicator, signals, and errors -> exit codes.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/config.h"
#include "core/config_origins.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stop_flag.h"

namespace microdit::jobs {

/// NAME --config FILE [key=value ...] [--print-config] [--dry-run] [--help] [--version]; or with --run DIR.
struct CommandLine {
  std::string config{};                   ///< --config; of NAME alone, configs/FOLDER/NAME.yaml
  std::string run{};                      ///< --run
  std::vector<std::string> prompts{};     ///< --prompt (may repeat)
  std::string prompts_file{};             ///< --prompts
  std::vector<std::string> classes{};     ///< --class (may repeat)
  std::string classes_file{};             ///< --classes
  std::vector<std::string> positional{};  ///< words that are no key=value (doctor verify DIR, probe forward)
  std::vector<std::string> overrides{};   ///< key=value, +key=value, ~key
  bool print_config = false;
  bool dry_run = false;
  bool check_settings = false;  ///< --check-settings
  /// probe's and convert's files: --weights --input --output --encoder --codec
  std::map<std::string, std::string> paths{};
};

struct JobInfo {
  std::string name;
  std::string summary;
  bool takes_config = true;
  std::string config_folder{};  ///< of configs/: with "train", train=NAME is configs/train/NAME.yaml
  bool takes_run = false;
  bool takes_prompts = false;
  bool has_dry_run = false;  ///< also without --config and --run
  bool makes_run = false;    ///< train, train_codec: --check-settings
  bool obeys_stop =
      true;  ///< false: the body never looks at the stop flag, so SIGTERM and SIGUSR1 end the process at once
  std::string positional_help{};            ///< "" = none allowed
  std::vector<std::string> path_options{};  ///< e.g. {"weights", "input"}
  std::string field_help{};  ///< describe_fields<T>() for --help; of run_config_job: what follows it
};

struct Job {
  const CommandLine& line;
  comm::Communicator& comm;
  core::StopFlag& stop;
};

/// Parses, starts MPI when launched by it, runs `body`, and turns its result or exception into the exit code:
/// UserError 2, faults (FaultError, CUDA but not out of memory) 76, anything else 1; core::Stopped, while
/// nothing is in work yet, 75. With several ranks a failing rank
/// ends all with its code. The watchdog runs from the start (comm::kDeadline_s).
int run_job(int argc, char** argv, const JobInfo& info, const std::function<int(Job&)>& body);

/// Every line behind "# ".
std::string as_comments(const std::string& text);

/// For jobs with one config type: loads it (all errors at once), handles --print-config, which says where each value comes from.
/// `more` is printed below the config, as comments.
template <class Config>
int run_config_job(int argc, char** argv, JobInfo info, const std::function<int(Job&, Config)>& body,
                   const std::function<std::string(const Config&)>& more = nullptr) {
  info.field_help = core::describe_fields<Config>() + info.field_help;
  return run_job(argc, argv, info, [&](Job& job) {
    if (job.line.config.empty()) core::user_error("{}: --config FILE is missing (see --help)", info.name);
    const auto tree = core::ConfigTree::load(job.line.config, job.line.overrides);
    const auto config = core::load<Config>(tree);
    if (job.line.print_config) {
      if (job.comm.rank() == 0)
        fmt::print("{}{}", core::to_yaml_with_origins(config, tree), more ? as_comments(more(config)) : "");
      return static_cast<int>(core::kDone);
    }
    return body(job, config);
  });
}

}  // namespace microdit::jobs
