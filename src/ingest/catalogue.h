// A dataset in about 15 lines of YAML: where its files are, what a record is, which captions count. Or the weights of a
// frozen network (kind: weights): where its files are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "ingest/picture_rules.h"
#include "ingest/source_section.h"
#include "tables/table_spec.h"

namespace microdit::ingest {

struct RecordSection {
  /// sidecar_text: members with one stem are one record; table: each picture is one, for each row that `tables` have of it;
  /// cifar, idx: pixels and classes (labelled.h); parquet: pictures in a column (parquet_records.h).
  std::string kind = "sidecar_text";
  /// Where a picture's class is (record_class.h): a template over its path ("{parent}": the folder that it lies in), "table:<column>",
  /// "json:<key>" or an extension ("cls"); "" = there are none, or the kind has them.
  std::string from{};
  std::vector<std::string>
      classes{};  ///< names of classes 0, 1, 2 ..., which are the captions; empty = the numbers
  std::string picture = "image.bytes", label = "label";  ///< parquet: columns; no label: ""
  std::map<std::string, std::string> columns{};  ///< parquet: name beside the samples -> column of numbers
  std::vector<std::string> members{};  ///< patterns over a member's path (file_pattern.h); empty = all
  std::vector<std::string> image = {"jpg", "jpeg", "png", "webp"};  ///< extensions
  /// Caption source name -> where it is: "txt" (a sidecar's text), "json:<key>" (a key of the sidecar
  /// .json) "table:<column>", "column:<column>" (of Parquet) or "class".
  std::map<std::string, std::string> caption = {{"caption", "txt"}};
  bool has_classes() const { return !from.empty() || (is_labelled() && !label.empty()); }
  /// Its records are the rows of one file, and so have each another key.
  bool is_numbered() const { return kind == "idx" || kind == "parquet"; }
  bool is_labelled() const { return kind == "cifar" || kind == "idx" || kind == "parquet"; }
  void fields(core::Fields& f);

 private:
  void check_columns(core::Fields& f);
  void check_class(core::Fields& f);
  void check_caption(core::Fields& f, const std::string& source, const std::string& where);
};
/// A table of the entry (tables/table_spec.h), and whose pictures it is about.
struct TableSection : tables::TableSpec {
  std::string of{};  ///< pattern over the source's files; empty = all
  void fields(core::Fields& f);
};
struct FilterSection {
  std::int64_t min_side = 0;
  std::map<std::string, std::string> at_most{}, at_least{};  ///< column of a table -> a number
  double max_damaged_fraction =
      0.05;  ///< of clean's records that are damaged.* or unsupported.*; of the pictures of a shard in precompute
  void fields(core::Fields& f);
  /// A bound as its text says it.
  static std::optional<double> number(std::string_view text);
};
struct CaptionSection {
  /// as_is: every byte of it; none: no white space at the ends; reference: the original's caption cleaner; gentle: Unicode repair and white space.
  std::string clean = "none";
  std::vector<std::string> which{};  ///< caption sources to keep, in this order; empty = all
  std::string empty =
      "skip";  ///< a record whose captions clean to nothing: skip, or keep it with the empty caption
  void fields(core::Fields& f);
};
struct SplitSection {
  double held_out = 0;  ///< fraction
  std::vector<std::string> held_out_files{},
      held_out_members{};  ///< patterns: all records of these are held out
  std::string group{};    ///< "json:<key>": records with one value stay on one side; empty = the record's key
  std::int64_t seed = 0;  ///< another draw of the same fraction
  void fields(core::Fields& f);
};

struct CatalogueEntry {
  std::string name;
  std::string kind = "data";  ///< data | weights: a model's files, which download alone takes
  SourceSection source;
  std::string archive =
      "tar";  ///< tar | tgz | zip | gz (each file is one member) | parquet | none (the files themselves are the members)
  RecordSection record;
  std::vector<TableSection> tables;
  FilterSection filters;
  CaptionSection captions;
  SplitSection splits;
  PictureSection pictures;
  std::int64_t shard_records = 1000;   ///< raw records per shard, or fewer:
  std::int64_t shard_bytes = 1 << 30;  ///< of pictures in one shard
  std::string subset = "all";          ///< all | small
  std::string recipe{};                ///< file in configs/latents: how precompute makes latents
  std::string part = "all";            ///< of precompute: images | text | all
  std::int64_t threads_per_rank = 1;   ///< recorded: encoder bits depend on it
  std::int64_t decode_workers = 1;     ///< of clean and precompute; results do not depend on it
  std::string device = "auto";
  std::string task{};  ///< "i/n"
  double max_failed_items =
      0;  ///< a stage closes without this many items (unreadable ones apart): a fraction below 1, else a count
  bool keep_raw = true;  ///< false: clean removes an archive when its samples are there and verified
  std::string images =
      "copy";  ///< of samples shards: copy, or reference (file, offset, length of plain tar, stored zip)
  void fields(core::Fields& f);

  /// name, or name-small for the small subset: its name under raw/, samples/ and latents/.
  std::string folder_name() const;
  std::filesystem::path weights_folder() const;  ///< data_root()/weights/name
  /// Where download fetches to: data_root()/raw/folder_name(); of weights a hidden folder beside weights_folder().
  std::filesystem::path raw_folder() const;
  /// Whether columns of one record may be of several tables.
  bool joins_tables() const;
  /// Patterns over members, where these are loose files: they are about paths in the source.
  bool has_loose_patterns() const {
    return archive == "none" && !(record.members.empty() && splits.held_out_members.empty());
  }
  bool is_weights() const { return kind == "weights"; }
  std::filesystem::path samples_folder() const;
  std::filesystem::path latents_folder() const;  ///< of all recipes
  /// Columns of tables that are no captions, sorted: they stay beside the samples as numbers.
  std::vector<std::string> kept_columns() const;
  /// Caption sources that are kept, in the order that `caption_source` numbers mean.
  std::vector<std::string> caption_sources() const;

 private:
  void check_weights(core::Fields& f);
  void check_tables(core::Fields& f);
  void check_classes(core::Fields& f);
  std::set<std::string> all_columns() const;  ///< of its tables
};

/// UserError, which says what takes such an entry, where it is one of weights.
void require_data(const CatalogueEntry& entry, const std::string& stage);

}  // namespace microdit::ingest
