// doctor env: is this machine fit, and what to do if not. doctor verify DIR: is every stored byte what was written.
// doctor data DIR: what lies in a dataset. doctor runs DIR: runs side by side.
#include "doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "job.h"

namespace microdit::jobs {
namespace {

int print(const Findings& findings) {
  for (const Finding& finding : findings) {
    const char* mark = finding.verdict == Verdict::good   ? "ok  "
                       : finding.verdict == Verdict::note ? "note"
                                                          : "BAD ";
    fmt::print("{}  {:<10} {}\n", mark, finding.subject, finding.found);
    if (finding.verdict != Verdict::good && !finding.remedy.empty())
      fmt::print("{:17}-> {}\n", "", finding.remedy);
  }
  fmt::print("{}\n", is_fit(findings) ? "fit" : "not fit: see the lines marked BAD");
  return is_fit(findings) ? core::kDone : core::kFailed;
}

int env(Job& job) {
  Findings findings;
  if (job.comm.local_rank() == 0) {  // one rank speaks for its node
    examine_processor(findings);
    examine_libraries(findings);
    examine_launch(findings, job.comm);
    examine_gpu(findings);
    examine_disk(findings);
  }
  return job.comm.size() == 1 ? print(findings) : print_nodes(findings, job.comm);
}

int doctor(Job& job) {
  const std::vector<std::string>& words = job.line.positional;
  if (!job.line.overrides.empty())
    core::user_error("doctor: {} is no key of it (see --help)", job.line.overrides.front());
  if (words.size() == 1 && words[0] == "env") return env(job);
  if (words.size() == 2 && words[0] == "verify") return verify_tree(words[1], job.comm);
  if (words.size() == 2 && words[0] == "data") return show_data(words[1], job.comm);
  if (words.size() == 2 && words[0] == "runs") return show_runs(words[1], job.comm);
  core::user_error(
      "doctor: say 'doctor env', 'doctor verify DIR', 'doctor data DIR' or 'doctor runs DIR' (see --help)");
}

}  // namespace

bool is_fit(const Findings& findings) {
  return std::ranges::none_of(findings,
                              [](const Finding& finding) { return finding.verdict == Verdict::bad; });
}

std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen(fmt::format("timeout 10 {} 2>/dev/null", command).c_str(), "r");
  if (pipe == nullptr) return {};
  std::string output;
  std::array<char, 4096> piece{};
  while (const std::size_t got = std::fread(piece.data(), 1, piece.size(), pipe))
    output.append(piece.data(), got);
  return ::pclose(pipe) == 0 ? output : std::string();
}

}  // namespace microdit::jobs

int main(int argc, char** argv) {
  const microdit::jobs::JobInfo info{
      .name = "doctor",
      .summary =
          "env: checks this machine and says what to do; under srun or mpirun "
          "each node, a line for each. verify DIR: checks "
          "every checksum of a stage folder, a "
          "checkpoint, a run, or a folder of these. data DIR: says what lies in a "
          "folder of samples or latents, or a folder of these: sizes, captions, what "
          "was left out and why, a few pictures; as text, and as a page DIR/data.html. runs DIR: the "
          "runs of a folder side by side: state, settings that differ, losses; as text, as DIR/table.csv, "
          "and "
          "with curves as a page DIR/index.html.",
      .takes_config = false,
      .obeys_stop = false,
      .positional_help = "env, verify DIR, data DIR, or runs DIR"};
  return microdit::jobs::run_job(argc, argv, info, microdit::jobs::doctor);
}
