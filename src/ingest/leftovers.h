// Temporaries that earlier lives left in a stage folder.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace microdit::ingest {

using IsOwn = std::function<bool(std::string_view)>;

/// Whether a file of this name is written for an item that `is_own` accepts: "<item>", "<item>.h5",
/// "<item>-<nnnnn>.h5", "<item>.json", "<item>.failed.json", "<item>-<nnnnn>.part.json".
bool belongs_to(std::string_view file, const IsOwn& is_own);

/// Removes abandoned temporaries in `folder` and its records/ whose final name `is_own` accepts; other tasks may be
/// writing theirs right now.
void remove_temporaries(const std::filesystem::path& folder, const IsOwn& is_own);

/// Removes ".NAME.part" and ".NAME.part.etag" unless `is_kept(NAME)`. What another process has open stays.
void remove_partial_files(const std::filesystem::path& folder, const IsOwn& is_kept);

}  // namespace microdit::ingest
