// Private to tables: the values of one column of one row group, one after another.
#pragma once

#include <parquet/column_reader.h>

#include <memory>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "tables/value.h"

namespace microdit::tables::detail {

class ParquetColumn {
 public:
  virtual ~ParquetColumn() = default;
  /// The next value; false where the column has no more.
  virtual bool next(Value& out) = 0;
};

/// "" or why a column's values are none that a table can have ("a decimal").
std::string column_fault(const parquet::ColumnDescriptor& column);

/// `element`: of a list in each row, nothing where it has fewer; -1 where the column is no list. Parquet's exceptions come out as they are;
/// core::Stopped.
std::unique_ptr<ParquetColumn> open_column(const parquet::ColumnDescriptor& column, int element,
                                           std::unique_ptr<parquet::PageReader> pages,
                                           arrow::MemoryPool* pool, const core::StopFlag& stop);

}  // namespace microdit::tables::detail
