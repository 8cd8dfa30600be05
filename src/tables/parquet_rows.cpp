// A table's rows: of a file that is read in this process, within the limits of tables.
#include "tables/parquet_rows.h"

#include "tables/parquet_file.h"

namespace microdit::tables {

bool reads_parquet() {
  return true;
}

void require_parquet(const std::string&) {}

void read_parquet_rows(const std::filesystem::path& file, const RowRequest& request, const RowSink& sink,
                       const core::StopFlag& stop) {
  ParquetFile(core::InputFile(file), request.origin, {}, stop).read(request, sink);
}

}  // namespace microdit::tables
