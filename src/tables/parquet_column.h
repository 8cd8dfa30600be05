// Private to tables: the values of one column of one row group, one after another.
#pragma once

#include <parquet/column_reader.h>

#include <memory>
#include <string>
#include <vector>

#include "tables/value.h"

namespace microdit::tables::detail {

class ParquetColumn {
 public:
  virtual ~ParquetColumn() = default;
  /// The next value; false where the column has no more.
  virtual bool next(Value& out) = 0;
};

/// "" or why a column is not one that a table can have ("a list", "a decimal").
std::string column_fault(const parquet::ColumnDescriptor& column);

/// Parquet's exceptions come out as they are.
std::unique_ptr<ParquetColumn> open_column(const parquet::ColumnDescriptor& column,
                                           std::unique_ptr<parquet::PageReader> pages,
                                           arrow::MemoryPool* pool);

}  // namespace microdit::tables::detail
