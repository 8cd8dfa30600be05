// scontrol requeue; where that is refused, sbatch of the same script with the same options.
#include "lives/again.h"

#include <algorithm>
#include <array>
#include <sstream>
#include <utility>

#include "core/error.h"

namespace microdit::lives {
namespace {

std::string fact(const JobFacts& facts, const std::string& key) {
  const auto found = facts.find(key);
  return found == facts.end() ? "" : found->second;
}

/// What is excluded already, and the nodes to avoid unless too few would be left to start at all.
std::string all_to_avoid(const AgainRequest& request, const JobFacts& facts, const Slurm& slurm) {
  const std::string before = fact(facts, "ExcNodeList");
  if (request.avoid.empty()) return before;
  const std::string all = before.empty() ? request.avoid : before + "," + request.avoid;
  Words names = slurm.host_names(all);
  std::sort(names.begin(), names.end());
  const auto excluded = std::unique(names.begin(), names.end()) - names.begin();
  const std::int64_t there = slurm.num_nodes(fact(facts, "Partition"));
  return there > 0 && excluded + request.here.num_nodes > there ? before : all;
}

/// What Slurm says of the job, once it says something. Nothing: no answer, or the job is being ended; `why`
/// says which.
std::optional<JobFacts> facts_of_living(const AgainRequest& request, const Slurm& slurm, std::string& why) {
  std::optional<JobFacts> facts;
  const Reply reply = slurm.insist([&]() -> Reply {
    facts = slurm.facts(request.here.job);
    return facts ? Reply{Reply::yes, ""} : Reply{Reply::silence, "scontrol show job"};
  });
  if (reply.kind == Reply::silence) {
    why = "Slurm did not answer";
    return std::nullopt;
  }
  if (goes_on(*facts)) return facts;
  why = fmt::format("the job is being ended (JobState={})", fact(*facts, "JobState"));
  return std::nullopt;
}

Again not_again(const std::string& why) {
  return {.text = why + ": not requeued; the same sbatch command continues it"};
}

/// Slurm may have requeued it itself, as it does with what it preempts.
Again left_to_slurm(const std::string& why) {
  return {.text =
              why + ": left to Slurm; if the job does not start again, the same sbatch command continues it"};
}

/// sbatch --no-requeue: each life is to be started by hand.
Again left_to_user(const AgainRequest& request, const JobFacts& facts) {
  std::string script = fact(facts, "Command");  // with the arguments behind it
  script = script.substr(0, script.find(' '));
  const Words command = Words{"sbatch", "--no-requeue", script} + request.script_arguments;
  return {.is_over = true,
          .text = fmt::format("submitted with --no-requeue: ended; to continue: {} (a site that forbids "
                              "requeues: MICRODIT_CONTINUE=resubmit)",
                              shell_line(command))};
}

/// The answer to an earlier sbatch may have been lost: what waits already is not submitted twice.
Reply submit_once(const Words& words, const AgainRequest& request, const Slurm& slurm) {
  bool is_first = true;
  return slurm.insist([&]() -> Reply {
    if (!std::exchange(is_first, false)) {
      const Reply found = slurm.find_successor(request.here.job, request.script.string());
      if (found.kind != Reply::no) return found;
    }
    return slurm.submit(words);
  });
}

/// Asks whether the job goes on and requeues it, again and again: between two calls a person may have
/// cancelled it. When Slurm says nothing, a job that no SIGTERM came for can only be a living one.
Reply insist_on_requeue(const AgainRequest& request, const Slurm& slurm, std::optional<JobFacts>& facts) {
  return slurm.insist([&]() -> Reply {
    facts = slurm.facts(request.here.job);
    if (facts && !goes_on(*facts))
      return {Reply::no, fmt::format("the job is being ended (JobState={})", fact(*facts, "JobState"))};
    const bool terminated = request.terminated || termination_is_pending();
    if (!facts && terminated) return {Reply::silence, "scontrol show job"};
    Reply reply = slurm.requeue(request.here.job);
    if (reply.kind == Reply::no) reply.text = "refused: " + reply.text;
    return reply;
  });
}

Again resubmit(const AgainRequest& request, const Slurm& slurm) {
  const Surroundings& here = request.here;
  std::string why;
  const auto facts = facts_of_living(request, slurm, why);
  if (!facts) return why.starts_with("Slurm") ? not_again(why) : left_to_slurm(why);
  if (!here.resubmit && fact(*facts, "Requeue") == "0") return left_to_user(request, *facts);
  Words words = same_options(*facts, here);
  if (const std::string avoid = all_to_avoid(request, *facts, slurm); !avoid.empty())
    words.push_back("--exclude=" + avoid);
  std::string variables = "--export=ALL,MICRODIT_CONTINUES=" + here.key;
  if (here.job.find('_') != std::string::npos) {
    const std::string share = variable("MICRODIT_TASK", array_share());
    if (share.empty()) return not_again("the ids of this job array are not evenly spaced");
    variables += ",MICRODIT_TASK=" + share;
  }
  words = words + Words{variables, request.script.string()} + request.script_arguments;
  const Reply reply = submit_once(words, request, slurm);
  if (reply.kind != Reply::yes) return not_again(fmt::format("sbatch failed ({})", reply.text));
  const bool moved = slurm.move_dependents(here.job, reply.text);
  const bool in_array = here.job.find('_') != std::string::npos;
  std::string text = fmt::format("goes on as job {}", reply.text);
  if (!moved) text += "; some job that waits for this one could not be told to wait for that one";
  // An array is done when all its tasks are: this one must not fail it while its successor is waited for as
  // well.
  return {true, reply.text, moved && in_array ? core::kDone : core::kRequeueMe, false, text};
}

}  // namespace

std::string array_share() {
  const auto number = [](const char* name) { return std::stoll(variable(name, "0")); };
  const auto id = number("SLURM_ARRAY_TASK_ID"), first = number("SLURM_ARRAY_TASK_MIN");
  const auto last = number("SLURM_ARRAY_TASK_MAX"), count = number("SLURM_ARRAY_TASK_COUNT");
  const auto step = std::max(number("SLURM_ARRAY_TASK_STEP"), 1LL);
  if (const std::string tasks = variable("MICRODIT_TASKS"); !tasks.empty())
    return fmt::format("{}/{}", id, tasks);
  if ((id - first) % step != 0 || (last - first) / step + 1 != count) return "";
  return fmt::format("{}/{}", (id - first) / step, count);
}

namespace {

/// The job's GPUs and other gres. The script's own --gpus-per-node must not come back, and Slurm keeps what was
/// taken from it as "gres:gpu:0".
void add_gres(const JobFacts& facts, Words& words) {
  static constexpr std::array<std::pair<const char*, const char*>, 4> kKeys{
      {{"TresPerNode", "--gres="},
       {"TresPerJob", "--gpus="},
       {"TresPerTask", "--gpus-per-task="},
       {"TresPerSocket", "--gpus-per-socket="}}};
  words.push_back("--gpus-per-node=0");
  for (const auto& [key, option] : kKeys) {
    std::string wanted;
    std::istringstream entries(fact(facts, key));
    for (std::string entry; std::getline(entries, entry, ',');) {  // gres:gpu:2, gres/gpu:2, gres/gpu=2
      std::replace(entry.begin(), entry.end(), '=', ':');
      if (!entry.starts_with("gres") || entry.size() <= 5 || entry.ends_with(":0")) continue;
      entry.erase(0, 5);
      if (option != std::string_view("--gres=")) {
        if (!entry.starts_with("gpu:")) continue;
        entry.erase(0, 4);
      }
      wanted += (wanted.empty() ? "" : ",") + entry;
    }
    if (!wanted.empty()) words.push_back(option + wanted);
  }
}

}  // namespace

Words same_options(const JobFacts& facts, const Surroundings& here) {
  // Of scontrol's keys and of Slurm's variables; sbatch itself reads the rest from the script and SBATCH_*.
  static constexpr std::array<std::pair<const char*, const char*>, 9> kKeys{
      {{"JobName", "--job-name="},
       {"Partition", "--partition="},
       {"Account", "--account="},
       {"QOS", "--qos="},
       {"Comment", "--comment="},
       {"TimeLimit", "--time="},
       {"StdOut", "--output="},
       {"Features", "--constraint="},
       {"Reservation", "--reservation="}}};
  static constexpr std::array<std::pair<const char*, const char*>, 7> kVariables{
      {{"SLURM_JOB_NUM_NODES", "--nodes="},
       {"SLURM_NTASKS", "--ntasks="},
       {"SLURM_NTASKS_PER_NODE", "--ntasks-per-node="},
       {"SLURM_CPUS_PER_TASK", "--cpus-per-task="},
       {"SLURM_MEM_PER_NODE", "--mem="},
       {"SLURM_MEM_PER_CPU", "--mem-per-cpu="},
       {"SLURM_MEM_PER_GPU", "--mem-per-gpu="}}};
  const std::string task = variable("SLURM_ARRAY_TASK_ID");
  Words words{"--dependency=afterany:" + here.job, "--open-mode=append",
              "--chdir=" + std::filesystem::current_path().string()};
  if (!task.empty()) words.push_back("--array=" + task);
  for (const auto& [key, option] : kKeys) {
    if (const std::string value = fact(facts, key); !value.empty()) words.push_back(option + value);
  }
  for (const auto& [name, option] : kVariables) {
    if (const std::string value = variable(name); !value.empty()) words.push_back(option + value);
  }
  add_gres(facts, words);
  if (const std::string errors = fact(facts, "StdErr"); !errors.empty() && errors != fact(facts, "StdOut"))
    words.push_back("--error=" + errors);
  if (const std::string nice = fact(facts, "Nice"); !nice.empty() && nice != "0" && nice[0] != '-')
    words.push_back("--nice=" + nice);
  if (fact(facts, "OverSubscribe") == "NO") words.push_back("--exclusive");
  if (fact(facts, "Requeue") == "0") words.push_back("--no-requeue");
  return words;
}

namespace {

/// Slurm takes this of a waiting job only, and a requeued one waits until this script is gone.
std::string avoid_nodes(const AgainRequest& request, const std::optional<JobFacts>& facts,
                        const Slurm& slurm) {
  if (request.avoid.empty()) return "";
  const JobFacts known = facts.value_or(JobFacts{});
  const std::string all = all_to_avoid(request, known, slurm);
  if (all == fact(known, "ExcNodeList"))
    return fmt::format("; {} stays allowed: without it too few nodes are left", request.avoid);
  const Reply reply = slurm.exclude(request.here.job, all);
  if (reply.kind == Reply::yes) return ", without " + request.avoid;
  return fmt::format("; {} cannot be excluded ({})", request.avoid, reply.text);
}

}  // namespace

Again live_again(const AgainRequest& request, const Slurm& slurm) {
  if (request.here.resubmit) return resubmit(request, slurm);
  std::optional<JobFacts> facts;
  const Reply reply = insist_on_requeue(request, slurm, facts);
  if (reply.kind == Reply::yes)
    return {.lives = true, .text = "requeued" + avoid_nodes(request, facts, slurm)};
  if (reply.kind == Reply::no && reply.text.starts_with("refused: ")) {
    Again again = resubmit(request, slurm);
    again.text = fmt::format("requeue {}; {}", reply.text, again.text);
    return again;
  }
  return reply.kind == Reply::no ? left_to_slurm(reply.text)
                                 : not_again(fmt::format("Slurm did not answer ({})", reply.text));
}

}  // namespace microdit::lives
