// One shard is open at a time, and only counts are kept of it.
#include "ingest/data_summary.h"

#include <algorithm>
#include <system_error>

#include "core/error.h"
#include "ingest/progress.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

bool is_text(const store::Record& record, const DataSummary& summary) {
  return summary.facts.kind == DataKind::latents && record.item.ends_with(".text");
}

void add_record(const store::Record& record, DataSummary& summary) {
  ++summary.items;
  for (const store::ShardEntry& shard : record.shards) {
    ++summary.shards;
    summary.bytes += shard.bytes;
    (is_text(record, summary) ? summary.text_rows : summary.rows) += shard.rows;
  }
  try {
    const core::Json& details = record.details;
    summary.records += count_of(details, "records");
    const auto merge = [&](Skips& sum, const char* name) {
      if (details.contains(name)) sum.merge(Skips::from_json(details[name]));
    };
    merge(summary.skipped, "skipped");
    merge(summary.lost_captions, "lost_captions");
    merge(summary.lost_columns, "lost_columns");
    merge(summary.without_row, "without_row");
    merge(summary.failed_pictures, "failed_pictures");
    summary.passed_over.add(details);
    if (!is_text(record, summary)) return;
    summary.texts += count_of(details, "captions");
    summary.cut += count_of(details, "cut");
    summary.longest = std::max(summary.longest, count_of(details, "longest"));
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: the record of {} in its manifest is none of ours ({})", summary.folder.string(),
                     record.item, wrong.what());
  }
}

/// An error's words without the path that they begin with.
std::string without(const fs::path& path, std::string what) {
  const std::string start = path.string() + ": ";
  return what.starts_with(start) ? what.substr(start.size()) : what;
}

void read_shard(const store::Record& record, const store::ShardEntry& entry, DataSummary& summary) {
  const fs::path path = summary.folder / entry.file;
  const auto damaged = [&](std::string what, bool exists) {
    summary.damage.push_back({entry.file, std::move(what), summary.remedy(exists)});
  };
  std::error_code failed;
  const std::uint64_t bytes = fs::file_size(path, failed);
  if (failed && core::is_fault(failed.value())) core::throw_errno(failed.value(), path.string());
  if (failed)
    return damaged(failed == std::errc::no_such_file_or_directory ? "missing" : failed.message(), false);
  if (bytes != entry.bytes)
    return damaged(fmt::format("has {} bytes, its manifest says {}", bytes, entry.bytes), false);
  try {
    const store::ShardReader shard(path);
    const auto count = summary.facts.kind == DataKind::samples ? count_samples
                       : is_text(record, summary)              ? count_text
                                                               : count_images;
    summary.counts.merge(count(shard, entry.rows, summary.facts));
    summary.readable.push_back(entry);
  } catch (const core::UserError& wrong) {
    damaged(without(path, wrong.what()), true);
  }
}

}  // namespace

std::string DataSummary::remedy(bool exists) const {
  return fmt::format("{}run {} again", exists ? "remove it and " : "",
                     facts.kind == DataKind::samples ? "clean" : "precompute");
}

DataSummary summarize_data(const fs::path& folder) {
  const store::Manifest manifest = store::Manifest::read(folder);
  DataSummary summary;
  summary.folder = folder;
  summary.json = manifest.facts;
  summary.facts = DataFacts::from_json(manifest.facts, folder);
  summary.generation = manifest.generation;
  summary.failed = manifest.failed;
  for (const store::Record& record : manifest.records) add_record(record, summary);
  Progress progress(fmt::format("doctor: {}: shards", folder.string()), "rows", summary.shards);
  for (const store::Record& record : manifest.records) {
    for (const store::ShardEntry& entry : record.shards) {
      read_shard(record, entry, summary);
      progress.add(static_cast<double>(entry.rows));
      progress.item_done(true);
    }
  }
  return summary;
}

}  // namespace microdit::ingest
