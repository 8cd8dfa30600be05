// What a person can do next with a run, as commands that work: at a refusal, at a stop, at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "train/run_folder.h"
#include "train/train_config.h"

namespace microdit::train {

/// Steps of the checkpoints that are visible under `checkpoints`, in order; nothing is verified.
std::vector<std::int64_t> visible_steps(const std::filesystem::path& checkpoints);

/// The command line of this start (`life`: jobs::describe_life) with other values of some keys; under Slurm, where that
/// line is not what the user typed, what to add to theirs.
std::string command_with(const core::Json& life, const std::vector<std::string>& changes);

/// How to train a run further, from its own folder alone.
std::string continue_command(const core::Json& life, const RunFolder& run, std::int64_t steps);

/// How to go on from one of its checkpoints in a run of its own, whose learning rate falls until its own end.
std::string branch_command(const core::Json& life, const RunFolder& run, std::int64_t from,
                           std::int64_t steps);

/// Whether the learning rate is 0 before `steps` are done. Lengths are known.
bool rate_ends(const ScheduleConfig& schedule, std::int64_t steps);
/// UserError where it is. `reached`: of the run; -1 = it was not started yet.
void demand_rate(const LoopConfig& config, const core::Json& life, std::int64_t reached);

/// What to do instead of changing settings that bind a run.
std::string advice_for_changes(const RunFolder& run, const std::vector<std::string>& keys,
                               const RunSettings& now);

/// UserError when there is nothing to train: the run is beyond `steps` already, or what it starts from with its step count
/// (init.load=all) is. `reached` is the run's newest checkpoint, or -1.
void demand_steps_of_run(const LoopConfig& config, const core::Json& life, std::int64_t reached);
void demand_steps_of_start(const LoopConfig& config, std::int64_t first_step);

/// UserError: `init.from` is no start; says which checkpoints there are beside it.
[[noreturn]] void refuse_start(const std::string& from);

/// UserError: more than weights is wanted of a file that holds nothing else.
void demand_load_of_file(const InitConfig& init);

/// The same before anything is opened: by the names of the checkpoints, for --check-settings and --dry-run (`with_init`:
/// also whether what the run starts from is there). Collective.
void check_start(const LoopConfig& config, const core::Json& life, bool with_init, comm::Communicator& comm);

}  // namespace microdit::train
