// Rows of a CSV (or TSV) file with a header line, read front to back: never more than one row in memory.
#pragma once

#include "core/stop_flag.h"
#include "tables/byte_source.h"

namespace microdit::tables {

struct CsvRules {
  char separator = ',';
  bool quotes =
      true;  ///< RFC 4180: a field that begins with a double quote goes to the next single one, over lines, too
};

/// The rules of a TableSpec's `separator` and `quotes`.
CsvRules csv_rules(const std::string& separator, bool quotes);

/// Cells are text; an empty one is nothing. Lines end with \n, \r\n or \r; empty ones are passed over. A row with another number of fields
/// is `damaged`, where the request takes such, else a UserError. UserError: no header, a column that is missing or there twice, text behind a closing quote, a quote that is not closed, a
/// zero byte, a row larger than limits::kRowBytes. core::Stopped.
void read_csv_rows(ByteSource source, const CsvRules& rules, const RowRequest& request, const RowSink& sink,
                   const core::StopFlag& stop);

}  // namespace microdit::tables
