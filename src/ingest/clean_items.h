// What clean has to do: the raw folder's files as work items.
#pragma once

#include <vector>

#include "ingest/catalogue.h"
#include "ingest/clean_item.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// One item per archive, named after it without its ending. Loose files (`archive: none`) in ranges of `shard_records`
/// records: files-00000, ...; a file keeps its item when the dataset grows, so new files make new items.
std::vector<CleanItem> list_clean_items(const CatalogueEntry& entry, const store::Manifest& raw);

}  // namespace microdit::ingest
