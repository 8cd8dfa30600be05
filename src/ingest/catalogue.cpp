// The fields of a catalogue entry, their ranges, and what must hold between them.
#include "ingest/catalogue.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ranges>

#include "core/error.h"
#include "ingest/record_places.h"
#include "store/manifest_text.h"
#include "tables/key_template.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kLongestColumn = 200;  // bytes of its name

bool same_columns(const TableSection& a, const TableSection& b) {
  return std::ranges::equal(std::views::keys(a.columns), std::views::keys(b.columns));
}

}  // namespace

void TableSection::fields(core::Fields& f) {
  TableSpec::fields(f);
  f.field("of", of, {.help = "whose pictures: a pattern over the files of the source (default: all)"});
}

std::optional<double> FilterSection::number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
  return whole ? std::optional(value) : std::nullopt;
}

void FilterSection::fields(core::Fields& f) {
  f.field("min_side", min_side, {.min = 0, .max = 65535, .help = "shorter side at least, pixels"});
  f.field("at_most", at_most, {.help = "column of a table: records with a larger number are left out"});
  f.field("at_least", at_least, {.help = "column of a table: records with a smaller number are left out"});
  if (f.reading())
    for (const auto* bounds : {&at_most, &at_least})
      for (const auto& [column, bound] : *bounds)
        if (!number(bound))
          f.error(bounds == &at_most ? "at_most" : "at_least",
                  fmt::format("{}: '{}' is no number", column, bound));
  f.field("max_damaged_fraction", max_damaged_fraction,
          {.min = 0,
           .max = 1,
           .help = "more of the records damaged or unsupported than this share fail clean; more of a shard's "
                   "pictures that cannot be decoded again fail the shard in precompute"});
}

void CaptionSection::fields(core::Fields& f) {
  f.field("clean", clean,
          {.choices = {"as_is", "none", "reference", "gentle"},
           .help = "as_is: every byte; none: without white space at the ends; reference: the original's "
                   "cleaner; gentle: "
                   "Unicode repair (ftfy) and white space alone"});
  f.field(
      "empty", empty,
      {.choices = {"skip", "keep"},
       .help =
           "captions that clean to nothing: leave the record out (not one with a record.class), or keep it"});
  f.field("which", which, {.help = "caption sources to keep, in this order (default: all)"});
}

void SplitSection::fields(core::Fields& f) {
  f.field("held_out", held_out, {.min = 0, .max = 1, .help = "fraction of groups that is never trained on"});
  f.field("held_out_files", held_out_files,
          {.help = "files of the source, patterns: all of their records are held out"});
  f.field("held_out_members", held_out_members,
          {.help = "the same of members of archives, or of loose files by their paths in the source"});
  f.field("group", group,
          {.help = "json:<key>: records of one value stay on one side (default: the record's key)"});
  f.field("seed", seed, {.min = 0, .help = "another draw of the same fraction"});
  if (f.reading() && !group.empty() && (!group.starts_with("json:") || group.size() == 5)) {
    f.error("group", fmt::format("'{}' is not json:<key>", group));
  }
}

void CatalogueEntry::check_tables(core::Fields& f) {
  const auto demand = [&](const char* key, const std::string& column) {
    const bool known =
        std::ranges::any_of(tables, [&](const auto& table) { return table.columns.contains(column); });
    if (tables.empty()) return f.error(key, fmt::format("table:{}: the entry has no `tables`", column));
    if (!known)
      f.error(key,
              fmt::format("{}: no table has such a column, but: {}", column, fmt::join(all_columns(), ", ")));
  };
  for (const auto& [source_name, where] : record.caption)
    if (where.starts_with("table:")) demand("record", where.substr(6));
  if (is_table(record.from)) demand("record", record.from.substr(6));
  if (!record.from.empty() && record.from != "table:class" && all_columns().contains("class"))
    f.error("tables", "columns: `class` is what record.class says: give that column another name");
  check_classes(f);
  for (const auto* bounds : {&filters.at_most, &filters.at_least})
    for (const auto& [column, bound] : *bounds) {
      if (column == "class" && record.has_classes()) continue;
      if (record.kind != "parquet")
        demand("filters", column);
      else if (!record.columns.contains(column))
        f.error("filters", fmt::format("{}: record.columns has no '{}'", column, column));
    }
  for (const std::string& column : kept_columns())
    if (!store::is_plain_name(column) || column.size() > kLongestColumn)
      f.error(
          record.columns.contains(column) ? "record" : "tables",
          fmt::format("columns: '{}' stays beside the samples under this name: at most {} letters, digits, "
                      "'-', '_' and '.', as in {{score: '{}'}}",
                      column, kLongestColumn, column));
  const TableSection* all = nullptr;
  for (const TableSection& table : tables) {
    if (table.repeated != "all") continue;
    if (all && !same_columns(*all, table))
      f.error("tables",
              fmt::format("repeated: all: {} and {}: of tables with other columns only one may have "
                          "several rows of a picture",
                          all->name(), table.name()));
    all = &table;
  }
  if (record.kind != "sidecar_text" && !splits.group.empty())
    f.error("splits", fmt::format("group: a sidecar's key; record.kind: {} has none", record.kind));
  if (tables.empty() != (record.kind != "table"))
    f.error("record", "kind: table and `tables` belong together");
}

/// Names that nobody gives must be known before any record is read, or each task would find others.
void CatalogueEntry::check_classes(core::Fields& f) {
  if (!is_template(record.from) || !record.classes.empty() || archive == "none") return;
  try {
    if (tables::PathTemplate(record.from, "class").is_of_archive()) return;
  } catch (const core::UserError&) {  // said already
  }
  f.error("record", fmt::format("classes: name them: which ones '{}' makes of the members of a {} is not "
                                "known before all of them are read",
                                record.from, archive));
}

/// Of weights nothing but their files is asked.
void CatalogueEntry::check_weights(core::Fields& f) {
  for (const char* key :
       {"archive", "record", "tables", "filters", "captions", "splits", "pictures", "recipe", "shard_records",
        "shard_bytes", "subset", "part", "max_failed_items", "keep_raw", "images"})
    if (f.given(key)) f.error(key, "is of data sets; kind: weights has name and source");
  if (!source.small.empty()) f.error("source", "small: weights are taken whole");
  archive = "none";
  source.hub_of_models = true;
}

void CatalogueEntry::fields(core::Fields& f) {
  f.field("name", name,
          {.max = 200, .required = true, .help = "of its folders under raw/, samples/ and latents/"});
  f.field("kind", kind,
          {.choices = {"data", "weights"},
           .help = "weights: a frozen network's files, which download puts into weights/NAME"});
  f.section("source", source);
  f.field("archive", archive,
          {.choices = {"tar", "tgz", "zip", "gz", "parquet", "none"}, .help = "what the files are"});
  f.section("record", record);
  f.sections("tables", tables);
  f.section("filters", filters);
  f.section("captions", captions);
  f.section("splits", splits);
  f.section("pictures", pictures);
  f.field("recipe", recipe, {.help = "how precompute makes latents: a file of configs/latents"});
  f.field("shard_records", shard_records, {.min = 1, .max = 1e6, .help = "raw records per shard"});
  f.field("shard_bytes", shard_bytes,
          {.min = 1, .max = 1 << 30, .help = "pictures' bytes per shard; clean holds that much in memory"});
  f.field("subset", subset, {.choices = {"all", "small"}, .help = "small: about 1 %"});
  f.field("part", part,
          {.choices = {"images", "text", "all"}, .help = "what precompute encodes in this call"});
  f.field("threads_per_rank", threads_per_rank, {.min = 1, .max = 1024, .help = "of the encoders; recorded"});
  f.field("decode_workers", decode_workers,
          {.min = 1,
           .max = 256,
           .help = "clean, precompute: processes per rank that decode pictures; results are the same"});
  f.field("device", device,
          {.choices = {"auto", "cpu", "cuda"}, .help = "of the encoders; auto: a GPU where there is one"});
  f.field("max_failed_items", max_failed_items,
          {.min = 0,
           .max = 1e9,
           .help = "a stage closes without this many items that failed (unreadable ones apart): a fraction "
                   "below 1, else a count"});
  f.field("keep_raw", keep_raw,
          {.help = "false: clean removes a raw file when its samples are written and read back"});
  f.field("images", images,
          {.choices = {"copy", "reference"},
           .help = "samples hold the pictures, or where they lie in the raw files (plain tar, stored zip)"});
  f.field("task", task, {.help = "i/n: this task's share, 0-based (default: the Slurm array's)"});
  if (!f.reading()) return;
  if (is_weights()) check_weights(f);
  check_tables(f);
  if (record.kind == "idx" || record.kind == "parquet") {
    if (!record.members.empty())
      f.error("record", fmt::format("members: kind: {} has none; `source` says which files", record.kind));
    if (!splits.held_out_members.empty())
      f.error("splits",
              fmt::format("held_out_members: record.kind: {} has none; held_out_files", record.kind));
  }
  if (images == "reference" && !keep_raw) f.error("keep_raw", "images: reference needs the raw files");
  if ((archive == "parquet") != (record.kind == "parquet") ||
      (record.kind == "idx" && archive != "gz" && archive != "none") ||
      (record.kind == "cifar" && archive == "none"))
    f.error("archive", fmt::format("{} does not go with record.kind: {}", archive, record.kind));
  if (images == "reference" && record.is_labelled())
    f.error("images", fmt::format("reference: record.kind: {} has no picture files", record.kind));
  if (images == "reference" && archive == "tgz")
    f.error("images", "a tgz is compressed as a whole: reference needs plain tar, stored zip or loose files");
  if (!name.empty() && !store::is_plain_name(name)) {
    f.error("name", fmt::format("'{}': use letters, digits, '-', '_' and '.' only", name));
  }
  for (const std::string& source_name : captions.which) {
    if (!record.caption.contains(source_name)) {
      f.error("captions", fmt::format("which: record.caption has no source '{}'", source_name));
    }
  }
}

std::string CatalogueEntry::folder_name() const {
  return subset == "small" ? name + "-small" : name;
}
std::filesystem::path CatalogueEntry::raw_folder() const {
  if (is_weights()) return core::data_root() / "weights" / fmt::format(".{}.download", name);
  return core::data_root() / "raw" / folder_name();
}
std::filesystem::path CatalogueEntry::weights_folder() const {
  return core::data_root() / "weights" / name;
}
std::filesystem::path CatalogueEntry::samples_folder() const {
  return core::data_root() / "samples" / folder_name();
}
std::filesystem::path CatalogueEntry::latents_folder() const {
  return core::data_root() / "latents" / folder_name();
}

bool CatalogueEntry::joins_tables() const {
  return std::ranges::any_of(tables, [&](const auto& table) { return !same_columns(table, tables.front()); });
}

std::set<std::string> CatalogueEntry::all_columns() const {
  std::set<std::string> columns;
  for (const TableSection& table : tables)
    for (const auto& [column, from] : table.columns) columns.insert(column);
  return columns;
}

std::vector<std::string> CatalogueEntry::kept_columns() const {
  std::set<std::string> columns = all_columns();
  for (const auto& [source_name, where] : record.caption)
    if (where.starts_with("table:")) columns.erase(where.substr(6));
  if (is_table(record.from)) columns.erase(record.from.substr(6));
  for (const auto& [column, from] : record.columns) columns.insert(column);
  if (record.has_classes()) columns.insert("class");
  return {columns.begin(), columns.end()};
}

std::vector<std::string> CatalogueEntry::caption_sources() const {
  if (!captions.which.empty()) return captions.which;
  std::vector<std::string> names;
  for (const auto& [source_name, where] : record.caption) names.push_back(source_name);
  return names;
}

void require_data(const CatalogueEntry& entry, const std::string& stage) {
  if (!entry.is_weights()) return;
  core::user_error(
      "{}: {} is an entry of weights, not of data: download alone takes it, and puts them into {}; name that "
      "folder in a recipe (configs/latents), and give {} a data set's entry (configs/datasets)",
      stage, entry.name, entry.weights_folder().string(), stage);
}

}  // namespace microdit::ingest
