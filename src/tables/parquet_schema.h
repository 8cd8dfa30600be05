// Private to tables: which column of a Parquet file a name means.
#pragma once

#include <parquet/schema.h>

#include <string>

namespace microdit::tables::detail {

struct ColumnPlace {
  int column = 0;    ///< in the file
  int element = -1;  ///< of a list, from 0 on; -1: the column is none
};

/// `name`: "a.b" within groups, "a/0" an element of a list. UserError, which begins with `origin`: there is none (which there are), more
/// than one, a list without an element, lists within lists, or values of another kind than cells.
ColumnPlace find_column(const parquet::SchemaDescriptor& schema, const std::string& name,
                        const std::string& origin);

}  // namespace microdit::tables::detail
