// Moves of whole folders: hidden to visible, visible to gone, each by one rename, so no torn checkpoint is ever visible.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>

#include "checkpoint/checkpoint.h"

namespace microdit::checkpoint {

/// Makes the empty folder `.step_NNNNNNN.<generation>.tmp`, which no other life uses. SystemError when it
/// cannot.
std::filesystem::path make_hidden(const std::filesystem::path& folder, std::int64_t step);

/// Removes what earlier lives left hidden in `folder`. Each is renamed first: a life that still writes there
/// (an orphan) then fails instead of publishing what is half removed.
void remove_stale(const std::filesystem::path& folder);

/// Renames `folder` to a hidden name, then deletes it. No error when it is gone already.
void discard(const std::filesystem::path& folder);

/// Renames `hidden` to `visible` and syncs the parent. A good checkpoint that is there already (an earlier or
/// a concurrent life's) stays and `hidden` is dropped: false. A damaged one makes way. SystemError on
/// failure.
bool publish_folder(const std::filesystem::path& hidden, const std::filesystem::path& visible);

/// Deletes checkpoints older than the newest `keep_last` good ones, `newest` (just published) being the first
/// of them. `known_good`: steps that need no reading again; grows.
void retain(const std::filesystem::path& folder, std::int64_t newest, const Retention& retention,
            std::set<std::int64_t>& known_good);

}  // namespace microdit::checkpoint
