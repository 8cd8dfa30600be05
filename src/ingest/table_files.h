// Which files of a source an entry's tables are made of.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/catalogue.h"
#include "ingest/raw_paths.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// The files of one table: names, ranges "{a..b}", patterns (glob.h).
class TableFiles {
 public:
  /// UserError where a range is malformed.
  explicit TableFiles(const TableSection& table);

  /// Whether a raw file is one of them. `name`: under raw/. `path`: its path in the source, asked for where the name may be meant.
  bool has(const std::string& name, const std::function<std::string()>& path) const;
  /// A raw file and its path in the source, sorted by this. UserError, which names some that are there, where a pattern means none.
  struct Part {
    std::string path;
    store::ShardEntry file;
  };
  std::vector<Part> choose(const store::Manifest& raw, const RawPaths& paths) const;

 private:
  struct Pattern {
    std::string text, name;  ///< as written; under raw/, "" of a pattern
    std::string ending;      ///< that raw names of its files have
    bool means(const std::string& file, const std::function<std::string()>& path) const;
  };
  [[noreturn]] void nothing(const Pattern& pattern, const store::Manifest& raw, const RawPaths& paths) const;
  std::vector<Pattern> patterns_;
};

/// Whether a raw file is a table's, not one with pictures.
bool is_table_file(const std::vector<TableFiles>& tables, const std::string& name,
                   const std::function<std::string()>& path);
std::vector<TableFiles> table_files(const CatalogueEntry& entry);
/// UserError, with the key, where `tables.file` is written wrong.
void check_table_files(const CatalogueEntry& entry);

/// What kind of archive a raw file is: the entry's, or as a table's name ends.
std::string archive_of(const CatalogueEntry& entry, const std::string& name, const std::string& path);
/// Likewise, of a table's.
std::string table_archive(std::string_view name);
/// A file's name without the ending of an archive.
std::string_view without_ending(std::string_view name);

}  // namespace microdit::ingest
