// What an archive's records come to: measured on the first few, for dry runs.
#pragma once

#include "ingest/clean_item.h"

namespace microdit::ingest {

struct CleanTrial {
  std::int64_t records = 0, kept = 0;
  double raw_bytes = 0;      ///< of the archive that these records took
  double samples_bytes = 0;  ///< that they will take in samples shards
  double seconds = 0;
};

/// Reads and checks records of the item's first files for a few seconds; writes nothing. Nothing when `stop` was seen.
/// UserError as clean would say.
std::optional<CleanTrial> try_records(const CatalogueEntry& entry, const CleanItem& item,
                                      const PictureTables& tables, const core::StopFlag& stop);

}  // namespace microdit::ingest
