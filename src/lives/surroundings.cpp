// Slurm's variables and ours.
#include "lives/surroundings.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "core/error.h"

namespace microdit::lives {
namespace {

std::int64_t whole_number(const char* name, std::int64_t otherwise) {
  const std::string text = variable(name);
  if (text.empty()) return otherwise;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0)
    core::user_error("{}={}: expected a whole number of at least 0", name, text);
  return value;
}

bool yes(const char* name) {
  const std::string text = variable(name, "0");
  if (text != "0" && text != "1") core::user_error("{}={}: expected 1 or 0", name, text);
  return text == "1";
}

/// Slurm says "2" or "h100:2" or "gpu:h100:2".
std::int64_t gpus_per_node() {
  const std::string on_this_node = variable("SLURM_GPUS_ON_NODE");
  const std::string count = on_this_node.substr(on_this_node.rfind(':') + 1);
  std::int64_t value = 0;
  std::from_chars(count.data(), count.data() + count.size(), value);
  return value;
}

std::string host_name() {
  const std::string full = core::host_name();
  return variable("SLURMD_NODENAME", full.substr(0, full.find('.')));
}

}  // namespace

Surroundings read_surroundings() {
  Surroundings here;
  here.host = host_name();
  here.limits = {whole_number("MICRODIT_FRUITLESS_LIVES", 3), whole_number("MICRODIT_FAULTS", 3)};
  here.stop_seconds = whole_number("MICRODIT_STOP_SECONDS", here.stop_seconds);
  const std::string way = variable("MICRODIT_CONTINUE", "requeue");
  if (way != "requeue" && way != "resubmit")
    core::user_error("MICRODIT_CONTINUE={}: expected requeue or resubmit (slurm/sites/NAME.sh)", way);
  here.resubmit = way == "resubmit";
  here.take_over = yes("MICRODIT_TAKE_OVER");
  here.job = variable("SLURM_JOB_ID");
  if (!here.in_slurm()) return here;
  const std::string task = variable("SLURM_ARRAY_TASK_ID");
  if (!task.empty()) here.job = fmt::format("{}_{}", variable("SLURM_ARRAY_JOB_ID"), task);
  here.key = variable("MICRODIT_CONTINUES", here.job);
  here.cluster = variable("SLURM_CLUSTER_NAME");
  here.nodes = variable("SLURM_JOB_NODELIST");
  here.num_nodes = whole_number("SLURM_JOB_NUM_NODES", 1);
  here.ranks = whole_number("SLURM_NTASKS", 1);
  here.gpus = gpus_per_node() * here.num_nodes;
  here.restart_count = whole_number("SLURM_RESTART_COUNT", 0);
  return here;
}

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string iso_date(std::int64_t moment) {
  const std::time_t seconds = moment;
  std::tm local{};
  ::localtime_r(&seconds, &local);
  std::array<char, 40> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S%z", &local);
  return text.data();
}

void say(const std::string& who, const std::string& text) {
  // One write per line: others write to the same log.
  const std::string line = fmt::format("[{} {}] {}: {}\n", iso_date(now()), host_name(), who, text);
  std::fputs(line.c_str(), stderr);
}

}  // namespace microdit::lives
