// index.json of an MDS folder (the format of mosaicml-streaming): which files, which columns; nothing of it is trusted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "stream/latents_source.h"

namespace microdit::stream {

/// What a foreign folder may ask of this program.
struct MdsLimits {
  static constexpr std::uint64_t kIndexBytes = 64u << 20;         ///< of one index.json
  static constexpr std::uint64_t kShardBytes = (1ull << 32) - 1;  ///< offsets in a shard have 32 bits
  static constexpr std::uint64_t kHeaderBytes = 1u << 20;         ///< the JSON inside a shard
  static constexpr std::size_t kShards = 1'000'000;
  static constexpr std::size_t kFolders = 65'536;
  static constexpr std::size_t kColumns = 64;
  static constexpr std::size_t kNameBytes = 256;
  static constexpr std::size_t kHashes = 8;
  static constexpr std::uint64_t kSampleBytes = 256u << 20;
  static constexpr std::uint64_t kExpansion = 100;  ///< unpacked : packed, beyond kFreeExpansion
  static constexpr std::uint64_t kFreeExpansion = 64u << 20;
};

struct MdsFile {
  std::string name;  ///< below its folder, may have sub-folders
  std::uint64_t bytes = 0;
  std::vector<std::pair<std::string, std::string>> hashes;  ///< (algorithm, hex)
};

struct MdsColumn {
  std::string name;
  std::string encoding;
  std::optional<std::uint32_t> size;  ///< of every value; none: each sample says its own
  bool operator==(const MdsColumn&) const = default;
};
using MdsColumns = std::vector<MdsColumn>;

struct MdsShard {
  std::size_t columns = 0;  ///< which of MdsIndex::columns
  std::int64_t samples = 0;
  std::int64_t first = 0;  ///< sample of the whole folder that is its first
  MdsFile raw;
  std::optional<MdsFile> zipped;
  std::string compression;  ///< "zstd", "zstd:7", "gz" ...; empty: none
};

struct MdsIndex {
  std::filesystem::path folder;
  std::vector<MdsColumns> columns;  ///< the different sets of columns, most folders have one
  std::vector<MdsShard> shards;
  std::int64_t num_samples = 0;
  std::string sha256;  ///< of all index files read, with their places: the folder's identity

  const MdsShard& shard_of(std::int64_t sample) const;
};

/// Reads DIR/index.json (a plain or a merged one), or where there is none the index.json of each sub-folder, in the
/// order of their numbers or names. UserError with file, shard and key for whatever is not as the format says, for
/// `pkl` columns, for names that leave the folder, and beyond MdsLimits.
/// The files are read `once` for all ranks.
MdsIndex read_mds_index(const std::filesystem::path& folder, const Once& once);

/// The columns of a shard as JSON states them (index.json and the shard's own header say the same). `where` names them.
MdsColumns mds_columns(std::string_view json_text, const std::string& where);

}  // namespace microdit::stream
