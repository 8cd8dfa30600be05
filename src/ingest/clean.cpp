// clean: archives -> records -> filters -> samples shards that keep the original image bytes.
#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/shell_line.h"
#include "core/shown_text.h"
#include "ingest/class_names.h"
#include "ingest/clean_item.h"
#include "ingest/clean_items.h"
#include "ingest/clean_parts.h"
#include "ingest/clean_trial.h"
#include "ingest/idle_patterns.h"
#include "ingest/records.h"
#include "ingest/stage_driver.h"
#include "ingest/stages.h"
#include "store/manifest_text.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

// Versions of the rules that make samples of records: a folder never mixes two of them.
constexpr int kRecordRules = 6, kCaptionRules = 3, kRowOrder = 1;
constexpr double kLongestTable_s = 24 * 3600;  // that other ranks wait for rank 0, which makes tables
constexpr std::size_t kNamedClasses = 12;
constexpr int kPlaces =
    2;  // how samples say where a picture lies, if it is not among them; 1: in file i mod 65536
constexpr int kColumns = 2;        // numbers that stay beside samples; 1: integers beyond 2^53 were rounded
constexpr int kJoinedTables = 2;   // 1: all columns were of the first table that has the picture
constexpr int kLoosePatterns = 2;  // over a loose file's path in the source; 1: over its name under raw/

core::Json make_facts(const CatalogueEntry& entry) {
  core::Json filters = core::to_json(entry.filters);
  filters.erase("max_damaged_fraction");  // a threshold, which changes no byte
  core::Json algorithms = {{"records", kRecordRules}, {"captions", kCaptionRules}, {"row_order", kRowOrder}};
  algorithms.update(entry.pictures.algorithms());
  if (entry.images == "reference" && entry.archive == "none") algorithms["places"] = kPlaces;
  if (!entry.tables.empty() && !entry.kept_columns().empty()) algorithms["columns"] = kColumns;
  if (entry.joins_tables()) algorithms["joined_tables"] = kJoinedTables;
  if (entry.has_loose_patterns()) algorithms["loose_patterns"] = kLoosePatterns;
  core::Json record = core::to_json(entry.record);
  if (entry.record.columns.empty()) record.erase("columns");  // as folders made before there were any say
  if (entry.record.from.empty()) record.erase("class");
  return {{"stage", "samples"},
          {"format", store::kFormat},
          {"dataset", entry.name},
          {"subset", entry.subset},
          {"archive", entry.archive},
          {"record", record},
          {"filters", filters},
          {"captions", core::to_json(entry.captions)},
          {"caption_sources", entry.caption_sources()},
          {"splits", core::to_json(entry.splits)},
          {"split_names", {"train", "held_out"}},
          {"pictures", core::to_json(entry.pictures)},
          {"images", entry.images},
          {"shard_records", entry.shard_records},
          {"shard_bytes", entry.shard_bytes},
          {"algorithms", algorithms}};
}

/// What the records of the whole folder add up to.
class Sums {
 public:
  void add(const store::Record& record) {
    records_ += count_of(record.details, "records");
    kept_ += count_of(record.details, "kept");
    const auto merge = [&](Skips& sum, const char* name) {
      if (record.details.contains(name)) sum.merge(Skips::from_json(record.details[name]));
    };
    merge(skipped_, "skipped");
    merge(lost_captions_, "lost_captions");
    merge(lost_columns_, "lost_columns");
    merge(without_row_, "without_row");
    merge(captions_, "captions");
    says_captions_ &= record.details.contains("captions");  // those of earlier versions do not
    says_classes_ &= record.details.contains("classes");
    classes_.merge(record.details.value("classes", std::set<std::int64_t>()));
    passed_over_.add(record.details);
    idle_.add(record.details);
  }
  /// UserError when too much of the dataset is damaged, or a pattern of the entry matched nothing. `items`: of the whole dataset.
  void check(const CatalogueEntry& entry, std::size_t items, const PictureTables& tables) const {
    const std::string advice = skipped_.advice(entry.archive == "none");
    const auto is_of_table = [&](const auto& bound) {
      return std::ranges::any_of(entry.tables,
                                 [&](const auto& table) { return table.columns.contains(bound.first); });
    };
    const bool has_bounds = std::ranges::any_of(entry.filters.at_most, is_of_table) ||
                            std::ranges::any_of(entry.filters.at_least, is_of_table);
    const std::string damaged_rows = tables.damaged_rows();
    const std::string text = fmt::format(
        "{} of {} records kept{}{}{}{}{}{}{}{}{}{}", kept_, records_,
        skipped_.empty() ? "" : "; skipped: ", skipped_.text(), advice.empty() ? "" : "; ", advice,
        lost_captions_.empty() ? "" : "; kept, but without a caption: ", lost_captions_.text(),
        lost_columns_.empty() ? ""
                              : "; kept, but NaN stands in a column: " + lost_columns_.text() +
                                    " (columns are numbers: make it a caption, or leave it out of `columns`)",
        without_row_.empty()
            ? ""
            : fmt::format("; without a row in a joined table{}: {}",
                          has_bounds ? ", so that bounds on its columns leave none of them out" : "",
                          without_row_.text()),
        damaged_rows.empty() ? "" : "; left out as damaged when the tables were made: " + damaged_rows,
        passed_over_.empty() ? "" : "; passed over: " + passed_over_.text());
    const double allowed = entry.filters.max_damaged_fraction * static_cast<double>(records_);
    if (static_cast<double>(skipped_.damaged()) > allowed) {
      core::user_error(
          "clean: {}; {} damaged or unsupported records are more than filters.max_damaged_fraction = {} "
          "allows: "
          "check the entry's record section, or raise it (what is done stays done)",
          text, skipped_.damaged(), entry.filters.max_damaged_fraction);
    }
    if (kept_ == 0) core::user_error("clean: {}: nothing is left", text);
    idle_.check(entry, items);
    for (const std::string& source : entry.caption_sources())
      if (says_captions_ && captions_.count(source) == 0)
        core::log_warn(
            "clean: record.caption: `{}: {}` gave none of {} records a caption; look where the "
            "captions are, or take it out",
            source, entry.record.caption.at(source), kept_);
    if (says_classes_) warn_of_empty_classes(entry);
    core::log_info("clean: {}", text);
  }

 private:
  void warn_of_empty_classes(const CatalogueEntry& entry) const {
    const std::vector<std::string>& names = entry.record.classes;
    std::string empty;
    std::size_t count = 0;
    for (std::size_t i = 0; entry.record.has_classes() && i < names.size(); ++i)
      if (!classes_.contains(static_cast<std::int64_t>(i)) && ++count <= kNamedClasses)
        empty += fmt::format("{}{} ('{}')", empty.empty() ? "" : ", ", i, core::without_controls(names[i]));
    if (count > 0)
      core::log_warn("clean: {} of {} classes have no sample: {}{}", count, names.size(), empty,
                     count > kNamedClasses ? ", ..." : "");
  }
  std::int64_t records_ = 0, kept_ = 0;
  Skips skipped_, lost_captions_, lost_columns_, without_row_, captions_;
  bool says_captions_ = true, says_classes_ = true;
  std::set<std::int64_t> classes_;  ///< that have samples
  PassedOver passed_over_;
  IdlePatterns idle_;
};

/// UserError where all samples were made with other tables: one way out for all of them. Where some were, each item says its own.
void refuse_other_tables(const CatalogueEntry& entry, const PictureTables& tables) {
  const fs::path folder = entry.samples_folder();
  if (entry.tables.empty() || !fs::exists(folder / store::kRecordsFolder)) return;
  const core::Json now = tables.identity();
  core::Json before;
  const auto has_other = [&](const std::string& item) {
    try {
      const fs::path file = folder / store::kRecordsFolder / (item + ".json");
      before =
          store::record_from_text(core::read_text(file), file.string()).details.at("inputs").at("tables");
      return before != now;
    } catch (const std::exception& unread) {  // the driver judges it
      return false;
    }
  };
  const std::vector<std::string> items = store::record_names(folder).items;
  if (items.empty() || !std::ranges::all_of(items, has_other)) return;
  std::string names;
  for (std::size_t i = 0; i < entry.tables.size(); ++i)
    if (before.size() != now.size() || before[i] != now[i])
      names += fmt::format("{}{}", names.empty() ? "" : ", ", entry.tables[i].name());
  core::user_error(
      "clean: the samples of {} were made with another table of {} than there is now, and each of them may "
      "say "
      "something else; to make them again: {} - then run clean again{}; or choose another folder (name)",
      folder.string(), names, core::shell_line({"rm", "-r", folder.string()}),
      entry.keep_raw ? "" : " (it says how to fetch raw files again that were removed)");
}

void remove_raw(const CatalogueEntry& entry, const CleanItem& item) {
  for (const store::ShardEntry& file : item.files) store::remove_shards(entry.raw_folder(), file.file);
}

}  // namespace

int clean(const CatalogueEntry& given, comm::Communicator& comm, const core::StopFlag& stop) {
  const store::Manifest raw = store::Manifest::read(given.raw_folder());
  CatalogueEntry entry = given;
  const core::Json names = core::parse_json(
      comm.on_root([&] { return core::Json(class_names(given, raw)).dump(); }), "record.classes");
  entry.record.classes = names.get<std::vector<std::string>>();
  std::vector<CleanItem> items = list_clean_items(entry, raw);
  if (items.empty()) core::user_error("{}: holds no file", entry.raw_folder().string());
  comm.on_root([&] { check_file_patterns(entry, raw); });
  if (!entry.tables.empty()) {
    const comm::WiderDeadline others_wait(comm, kLongestTable_s);
    comm.on_root([&] { make_tables(entry, raw, stop); });
  }
  const PictureTables tables(entry, raw);
  comm.on_root([&] { refuse_other_tables(entry, tables); });
  std::map<std::string, const CleanItem*> by_name;
  StagePlan stage;
  for (CleanItem& item : items) {
    if (!entry.tables.empty()) item.item.inputs["tables"] = tables.identity();
    by_name[item.item.name] = &item;
    stage.items.push_back(item.item);
  }
  stage.name = "clean";
  stage.unit = "records";
  stage.folder = entry.samples_folder();
  stage.facts = make_facts(entry);
  stage.task = entry.task;
  stage.max_failed_items = entry.max_failed_items;
  std::unique_ptr<PicturePool> pool;
  stage.work = [&](const store::Item& item, Progress& progress, const core::StopFlag& inner) {
    if (!pool)
      pool =
          std::make_unique<PicturePool>(entry.pictures, entry.decode_workers, limits::kPictureSeconds, &stop);
    return clean_item(entry, *by_name.at(item.name), tables, *pool, progress, inner);
  };
  stage.bytes = [&](const store::Item& item) { return bytes_of_files(*by_name.at(item.name)); };
  stage.committed = [&](const store::Record& record) {
    const CleanItem& made = *by_name.at(record.item);
    CleanParts(stage.folder, made.item).remove(record.shards.size());
    if (!entry.keep_raw) remove_raw(entry, made);
  };
  stage.discard = [&](const store::FailedItem& failed) {
    CleanParts(stage.folder, by_name.at(failed.item)->item).remove(0);
  };
  Sums sums;
  stage.sum = [&](const store::Record& record) {
    sums.add(record);
    if (!entry.keep_raw) remove_raw(entry, *by_name.at(record.item));  // a kill may have come between
  };
  stage.check = [&] { sums.check(entry, stage.items.size(), tables); };
  return run_stage(stage, comm, stop);
}

bool describe_clean(const CatalogueEntry& given, const core::StopFlag& stop) {
  describe_space(given.samples_folder());
  if (!is_complete(given.raw_folder(), "download")) return true;
  const store::Manifest raw = store::Manifest::read(given.raw_folder());
  CatalogueEntry entry = given;
  entry.record.classes = class_names(given, raw);
  check_file_patterns(entry, raw);
  const std::vector<CleanItem> items = list_clean_items(entry, raw);
  std::vector<const CleanItem*> left;
  double bytes = 0;
  for (const CleanItem& item : items) {
    if (fs::exists(entry.samples_folder() / "records" / (item.item.name + ".json"))) continue;
    left.push_back(&item);
    for (const store::ShardEntry& file : item.files) bytes += static_cast<double>(file.bytes);
  }
  fmt::print("clean {}: {} of {} items left, {} -> {}\n", entry.name, left.size(), items.size(),
             readable(bytes, "B"), entry.samples_folder().string());
  if (left.empty()) return true;
  if (entry.record.is_labelled()) return true;  // a trial would read a whole file
  if (!tables_are_there(entry, raw)) {
    fmt::print("  its tables are made first; then a dry run says more\n");
    return true;
  }
  const std::optional<CleanTrial> tried = try_records(entry, *left.front(), PictureTables(entry, raw), stop);
  if (!tried) return false;
  const CleanTrial& trial = *tried;
  if (trial.records == 0 || trial.raw_bytes <= 0) return true;
  const double share = bytes / trial.raw_bytes, out = share * trial.samples_bytes;
  const double shards =
      std::max(share * static_cast<double>(trial.records) / static_cast<double>(entry.shard_records),
               out / static_cast<double>(entry.shard_bytes));
  fmt::print(
      "  about {:.0f} records, of which {:.1f} % are kept; needs about {} and {:.0f} files\n  takes about {} "
      "in one "
      "process such as this one ({:.0f} records/s)\n",
      share * static_cast<double>(trial.records),
      100 * static_cast<double>(trial.kept) / static_cast<double>(trial.records), readable(out, "B"),
      std::max(shards, static_cast<double>(left.size())) + static_cast<double>(left.size()) + 3,
      core::duration_text(share * trial.seconds), static_cast<double>(trial.records) / trial.seconds);
  return true;
}

}  // namespace microdit::ingest
