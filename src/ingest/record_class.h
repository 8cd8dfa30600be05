// Which class a record is of: `record.class` (or the class that its kind has), `record.classes`.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "ingest/catalogue.h"
#include "ingest/records.h"
#include "tables/key_template.h"

namespace microdit::ingest {

class Sidecar;

class ClassReader {
 public:
  /// `entry` outlives it; its record.classes are class_names() (class_names.h).
  explicit ClassReader(const CatalogueEntry& entry);
  /// Makes the record's cell "class" the class's number. Text is a name of record.classes, else a number, but of a path: that is a name.
  /// Returns "" or why there is none: filtered.no_class, damaged.no_class, or what is wrong with the sidecar. UserError (file, key, what
  /// stands there) where text is no class.
  std::string find(RawRecord& raw, Sidecar& sidecar) const;
  /// UserError (file, key, number) where the cell "class" is no number of a class. That there is none is none (NaN, -1).
  void check(const RawRecord& raw) const;

 private:
  tables::Value value_of(const RawRecord& raw, Sidecar& sidecar) const;
  std::optional<std::int64_t> number_of(const tables::Value& value) const;
  [[noreturn]] void refuse(const RawRecord& raw, const std::string& found) const;
  const CatalogueEntry& entry_;
  std::optional<tables::PathTemplate> path_;
  std::unordered_map<std::string, std::int64_t> numbers_;  ///< of names
};

}  // namespace microdit::ingest
