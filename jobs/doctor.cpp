// doctor env: is this machine fit, and what to do if not. doctor verify DIR: is every stored byte what was
// written.
#include "doctor.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "job.h"

namespace microdit::jobs {
namespace {

int print(const Findings& findings) {
  bool bad = false;
  for (const Finding& finding : findings) {
    const char* mark = finding.verdict == Verdict::good   ? "ok  "
                       : finding.verdict == Verdict::note ? "note"
                                                          : "BAD ";
    fmt::print("{}  {:<10} {}\n", mark, finding.subject, finding.found);
    if (finding.verdict != Verdict::good && !finding.remedy.empty())
      fmt::print("{:17}-> {}\n", "", finding.remedy);
    bad = bad || finding.verdict == Verdict::bad;
  }
  fmt::print("{}\n", bad ? "not fit: see the lines marked BAD" : "fit");
  return bad ? core::kFailed : core::kDone;
}

int env(Job& job) {
  if (job.comm.rank() != 0) {
    job.comm.barrier();
    return core::kDone;
  }
  Findings findings;
  examine_processor(findings);
  examine_libraries(findings);
  examine_launch(findings, job.comm);
  examine_gpu(findings);
  examine_disk(findings);
  const int code = print(findings);
  job.comm.barrier();
  return code;
}

int doctor(Job& job) {
  const std::vector<std::string>& words = job.line.positional;
  if (!job.line.overrides.empty())
    core::user_error("doctor: {} is no key of it (see --help)", job.line.overrides.front());
  if (words.size() == 1 && words[0] == "env") return env(job);
  if (words.size() == 2 && words[0] == "verify") return verify_tree(words[1], job.comm);
  core::user_error("doctor: say 'doctor env' or 'doctor verify DIR' (see --help)");
}

}  // namespace

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
  const microdit::jobs::JobInfo info{.name = "doctor",
                                     .summary =
                                         "env: checks this machine and says what to do. verify DIR: checks "
                                         "every checksum of a stage folder, a "
                                         "checkpoint, a run, or a folder of these.",
                                     .takes_config = false,
                                     .positional_help = "env, or verify DIR"};
  return microdit::jobs::run_job(argc, argv, info, microdit::jobs::doctor);
}
