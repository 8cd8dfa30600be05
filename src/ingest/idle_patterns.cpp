// What is known of all files at once is refused at once; the rest when the last item is read.
#include "ingest/idle_patterns.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/shell_line.h"
#include "core/utf8.h"
#include "ingest/raw_paths.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kNamed = 3;  // paths that are there

constexpr const char *kMembers = "record.members", *kHeldOut = "splits.held_out_members";

std::string meaning(std::string_view key) {
  if (key == "tables") return "no picture has a row of that table";
  if (key == kMembers) return "no record is made of it";
  return key == "tables.of" ? "that table is asked for nothing" : "nothing is held out by it";
}

}  // namespace

void check_file_patterns(const CatalogueEntry& entry, const store::Manifest& raw) {
  std::vector<std::pair<std::string, std::string>> idle;  // key and pattern
  for (const std::string& pattern : entry.splits.held_out_files)
    idle.emplace_back("splits.held_out_files", pattern);
  for (const TableSection& table : entry.tables)
    if (!table.of.empty()) idle.emplace_back("tables.of", table.of);
  if (idle.empty()) return;
  const RawPaths paths(entry);
  std::vector<std::string> there;
  const auto look_at = [&](const std::string& file) {
    const std::string path = paths.of(file);
    if (there.size() < kNamed) there.push_back(path);
    std::erase_if(idle, [&](const auto& one) { return matches(one.second, path); });
  };
  for (const auto& [file, reason] : raw.failed) {
    look_at(file);
    if (idle.empty()) return;
  }
  for (const store::ShardEntry& file : raw.shards()) {
    look_at(file.file);
    if (idle.empty()) return;
  }
  for (const auto& [key, pattern] : idle) {
    const std::string what =
        fmt::format("clean: {}: '{}' matches no file of {} (its paths are such as {}): {}", key, pattern,
                    raw.folder.string(), fmt::join(there, ", "), meaning(key));
    if (entry.subset == "all") core::user_error("{}; mend the pattern, or take it out", what);
    core::log_warn("{}; subset small may hold none of them", what);
  }
}

core::Json IdlePatterns::of_item(const UsedPatterns& members, const UsedPatterns& held_out) {
  core::Json json = core::Json::object();
  const auto add = [&](const char* key, const UsedPatterns& patterns) {
    if (!patterns.empty())
      json[key] = {{"idle", patterns.idle()}, {"example", core::with_valid_utf8(patterns.example())}};
  };
  add(kMembers, members);
  add(kHeldOut, held_out);
  return json;
}

void IdlePatterns::add(const core::Json& details) {
  ++items_;
  const auto found = details.find("patterns");
  if (found == details.end()) return;
  for (const auto& [key, patterns] : found->items()) {
    const std::string example = patterns.at("example").get<std::string>();
    for (const auto& pattern : patterns.at("idle")) {
      Pattern& idle = keys_[key][pattern.get<std::string>()];
      if (idle.example.empty()) idle.example = example;
      ++idle.idle;
    }
  }
}

void IdlePatterns::check(const CatalogueEntry& entry, std::size_t items) const {
  for (const auto& [key, patterns] : keys_) {
    for (const auto& [pattern, about] : patterns) {
      if (about.idle < items_) continue;
      const std::string what =
          fmt::format("clean: {}: '{}' matches no member of the dataset ({} such as {}): {}", key, pattern,
                      key == "tables" ? "it was asked for keys" : "their paths are",
                      about.example.empty() ? "-" : about.example, meaning(key));
      if (key == "tables") {  // said, not refused: it may stand in for another table that has them all
        core::log_warn("{}; its columns have no value, and bounds on them leave nothing out: see its join",
                       what);
        continue;
      }
      if (entry.subset == "all" && items_ == items)
        core::user_error(
            "{}; mend the pattern, or take it out, and make the samples anew: {} - then run clean again",
            what, core::shell_line({"rm", "-r", entry.samples_folder().string()}));
      core::log_warn("{}; {} may hold none of them", what,
                     entry.subset == "all" ? "what could be read" : "subset small");
    }
  }
}

}  // namespace microdit::ingest
