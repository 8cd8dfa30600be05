// Patterns of an entry that match nothing: a slip there trains on what was to be held out.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "core/json.h"
#include "ingest/catalogue.h"
#include "ingest/glob.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// `tables.of` and `splits.held_out_files` are about raw files, which are known before any work. UserError, which names the pattern and
/// paths that are there, where one means none of them, files that download failed on included. Of subset small, whose files may well be
/// others, a warning.
void check_file_patterns(const CatalogueEntry& entry, const store::Manifest& raw);

/// `record.members` and `splits.held_out_members` are about members, which are known when all items are read.
class IdlePatterns {
 public:
  /// What the record of an item says under `patterns`: {KEY: {"idle": [pattern ...], "example": path}} of each key that the entry gives;
  /// empty where it gives none.
  static core::Json of_item(const UsedPatterns& members, const UsedPatterns& held_out);
  /// Adds an item's. One of an earlier version says nothing: then no pattern is known to be idle. Json::exception where it says it in
  /// another form.
  void add(const core::Json& details);
  /// UserError where a pattern matched no member of any item. `items`: that there should be; where some are missing, and of subset
  /// small, a warning.
  void check(const CatalogueEntry& entry, std::size_t items) const;

 private:
  struct Pattern {
    std::size_t idle = 0;  ///< in so many items
    std::string example{};
  };
  std::map<std::string, std::map<std::string, Pattern>> keys_;  ///< key -> pattern
  std::size_t items_ = 0;
};

}  // namespace microdit::ingest
