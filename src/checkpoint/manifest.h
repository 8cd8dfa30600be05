// What a checkpoint holds and where: files with sizes and hashes, tensors with the ranges each file carries, the state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::checkpoint {

inline constexpr const char* kManifestName = "manifest.json";

/// Values [begin, begin + count) of a tensor, stored in `file` as the entry part_name(name, begin).
struct PartEntry {
  std::string file;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::string xxh3;  ///< of the values' bytes, taken in memory before they were written
};

struct TensorEntry {
  std::vector<std::int64_t> shape;
  std::vector<PartEntry> parts;  ///< by begin; none has count 0
};

struct FileEntry {
  std::string file;
  std::uint64_t bytes = 0;
  std::uint64_t header_bytes = 0;  ///< everything before the first value
  std::string header_xxh3;
  std::string sha256;
};

struct Manifest {
  std::int64_t step = 0;
  core::Json state;
  std::vector<FileEntry> files;
  std::map<std::string, TensorEntry> tensors;
};

/// One rank's contribution, as it travels to rank 0: a manifest of one file, without step and state.
std::string shard_to_text(const FileEntry& file, const std::map<std::string, TensorEntry>& tensors);
/// Adds a shard to `manifest`. SystemError when two shards disagree on a tensor's shape.
void add_shard(Manifest& manifest, const std::string& shard_text);

/// Sorts each tensor's parts and says which tensor is not covered exactly once; empty = all are.
std::string sort_and_check_coverage(Manifest& manifest);

/// manifest.json: JSON whose last field is the SHA-256 of all bytes before it. Depends on `manifest` alone.
std::string manifest_to_text(const Manifest& manifest);
/// Inverse; UserError (naming `origin`) when a byte differs from what was written or a field is missing.
Manifest manifest_from_text(const std::string& text, const std::string& origin);

/// "<name>@<begin>": a part's entry in its safetensors file.
std::string part_name(const std::string& name, std::int64_t begin);
/// Number of values of a shape; -1 for a negative extent or an overflow.
std::int64_t count_of(const std::vector<std::int64_t>& shape);

}  // namespace microdit::checkpoint
