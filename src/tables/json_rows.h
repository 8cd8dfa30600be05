// Rows of a JSON document or of JSON lines, read front to back: never more than one row in memory.
//
// A row is read as sidecars are (core::parse_foreign_json), whole numbers beyond 64 bits as text. What stands between and around
// the rows is followed by its brackets and quotes, not judged.
#pragma once

#include <string>

#include "core/stop_flag.h"
#include "tables/byte_source.h"

namespace microdit::tables {

/// `rows`: "lines", "." for a document that is a list, or where in its objects the list is ("annotations", "a/b"). A column "a/b/0"
/// goes into objects and lists ("~1" is a slash of a name, "~0" a tilde); what is not there is nothing. UserError: no such list, no
/// JSON, a row that is no object or larger than limits::kRowBytes, nesting, a column that is an object or a list, a document that
/// is cut short. core::Stopped.
void read_json_rows(ByteSource source, const std::string& rows, const RowRequest& request,
                    const RowSink& sink, const core::StopFlag& stop);

}  // namespace microdit::tables
