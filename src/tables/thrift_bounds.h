// Private to tables: what a Parquet footer would cost, before Arrow makes structures of it.
#pragma once

#include <string>
#include <string_view>

namespace microdit::tables::detail {

/// Follows a structure of Thrift's compact protocol, FileMetaData. "" or why it is refused: it ends too early, limits::kFooterDepth,
/// kFooterStructs, kSchemaElements (its field 2).
std::string thrift_fault(std::string_view footer);

}  // namespace microdit::tables::detail
