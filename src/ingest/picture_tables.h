// An entry's tables: built once of raw files, asked for the rows of a picture.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "ingest/catalogue.h"
#include "ingest/raw_paths.h"
#include "store/manifest.h"
#include "tables/key_template.h"
#include "tables/table_file.h"

namespace microdit::ingest {

/// What a table says of one picture: name of a column -> its cell.
using TableCells = std::map<std::string, tables::Value>;

/// Makes the tables that are not there yet, each of the raw files that `file` means, in the order of their paths, of an archive the
/// members that `member` means, in its order: raw/NAME/tables/HASH.table. Several processes may do so at
/// once: what the first publishes, all use. UserError: no such raw file or member, rows that are none; core::Stopped.
void make_tables(const CatalogueEntry& entry, const store::Manifest& raw, const core::StopFlag& stop);

/// Whether make_tables would make nothing.
bool tables_are_there(const CatalogueEntry& entry, const store::Manifest& raw);

class PictureTables {
 public:
  PictureTables() = default;
  /// Those of make_tables; none where the entry has none.
  PictureTables(const CatalogueEntry& entry, const store::Manifest& raw);

  /// The rows of the picture `member` of a raw file, both by their paths. Each column is of the first table, among those of that file,
  /// that has the picture and that column; where a table has several rows of the picture, each is joined with what the others say.
  /// `without` becomes the numbers (see name()) of those that have none of it although it has rows in others, which give it no such columns.
  std::vector<TableCells> rows(const std::string& path, const std::string& member,
                               std::vector<std::size_t>& without) const;
  /// "FILE, join JOIN" of a table, for messages.
  std::string name(std::size_t table) const { return tables_.at(table).name(); }
  /// Which of them had a row since the object was made, and what was looked for in those that had none: {"tables": {"idle": ["FILE, join
  /// JOIN" ...], "example": key}}, as IdlePatterns keeps it; empty without tables.
  core::Json use() const;
  void forget_use() const;
  /// Rows that were left out as damaged when they were made: "FILE 3 of 400 rows, ..."; "" where there are none.
  std::string damaged_rows() const;
  /// A raw file's path in its source (RawPaths); its name where nothing asks for paths.
  std::string path_of(const std::string& file) const { return paths_.of(file); }
  /// What an item made with them depends on; empty without tables.
  core::Json identity() const;

 private:
  RawPaths paths_;
  struct Open {
    const TableSection* section;
    tables::PathTemplate join;
    std::shared_ptr<tables::TableFile> file;
    mutable bool was_asked = false, had_rows = false;
    std::string name() const;  ///< for messages
  };
  std::vector<Open> tables_;
  core::Json identity_ = core::Json::array();
  mutable std::string looked_for_{};  ///< the first key that a table did not have
};

}  // namespace microdit::ingest
