// scontrol, squeue and sbatch. Only words of the controller are a refusal; any other failure is silence.
#include "lives/slurm.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <string_view>
#include <thread>

#include "core/error.h"
#include "lives/surroundings.h"

namespace microdit::lives {
namespace {

using Clock = std::chrono::steady_clock;

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

bool is_unknown_job(const Answer& answer) {
  return contains(answer.errors, "Invalid job id");
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

/// "slurm_update error: Requested operation is presently disabled": the site, or the job, does not allow it.
bool is_refusal(const Answer& answer) {
  constexpr std::array<std::string_view, 6> kRefusals = {"disabled",      "ermission denied", "Invalid",
                                                         "not permitted", "not supported",    "violates"};
  if (answer.exit_code == 127) return true;
  return std::any_of(kRefusals.begin(), kRefusals.end(),
                     [&](std::string_view words) { return contains(answer.errors, words); });
}

Reply reply_to(const Answer& answer) {
  if (answer.exit_code == 0 && !answer.timed_out) return {Reply::yes, first_line(answer.output)};
  std::string words = answer.timed_out ? "no answer in time" : first_line(answer.errors);
  if (words.empty()) words = fmt::format("exit code {}", answer.exit_code);
  return {is_refusal(answer) ? Reply::no : Reply::silence, words};
}

std::string base_of(const std::string& job) {
  return job.substr(0, job.find('_'));
}

}  // namespace

bool is_out_of_time(const JobFacts& facts) {
  const auto reason = facts.find("Reason");
  return reason != facts.end() && reason->second == "TimeLimit";
}

bool goes_on(const JobFacts& facts) {
  const auto state = facts.find("JobState");
  return (state != facts.end() && state->second == "RUNNING") || is_out_of_time(facts);
}

Answer Slurm::call(const Words& command) const {
  return ask(command, patience_.one_call);
}

std::optional<JobFacts> Slurm::facts(const std::string& job) const {
  const Answer answer = call({"scontrol", "show", "job", "-o", job});
  if (is_unknown_job(answer)) return JobFacts{{"JobState", "GONE"}};
  if (answer.exit_code != 0 || answer.timed_out) return std::nullopt;
  JobFacts facts;
  std::string* last = nullptr;
  for (const std::string& word : split_words(answer.output)) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos) {  // the rest of a value with spaces, such as a comment
      if (last != nullptr) *last += " " + word;
      continue;
    }
    const std::string value = word.substr(equals + 1);
    last = nullptr;
    if (!value.empty() && value != "(null)" && value != "N/A")
      last = &facts.emplace(word.substr(0, equals), value).first->second;
  }
  if (!facts.contains("JobState")) return std::nullopt;
  return facts;
}

std::optional<Holder> Slurm::holder(const std::string& job, const std::string& cluster) const {
  Words command{"squeue", "-h", "-j", job, "-o", "%T %N"};
  if (!cluster.empty() && cluster != variable("SLURM_CLUSTER_NAME"))
    command.insert(command.begin() + 1, {"-M", cluster});
  const Answer answer = call(command);
  if (is_unknown_job(answer)) return Holder{.hidden = true};
  if (answer.exit_code != 0 || answer.timed_out) return std::nullopt;
  for (std::istringstream lines(answer.output); lines;) {
    std::string line;
    std::getline(lines, line);
    const Words words = split_words(line);
    if (words.empty() || words[0].starts_with("CLUSTER")) continue;
    return Holder{.holds = true, .where = words.size() > 1 ? words[0] + " on " + words[1] : words[0]};
  }
  return Holder{};
}

Reply Slurm::requeue(const std::string& job) const {
  return reply_to(call({"scontrol", "requeue", job}));
}

Reply Slurm::exclude(const std::string& job, const std::string& nodes) const {
  return reply_to(call({"scontrol", "update", "JobId=" + job, "ExcNodeList=" + nodes}));
}

Words Slurm::host_names(const std::string& nodes) const {
  return nodes.empty() ? Words{} : split_words(call({"scontrol", "show", "hostnames", nodes}).output);
}

std::int64_t Slurm::num_nodes(const std::string& partition) const {
  constexpr std::string_view kKey = "TotalNodes=";
  const std::string text = call({"scontrol", "show", "partition", "-o", partition}).output;
  const std::size_t found = text.find(kKey);
  std::int64_t number = 0;
  if (found != std::string::npos)
    std::from_chars(text.data() + found + kKey.size(), text.data() + text.size(), number);
  return number;
}

Reply Slurm::submit(const Words& words) const {
  Reply reply = reply_to(call(Words{"sbatch", "--parsable"} + words));
  if (reply.kind == Reply::yes) reply.text = reply.text.substr(0, reply.text.find(';'));
  return reply;
}

Reply Slurm::find_successor(const std::string& job, const std::string& script) const {
  const Answer answer = call({"squeue", "-h", "-t", "PENDING", "-o", "%F|%E|%o"});
  if (answer.exit_code != 0 || answer.timed_out) return {Reply::silence, "squeue"};
  for (std::istringstream lines(answer.output); lines;) {
    std::string id, dependency, command;
    std::getline(std::getline(std::getline(lines, id, '|'), dependency, '|'), command);
    const bool is_ours = command == script || command.starts_with(script + " ");
    if (is_ours && with_successor(dependency, base_of(job), id, false).value_or("") != "")
      return {Reply::yes, id};
  }
  return {Reply::no, ""};
}

bool Slurm::move_dependents(const std::string& job, const std::string& successor) const {
  const Answer answer = call({"squeue", "-h", "-t", "PENDING", "-o", "%A %E"});
  if (answer.exit_code != 0 || answer.timed_out) return false;
  bool all = true;
  for (std::istringstream lines(answer.output); lines;) {
    std::string line;
    std::getline(lines, line);
    const Words words = split_words(line);
    if (words.size() < 2 || words[0] == successor) continue;
    const auto changed = with_successor(words[1], base_of(job), successor, job != base_of(job));
    if (changed && changed->empty()) continue;
    all = changed &&
          call({"scontrol", "update", "JobId=" + words[0], "Dependency=" + *changed}).exit_code == 0 && all;
  }
  return all;
}

Reply Slurm::insist(const std::function<Reply()>& attempt) const {
  const auto deadline = Clock::now() + patience_.total;
  for (bool first = true;; first = false) {
    const Reply reply = attempt();
    if (reply.kind != Reply::silence || Clock::now() + patience_.pause > deadline) return reply;
    if (first)
      say("life", fmt::format("Slurm does not answer ({}): asked again for up to {} s", reply.text,
                              std::chrono::duration_cast<std::chrono::seconds>(patience_.total).count()));
    std::this_thread::sleep_for(patience_.pause);
  }
}

std::optional<std::string> with_successor(const std::string& dependency, const std::string& job,
                                          const std::string& successor, bool keep) {
  std::string changed;
  bool found = false;
  std::istringstream clauses(dependency);
  for (std::string clause; std::getline(clauses, clause, ',');) {
    clause = clause.substr(0, clause.find('('));
    const std::size_t colon = clause.find(':');
    const std::string of = colon == std::string::npos ? "" : base_of(clause.substr(colon + 1));
    if (of == job) {
      found = true;
      const std::string kind = clause.substr(0, colon + 1);
      clause = keep ? fmt::format("{}{},{}{}", kind, job, kind, successor) : kind + successor;
    }
    changed += (changed.empty() ? "" : ",") + clause;
  }
  if (!found) return contains(dependency, ":" + job) ? std::nullopt : std::optional<std::string>("");
  if (contains(dependency, "?")) return std::nullopt;  // "one of these": a second clause would weaken it
  return changed;
}

}  // namespace microdit::lives
