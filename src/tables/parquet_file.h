// A Parquet file, open: which columns it has, and rows of those that are wanted, decoded a page at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/input_file.h"
#include "core/stop_flag.h"
#include "tables/byte_source.h"
#include "tables/limits.h"

namespace microdit::tables {

/// What a file may ask for.
struct ParquetBounds {
  std::int64_t decoded_bytes =
      limits::kDecodedBytes;                   ///< held at a time, all wanted columns: pages and dictionaries
  std::size_t cell_bytes = limits::kRowBytes;  ///< of one text
  std::uint64_t rows = limits::kRows;
};

class ParquetFile {
 public:
  /// Reads the footer; a build without Arrow refuses every file. `origin` names the file in messages. UserError, InputFault, core::Stopped as read_parquet_rows. What is given by
  /// reference must outlive it.
  ParquetFile(core::InputFile&& file, std::string origin, const ParquetBounds& bounds,
              const core::StopFlag& stop);
  ~ParquetFile();
  ParquetFile(const ParquetFile&) = delete;

  /// Whether a column that holds values is named so ("a.b" within groups).
  bool has(std::string_view column) const;
  /// All rows, as read_parquet_rows. Once.
  void read(const RowRequest& request, const RowSink& sink);

 private:
  class Open;
  std::unique_ptr<Open> open_;
};

}  // namespace microdit::tables
