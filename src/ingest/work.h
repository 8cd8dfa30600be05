// What the three stages share: own items, stale temporaries, the end of a stage.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// Removes temporaries of earlier lives in `folder` and its records/ whose final name `is_own` accepts; other
/// tasks may be writing theirs right now.
void remove_own_temporaries(const std::filesystem::path& folder,
                            const std::function<bool(std::string_view)>& is_own);

/// True when `name` is "<item>-<5 digits>.h5" or "<item>.json", for the item that this returns in `item`.
bool item_of_file(std::string_view name, std::string& item);

/// For dry runs. Whether the folder that `stage` makes is complete; prints what makes it where it is not.
bool is_complete(const std::filesystem::path& folder, std::string_view stage);
/// Prints the space at `folder`; UserError when it cannot be made or written.
void describe_space(const std::filesystem::path& folder);

/// After the own items: assembles the manifest when this was the last slot, removes leftovers of the complete
/// folder, says how far it is. Returns the stage's exit code, agreed by all ranks: kDone, or kRequeueMe when
/// any rank was stopped.
int finish_stage(store::StageFolder& folder, std::string_view stage, bool stopped, comm::Communicator& comm);

}  // namespace microdit::ingest
