// doctor data: what lies in folders of samples and latents, as text and as a page.
#include "doctor_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/shown_text.h"
#include "doctor.h"
#include "doctor_folders.h"

namespace microdit::jobs {
namespace {

namespace fs = std::filesystem;
using ingest::DataSummary;

constexpr std::size_t kMostLines = 20;        // of one kind
constexpr double kLongest_s = 7 * 24 * 3600;  // what other ranks wait for the first
constexpr const char* kPage = "data.html";

void print_line(const std::string& what, const std::string& words) {
  fmt::print("  {:<9} {}\n", what, words);
}

/// "64 to 127: 12, 128 to 191: 442".
std::string bins_text(const ingest::Histogram& histogram) {
  std::string text;
  for (const auto& bin : histogram.bins())
    if (bin.count > 0) text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", bin.name, bin.count);
  return text;
}

void print_skips(const DataSummary& summary) {
  const core::Json skips = summary.skipped.to_json();
  for (const auto& [reason, skip] : skips.items())
    print_line("left out",
               fmt::format("{} {} (e.g. {})", printable(reason, 80), skip["count"].get<std::int64_t>(),
                           printable(skip["example"].get<std::string>(), 120)));
  if (const std::string advice = summary.skipped.advice(); !advice.empty()) print_line("", advice);
}

/// Lines of which only the first are said.
void print_first(const std::string& what, const std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < std::min(lines.size(), kMostLines); ++i) print_line(what, lines[i]);
  if (lines.size() > kMostLines) print_line(what, fmt::format("and {} more", lines.size() - kMostLines));
}

void print_summary(const DataSummary& summary) {
  fmt::print("{}: {}\n", summary.folder.string(),
             summary.facts.kind == ingest::DataKind::samples ? "samples" : "latents");
  for (const auto& [what, words] : data_overview(summary)) print_line(what, words);
  for (const auto& [of_what, histogram] : data_histograms(summary))
    if (histogram.total() > 0) print_line("", fmt::format("{}: {}", of_what, bins_text(histogram)));
  print_skips(summary);
  std::vector<std::string> failed, damage;
  for (const auto& [item, reason] : summary.failed)
    failed.push_back(fmt::format("{}: {}", printable(item, 80), printable(reason, 300)));
  for (const ingest::DataDamage& one : summary.damage)
    damage.push_back(
        fmt::format("{}: {}: {}", printable(one.file, 200), printable(one.what, 600), one.remedy));
  print_first("failed", failed);
  print_first("DAMAGED", damage);
}

/// In the folder; where that takes no file, in the current one. Its path.
fs::path write_page(const DataSummary& summary, const std::string& html) {
  const fs::path page = summary.folder / kPage;
  try {
    core::atomic_write(page, html);
    return page;
  } catch (const core::FaultError&) {
    throw;
  } catch (const std::runtime_error& refused) {
    std::string name = "data-" + data_name(summary) + ".html";
    std::ranges::replace(name, '/', '-');
    print_line("note", fmt::format("no page can be written there ({}): it goes into the current folder",
                                   refused.what()));
    core::atomic_write(fs::current_path() / name, html);
    return fs::current_path() / name;
  }
}

/// Whether all of it is well.
bool examine(const fs::path& folder) {
  DataSummary summary = ingest::summarize_data(folder);
  const ContactSheet sheet = draw_contact_sheet(summary);
  print_summary(summary);
  if (!sheet.lacking.empty())
    print_line("note",
               "the latents are not shown as pictures: their codec is not found, the page says what to do");
  print_line("page", write_page(summary, data_page(summary, sheet)).string());
  return summary.damage.empty();
}

/// What the folder's facts say that it holds; "" when they cannot be read.
std::string stage_of(const fs::path& folder) {
  try {
    const core::Json facts = core::read_json(folder / "facts.json");
    return facts.is_object() && facts.contains("stage") && facts["stage"].is_string()
               ? facts["stage"].get<std::string>()
               : "";
  } catch (const core::UserError&) {
    return "";
  }
}

/// Whether all are well. UserError when there is nothing to look at.
bool examine_all(const std::string& where) {
  bool well = true;
  int looked_at = 0;
  std::string unfinished;
  for (const StoredFolder& found : find_stored("data", where)) {
    const std::string stage = found.kind == Stored::stage ? stage_of(found.folder) : "other";
    if (!stage.empty() && stage != "samples" && stage != "latents") continue;
    try {
      well = examine(found.folder) && well;
      ++looked_at;
    } catch (const core::UserError& wrong) {
      if (fs::exists(found.folder / "manifest.jsonl")) {
        fmt::print("{}: DAMAGED, nothing of it is counted: {}\n", found.folder.string(),
                   core::without_controls(wrong.what()));
        well = false;
        ++looked_at;
      } else {
        unfinished += fmt::format("{}{}", unfinished.empty() ? "" : "\n", wrong.what());
      }
    }
    std::fflush(stdout);
  }
  if (looked_at == 0 && unfinished.empty())
    core::user_error(
        "doctor: data {}: no samples or latents in it; name data/samples/NAME, data/latents/NAME/RECIPE, or "
        "a folder "
        "of these (clean makes samples, precompute latents)",
        where);
  if (looked_at == 0) core::user_error("doctor: data {}: {}", where, unfinished);
  if (!unfinished.empty()) core::log_warn("not finished, so left out: {}", unfinished);
  return well;
}

}  // namespace

int show_data(const std::string& where, comm::Communicator& comm) {
  const comm::WiderDeadline others_wait(comm, kLongest_s);
  const std::string damaged = comm.on_root([&] { return std::string(examine_all(where) ? "" : "damaged"); });
  return damaged.empty() ? core::kDone : core::kFailed;
}

}  // namespace microdit::jobs
