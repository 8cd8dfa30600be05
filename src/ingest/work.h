// What the three stages share: own items, stale temporaries, the end of a stage.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "core/stop_flag.h"
#include "comm/communicator.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// Removes temporaries of earlier lives in `folder` and its records/ whose final name `is_own` accepts; other
/// tasks may be writing theirs right now.
void remove_own_temporaries(const std::filesystem::path& folder,
                            const std::function<bool(std::string_view)>& is_own);

/// True when `name` is "<item>-<5 digits>.h5" or "<item>.json", for the item that this returns in `item`.
bool item_of_file(std::string_view name, std::string& item);

/// After the own items: assembles the manifest when this was the last slot, removes leftovers of the complete
/// folder, says how far it is. Returns the stage's exit code, agreed by all ranks: kDone, or kRequeueMe when
/// any rank was stopped.
int finish_stage(store::StageFolder& folder, std::string_view stage, bool stopped, comm::Communicator& comm);

}  // namespace microdit::ingest
