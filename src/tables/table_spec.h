// What a table is, as YAML says it: where its rows are, what key each has, which columns are kept.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::tables {

struct TableSpec {
  std::string kind{};  ///< json, csv, parquet or texts
  std::vector<std::string>
      files{};  ///< as the dataset's source names them: names, ranges, patterns; several files are one table
  std::string member{};  ///< of each archive, a name or a pattern; "" when they are none
  std::string rows =
      "lines";  ///< json: "lines"; "." for a document that is an array; else where the array is ("a/b")
  std::string separator = ",";  ///< csv: one character, or "tab"
  bool quotes = true;           ///< csv: fields may stand in double quotes
  std::string key{};            ///< template over a row's columns
  std::string join = "{path}";  ///< template over a picture's path
  std::map<std::string, std::string>
      columns{};                   ///< name -> the row's column; json: "a/b/0" goes into objects and lists
  std::string repeated = "first";  ///< rows of one key: first, or all in the source's order

  void fields(core::Fields& f);

  /// Columns that a reader must give, in that order: the key's and the kept ones', each once, sorted.
  std::vector<std::string> source_columns() const;
  /// "metadata.csv", "meta/part-*.parquet, more.parquet:rows/*.json", for messages.
  std::string name() const;
  /// "`key` of the table of metadata.csv", likewise.
  std::string place(std::string_view setting) const;
};

}  // namespace microdit::tables
