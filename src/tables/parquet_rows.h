// Rows of a Parquet file: only the wanted columns are decoded, a page at a time. Arrow's C++ library is known here alone, and may
// be missing from a build.
#pragma once

#include <filesystem>

#include "core/stop_flag.h"
#include "tables/byte_source.h"

namespace microdit::tables {

/// Whether this build reads Parquet.
bool reads_parquet();

/// Columns are named as in the file, "a.b" within groups. Text is text, whole numbers are exact (beyond 64 bits signed: text), a 32-bit
/// float is the double of its value (.2 becomes 0.2000000030, above .2, as in pandas); NaN is
/// nothing. UserError, never Arrow's own: no Parquet, cut short, encrypted, damaged, a column that is missing, there twice, a list,
/// or of another kind; limits.h; a build without Arrow. InputFault where the device fails. core::Stopped.
void read_parquet_rows(const std::filesystem::path& file, const RowRequest& request, const RowSink& sink,
                       const core::StopFlag& stop);

}  // namespace microdit::tables
