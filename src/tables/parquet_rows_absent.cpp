// Without Arrow a Parquet table is known, and said to be of no use.
#include "core/error.h"
#include "tables/parquet_rows.h"

namespace microdit::tables {

bool reads_parquet() {
  return false;
}

void read_parquet_rows(const std::filesystem::path&, const RowRequest& request, const RowSink&,
                       const core::StopFlag&) {
  core::user_error(
      "{}: this program was built without Arrow and reads no Parquet. Run scripts/setup.sh, which brings it "
      "(pyarrow), "
      "and build again; or save the table as CSV or JSON lines",
      request.origin);
}

}  // namespace microdit::tables
