// Runs side by side: where they differ, how far they are, what they reached.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace microdit::train {

/// What a run's folder tells of it.
struct RunSummary {
  std::string name;   ///< of its folder
  std::string state;  ///< "not begun", "step 30 of 100", "done", "failed at step 30 (exit code 1)"
  std::map<std::string, std::string> settings{};  ///< dotted key -> value, without name and runs
  std::int64_t step = 0;
  std::optional<double> loss{};      ///< of training, mean of the last kLossWindow steps
  std::optional<double> held_out{};  ///< the last validation
  std::optional<double> best{};      ///< the best validation
  double images_per_s = 0;
  std::vector<double> steps{}, losses{};              ///< averaged training loss
  std::vector<double> held_out_steps{}, held_outs{};  ///< validations
};

/// The runs in `folder`, and those that its cells.txt names (a line each, up to a tab), the best first: by held-out loss where one of
/// them has it, else by training loss. UserError when there are none.
std::vector<RunSummary> summarize_runs(const std::filesystem::path& folder);

/// The keys whose values differ among runs that have begun.
std::vector<std::string> differing_keys(const std::vector<RunSummary>& runs);

/// A row for each run below a head. `exact`: all digits, for programs; else four, and at most eight keys.
std::vector<std::vector<std::string>> runs_table(const std::vector<RunSummary>& runs, bool exact);

/// (Re)writes folder/table.csv, curves.png, settings.png (what each value of a numeric setting reached; where there is one) and
/// index.html, which shows them all and leads to each run's report. Gives the page's path.
std::filesystem::path write_runs_page(const std::filesystem::path& folder,
                                      const std::vector<RunSummary>& runs);

}  // namespace microdit::train
