// One archive (or a range of loose files) -> samples shards, from where an earlier life left it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "ingest/archives.h"
#include "ingest/catalogue.h"
#include "ingest/item_records.h"
#include "ingest/picture_tables.h"
#include "ingest/picture_worker.h"
#include "ingest/progress.h"
#include "ingest/records.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// Publishes the item's shards, each with a part record (see clean_parts.h). Details: `records`, `kept`, `skipped` (see
/// skips.h), `lost_captions` (of kept records: {"SOURCE: REASON": {count, example}}), `lost_columns` (likewise, {"COLUMN: no number": ...}), `passed_over` ({count, example}:
/// members with an extension that nobody asked for), `patterns` (IdlePatterns), `fingerprints` (of the shards, in their order: by them a reader of
/// some columns knows a shard without its SHA-256). Nothing when stopped. UserError when a raw file is not what was downloaded, or is no whole archive.
std::optional<store::Record> clean_item(const CatalogueEntry& entry, const CleanItem& item,
                                        const PictureTables& tables, PicturePool& pool, Progress& progress,
                                        const core::StopFlag& stop);

}  // namespace microdit::ingest
