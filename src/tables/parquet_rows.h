// Rows of a Parquet file: only the wanted columns are decoded, a page at a time. Arrow's C++ library is known here alone, and may
// be missing from a build.
#pragma once

#include <filesystem>
#include <string>

#include "core/stop_flag.h"
#include "tables/byte_source.h"

namespace microdit::tables {

/// Whether this build reads Parquet.
bool reads_parquet();
/// UserError, which names the file and says what to do, where it does not.
void require_parquet(const std::string& origin);

/// Columns are named as in the file, "a.b" within groups, "a/0" an element of a list (nothing where it has fewer). Text is text, whole numbers are exact (beyond 64 bits signed: text), a 32-bit
/// float is the double of its value (.2 becomes 0.2000000030, above .2, as in pandas); NaN is
/// nothing. UserError, never Arrow's own: no Parquet, cut short, encrypted, damaged, a column that is missing, there twice, a list without an element,
/// or of another kind; limits.h; a build without Arrow. InputFault where the device fails. core::Stopped.
/// `request.damaged`: told of a row with a text that is not UTF-8, which is passed over then.
void read_parquet_rows(const std::filesystem::path& file, const RowRequest& request, const RowSink& sink,
                       const core::StopFlag& stop);

}  // namespace microdit::tables
