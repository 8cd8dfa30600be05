// One shard file of an MDS folder: unpacked, checked, cut into samples and values.
//
// A shard: u32 samples n, u32 offsets[n + 1] from the file's beginning, JSON (the columns), samples. A sample: u32 size of each
// column without a fixed one, then the columns' values, in the order of the index. Little endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stream/mds_index.h"
#include "stream/open_files.h"

namespace microdit::stream {

/// Where the samples of a shard lie: offsets[i] to offsets[i + 1].
/// UserError when the table is not one: out of order, beyond the file, other columns than the index says.
std::vector<std::uint32_t> read_mds_offsets(const OpenFile& file, const MdsShard& shard,
                                            const MdsColumns& columns);

/// Reads the whole file once. Checks the hashes that the index states (UserError) and returns each sample's xxh3-64.
std::vector<std::uint64_t> check_mds_shard(const OpenFile& file, const MdsFile& stated,
                                           std::span<const std::uint32_t> offsets);

/// Unpacks a zstd file of a stated size and hashes to `to` (written aside, then published); at most `raw.bytes` are written.
/// UserError: not zstd, damaged, another size than stated, hashes that differ.
void unpack_mds_shard(const std::filesystem::path& zipped, const MdsFile& stated, const MdsFile& raw,
                      const std::filesystem::path& to, bool verify);

/// The columns' values of one sample; UserError (beginning with `where`) when sizes and bytes do not agree.
std::vector<std::span<const std::byte>> split_mds_sample(std::span<const std::byte> sample,
                                                         const MdsColumns& columns, const std::string& where);

/// Numbers as a column holds them.
struct MdsNumbers {
  std::string dtype;                ///< "float16" ...; empty: plain bytes, the reader must know
  std::vector<std::int64_t> shape;  ///< empty: not said
  std::span<const std::byte> values;
};
/// Of a `bytes` or `ndarray` column; UserError for another encoding or a header that does not fit.
MdsNumbers mds_numbers(std::span<const std::byte> value, const MdsColumn& column, const std::string& where);

}  // namespace microdit::stream
