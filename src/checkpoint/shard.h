// One rank's file of a checkpoint: hashed in memory, then written and synced.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/manifest.h"

namespace microdit::checkpoint {

struct Shard {
  FileEntry file;
  std::map<std::string, TensorEntry> tensors;
};

/// "shard_00001_of_00004.safetensors"
std::string shard_name(int rank, int size);

/// Writes `folder/file` from memory and syncs it; the hashes are of the memory, not of what came back from
/// the disk. Parts of no values give their tensor's shape only. SystemError (file, errno's text) when the
/// disk refuses.
Shard write_shard(const std::filesystem::path& folder, const std::string& file,
                  const std::vector<Part>& parts);

/// Size on disk and header are what `file` says; SystemError otherwise.
void check_on_disk(const std::filesystem::path& folder, const FileEntry& file);

/// The first `count` bytes of a file (fewer when it is shorter); nothing when there is no such file: another life may
/// just have removed it. UserError when it may not be read, SystemError or FaultError when it cannot.
std::optional<std::string> read_head(const std::filesystem::path& path, std::uint64_t count);

}  // namespace microdit::checkpoint
