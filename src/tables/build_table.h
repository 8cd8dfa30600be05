// A table's file from its source, by its spec: the door of this library for who builds.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "core/stop_flag.h"
#include "tables/byte_source.h"
#include "tables/table_builder.h"
#include "tables/table_spec.h"

namespace microdit::tables {

/// Where the rows come from.
struct TableInput {
  std::string origin{};          ///< for messages: "captions.zip:annotations/captions.json"
  ByteSource bytes{};            ///< json, csv: the document, unpacked
  std::filesystem::path file{};  ///< parquet: read in place
};

/// The next part of a table's rows; nothing behind the last. A part is read before the next is asked for.
using NextInput = std::function<std::optional<TableInput>()>;

/// Builds `path`, which is there whole or not at all; what a killed life of the same left is removed. UserError, SystemError,
/// InputFault, core::Stopped: see the readers and TableBuilder. Not for `kind: texts`.
TableCounts build_table(const std::filesystem::path& path, const TableSpec& spec, const NextInput& next,
                        const core::StopFlag& stop, const BuildOptions& options = {});
TableCounts build_table(const std::filesystem::path& path, const TableSpec& spec, const TableInput& input,
                        const core::StopFlag& stop, const BuildOptions& options = {});

/// A table of `kind: texts`: the caller goes through the archive.
class TextTable {
 public:
  TextTable(const std::filesystem::path& path, const TableSpec& spec, const core::StopFlag& stop,
            const BuildOptions& options = {});
  /// The members that are added next are of this archive.
  void begin(std::string archive) { builder_.begin(std::move(archive)); }
  /// A member: its text is stripped as Python's str.strip does. One that is not UTF-8, or larger than limits::kRowBytes, has no text and is counted
  /// (TableCounts::damaged).
  void add(std::string_view member, std::string_view bytes);
  /// One whose bytes cannot be had.
  void add_damaged(std::string_view member) { add(member, "\xff"); }
  TableCounts finish() { return builder_.finish(); }

 private:
  TableBuilder builder_;
};

}  // namespace microdit::tables
