// How this process was started, and which share of a stage's items it takes: read from the environment.
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "comm/communicator.h"
#include "core/error.h"

namespace microdit::comm {
namespace {

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_set(const char* name) {
  return std::getenv(name) != nullptr;
}

std::optional<std::int64_t> integer_variable(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  const auto value = parse_integer(text);
  if (!value)
    core::user_error(
        "environment variable {}=\"{}\" is not an integer; unset it or start with srun or mpirun", name,
        text);
  return value;
}

int variable_or(const char* name, int fallback) {
  return static_cast<int>(integer_variable(name).value_or(fallback));
}

// The tasks of an array as 0-based index and count. A lone task, or one of an array that does not begin at 0 or has holes,
// is probably a part submitted again, whose whole nobody tells: its share would be others' work, so task= is needed.
Share array_share() {
  const auto id = integer_variable("SLURM_ARRAY_TASK_ID");
  if (!id) return {};
  const std::int64_t first = integer_variable("SLURM_ARRAY_TASK_MIN").value_or(*id);
  const std::int64_t last = integer_variable("SLURM_ARRAY_TASK_MAX").value_or(*id);
  const std::int64_t step = integer_variable("SLURM_ARRAY_TASK_STEP").value_or(1);
  const std::int64_t count = integer_variable("SLURM_ARRAY_TASK_COUNT").value_or(1);
  const bool whole =
      count > 1 && first == 0 && step > 0 && *id <= last && *id % step == 0 && last / step + 1 == count;
  if (!whole) {
    core::user_error(
        "job array of {} task(s) from {} to {}: whose share this task's is cannot be told from it. To do "
        "some tasks of an "
        "array of N again: MICRODIT_TASKS=N sbatch --array={}..., or pass task={}/N (all in one: task=0/1)",
        count, first, last, *id, *id);
  }
  return {*id / step, count};
}

}  // namespace

Launch detect_launch() {
  // mpirun first: inside an allocation it starts its helpers with srun, whose variables the ranks inherit.
  if (const auto size = integer_variable("OMPI_COMM_WORLD_SIZE")) {
    return {true,
            static_cast<int>(*size),
            variable_or("OMPI_COMM_WORLD_RANK", -1),
            variable_or("OMPI_COMM_WORLD_LOCAL_RANK", -1),
            "mpirun",
            true};
  }
  if (const auto size = integer_variable("PMI_SIZE"); size && !is_set("PMIX_RANK")) {
    return {true,
            static_cast<int>(*size),
            variable_or("PMI_RANK", -1),
            variable_or("MPI_LOCALRANKID", variable_or("SLURM_LOCALID", -1)),
            is_set("SLURM_STEP_ID") ? "srun" : "mpiexec",
            true};
  }
  // A step of srun has a host that srun listens on; a batch script and a plain program in it have not.
  const auto step_tasks = integer_variable("SLURM_STEP_NUM_TASKS");
  if (step_tasks && is_set("SLURM_STEP_ID") && is_set("SLURM_SRUN_COMM_HOST")) {
    return {true,
            static_cast<int>(*step_tasks),
            variable_or("SLURM_PROCID", -1),
            variable_or("SLURM_LOCALID", -1),
            "srun",
            is_set("PMIX_RANK") || is_set("PMI_FD")};
  }
  return {};
}

Share share_of(const Communicator& comm, const std::string& task) {
  Share tasks;
  if (task.empty()) {
    tasks = array_share();
  } else {
    const std::size_t slash = task.find('/');
    const auto index = parse_integer(std::string_view(task).substr(0, slash));
    const auto count =
        slash == std::string::npos ? std::nullopt : parse_integer(std::string_view(task).substr(slash + 1));
    if (!index || !count || *index < 0 || *count < 1 || *index >= *count) {
      core::user_error("task=\"{}\": expected i/n with 0 <= i < n, such as task=0/4", task);
    }
    tasks = {*index, *count};
  }
  return {tasks.slot * comm.size() + comm.rank(), tasks.slots * comm.size()};
}

}  // namespace microdit::comm
