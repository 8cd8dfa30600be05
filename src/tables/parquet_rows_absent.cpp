// Without Arrow a Parquet table is known, and said to be of no use.
#include "core/error.h"
#include "tables/parquet_file.h"
#include "tables/parquet_rows.h"

namespace microdit::tables {

bool reads_parquet() {
  return false;
}

void require_parquet(const std::string& origin) {
  core::user_error(
      "{}: this program was built without Arrow and reads no Parquet. Run scripts/setup.sh, which brings it "
      "(pyarrow), "
      "and build again; or save a table as CSV or JSON lines, pictures as files",
      origin);
}

class ParquetFile::Open {};

ParquetFile::ParquetFile(core::InputFile&&, std::string origin, const ParquetBounds&, const core::StopFlag&) {
  require_parquet(origin);
}

ParquetFile::~ParquetFile() = default;

bool ParquetFile::has(std::string_view) const {
  return false;
}

void ParquetFile::read(const RowRequest&, const RowSink&) {}

void read_parquet_rows(const std::filesystem::path&, const RowRequest& request, const RowSink&,
                       const core::StopFlag&) {
  require_parquet(request.origin);
}

}  // namespace microdit::tables
