// Build, hosts and command line of this process.
#include "provenance.h"

#include <fmt/ranges.h>
#include <torch/version.h>

#include <array>
#include <ctime>
#include <map>
#include <vector>

#include "core/atomic_file.h"
#include "core/environment.h"
#include "core/utf8.h"
#include "revision.h"

namespace microdit::jobs {
namespace {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::vector<std::string> command_line() {
  std::vector<std::string> words;
  std::string word;
  for (const char c : core::read_text("/proc/self/cmdline")) {
    if (c != '\0') {
      word.push_back(c);
    } else {
      words.push_back(core::with_valid_utf8(word));
      word.clear();
    }
  }
  return words;
}

}  // namespace

std::string build_text() {
  const std::string more = built_with();
  return fmt::format("microdit {}, revision {}, LibTorch {}, compiler {}{}{}", MICRODIT_VERSION,
                     MICRODIT_REVISION, TORCH_VERSION, __VERSION__, more.empty() ? "" : ", with ", more);
}

std::string hosts_text(comm::Communicator& comm) {
  std::map<std::string, int> ranks_on;
  for (const std::string& host : comm.all_gather(core::host_name())) ++ranks_on[host];
  std::vector<std::string> hosts;
  for (const auto& [host, ranks] : ranks_on)
    hosts.push_back(ranks > 1 ? fmt::format("{} ({} ranks)", host, ranks) : host);
  return fmt::format("{}", fmt::join(hosts, ", "));
}

core::Json describe_life(comm::Communicator& comm) {
  return {{"time", utc_now()},
          {"job", core::variable("SLURM_JOB_ID")},
          {"life", core::variable("SLURM_RESTART_COUNT")},
          {"hosts", hosts_text(comm)},
          {"ranks", comm.size()},
          {"build", build_text()},
          {"words", command_line()}};
}

}  // namespace microdit::jobs
