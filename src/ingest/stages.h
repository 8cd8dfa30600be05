// The three data stages. Each may run in any number of tasks and ranks, be killed anywhere, and be run again.
#pragma once

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "ingest/catalogue.h"

namespace microdit::ingest {

/// All return core::kDone, or core::kRequeueMe when `stop` was seen between work items.

/// source -> raw/NAME/<file>, with Range resume, size and SHA-256 checks, retries; a manifest of files.
int download(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop);
/// raw/NAME -> samples/NAME/*.h5 (columns: image, width, height, split, key, caption.<source>, xxh3).
int clean(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop);
/// samples/NAME -> latents/NAME/RECIPE: <shard>.images.h5 and <shard>.text.h5 (columns: see README.md), as entry.part says.
int precompute(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop);

/// Print what a stage would do: files, bytes, items (--dry-run); nothing is written. False when `stop` was seen, within 10 s.
bool describe_download(const CatalogueEntry& entry, const core::StopFlag& stop);
bool describe_clean(const CatalogueEntry& entry, const core::StopFlag& stop);
bool describe_precompute(const CatalogueEntry& entry, const core::StopFlag& stop);

}  // namespace microdit::ingest
