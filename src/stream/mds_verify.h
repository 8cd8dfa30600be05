// Every byte of an MDS folder against what its index states.
#pragma once

#include <filesystem>
#include <vector>

#include "store/manifest.h"

namespace microdit::stream {

/// Whether the folder, or a sub-folder, has an MDS index.
bool is_mds_folder(const std::filesystem::path& folder);

/// Sizes, hashes, offset tables and the sizes within each sample: of all shards, also behind a damaged one. Files packed with zstd
/// are checked as they are. UserError when the index itself is wrong.
std::vector<store::Damage> verify_mds(const std::filesystem::path& folder);

}  // namespace microdit::stream
