// doctor env on several nodes: one line for each, and once what to do.
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <set>

#include "core/environment.h"
#include "core/error.h"
#include "core/json.h"
#include "doctor.h"

namespace microdit::jobs {
namespace {

std::string node_name() {
  return core::variable("SLURMD_NODENAME", core::host_name());
}

/// "n1  fit: 16 of 16 cores ...; none: device=cpu", or "n1  BAD disk: ...; note fsync: ...; ...".
std::string line_of(const Findings& findings) {
  std::string troubles, facts;
  for (const Finding& finding : findings) {
    if (finding.verdict != Verdict::good) {
      troubles += fmt::format("{} {}: {}; ", finding.verdict == Verdict::bad ? "BAD" : "note",
                              finding.subject, finding.found);
    } else if (finding.subject == "processor" || finding.subject == "gpu" || finding.subject == "fsync") {
      facts += fmt::format("{}{}: {}", facts.empty() ? "" : "; ", finding.subject, finding.found);
    }
  }
  return fmt::format("{:<12} {}{}{}", node_name(), is_fit(findings) ? "fit: " : "", troubles, facts);
}

}  // namespace

int print_nodes(const Findings& findings, comm::Communicator& comm) {
  core::Json mine = core::Json::object();
  if (comm.local_rank() == 0) {
    mine["line"] = line_of(findings);
    mine["fit"] = is_fit(findings);
    mine["remedies"] = core::Json::array();
    for (const Finding& finding : findings) {
      if (finding.verdict != Verdict::good && !finding.remedy.empty())
        mine["remedies"].push_back(fmt::format("{}: {}", finding.subject, finding.remedy));
    }
  }
  const auto printable = core::Json::error_handler_t::replace;
  std::set<std::string> remedies;
  int nodes = 0, unfit = 0;
  for (const std::string& text : comm.all_gather(mine.dump(-1, ' ', false, printable))) {
    const core::Json node = core::Json::parse(text);
    if (node.empty()) continue;
    ++nodes;
    unfit += node["fit"] ? 0 : 1;
    for (const std::string remedy : node["remedies"]) remedies.insert(remedy);
    if (comm.rank() == 0) fmt::print("{}\n", node["line"].get<std::string>());
  }
  if (comm.rank() == 0) {
    for (const std::string& remedy : remedies) fmt::print("  -> {}\n", remedy);
    fmt::print("{} of {} nodes fit\n", nodes - unfit, nodes);
  }
  return unfit == 0 ? core::kDone : core::kFailed;
}

}  // namespace microdit::jobs
