// Every limit on the bytes of foreign tables, one line each. Nesting of JSON is core's (core/json.cpp); json_scanner.cpp keeps the
// same for what it passes over.
#pragma once

#include <cstddef>
#include <cstdint>

namespace microdit::tables::limits {

constexpr std::size_t kMiB = 1u << 20;

// Rows, of any source.
constexpr std::size_t kRowBytes = kMiB;  ///< of one row as it stands in its file; of the columns kept of it
constexpr std::size_t kKeyBytes = 4096;  ///< of a key: a member's path is no longer
constexpr std::size_t kColumns = 256;    ///< that a table keeps of a row
constexpr std::uint64_t kRows = 1'000'000'000;         ///< of one table
constexpr std::uint64_t kSpilledBytes = 512ull << 30;  ///< of all rows while they are sorted
constexpr std::size_t kRowsPerKey = 1000;              ///< where `repeated: all`
constexpr std::size_t kKeyRowsBytes = 4 * kMiB;        ///< likewise, of all of them

// JSON.
constexpr std::size_t kJsonDepth = 200;  ///< of what is passed over; core's for a row

// CSV.
constexpr std::size_t kCsvFields = 4096;  ///< of the header

// Parquet.
constexpr std::size_t kFooterBytes = 16 * kMiB;
constexpr int kFooterDepth = 32;                   ///< of its structures in one another
constexpr std::uint64_t kFooterStructs = 500'000;  ///< in all: one is several hundred bytes once read
constexpr std::size_t kSchemaElements = 4096;      ///< columns and groups
constexpr std::uint32_t kPageHeaderBytes = kMiB;
constexpr std::int64_t kListElements = 1'000'000;  ///< of a row
constexpr std::int64_t kDecodedBytes =
    64 * kMiB;                             ///< held at a time, all wanted columns: pages and dictionaries
constexpr std::uint64_t kExpansion = 100;  ///< decoded : stored bytes, beyond kFreeExpansion
constexpr std::uint64_t kFreeExpansion = 1ull << 30;  ///< decoded bytes that any file may hold

}  // namespace microdit::tables::limits
