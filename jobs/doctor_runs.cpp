// doctor runs DIR: the runs of a folder side by side.
#include <algorithm>
#include <cstdio>

#include "doctor.h"
#include "job.h"
#include "train/runs_table.h"

namespace microdit::jobs {

int show_runs(const std::string& where, comm::Communicator& comm) {
  comm.on_root([&] {
    const std::vector<train::RunSummary> runs = train::summarize_runs(where);
    const auto rows = train::runs_table(runs, false);
    std::vector<std::size_t> widths(rows.front().size());
    for (const auto& row : rows)
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    for (const auto& row : rows) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
      line.erase(line.find_last_not_of(' ') + 1);
      fmt::print("{}\n", line);
    }
    fmt::print("{}\n", train::write_runs_page(where, runs).string());
  });
  return core::kDone;
}

}  // namespace microdit::jobs
