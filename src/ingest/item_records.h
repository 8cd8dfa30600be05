// The raw files of a work item of clean, as records.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/stop_flag.h"
#include "ingest/archives.h"
#include "ingest/catalogue.h"
#include "ingest/labelled.h"
#include "ingest/picture_tables.h"
#include "ingest/records.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// A work item of clean: the raw files that it is made from.
struct CleanItem {
  store::Item item;
  std::vector<store::ShardEntry> files;
};

/// Of the raw files together.
std::uint64_t bytes_of_files(const CleanItem& item);

/// What an item's members are besides records.
struct MemberNotes {
  PassedOver passed_over{};                    ///< members that are no record's
  core::Json patterns = core::Json::object();  ///< IdlePatterns::of_item
};

/// Gives `take` every record of the item's files, in their order. UserError when a raw file is not what was downloaded, or is no whole
/// archive; core::Stopped.
MemberNotes read_item(const CatalogueEntry& entry, const CleanItem& item, const PictureTables& tables,
                      const TakeRecord& take, const core::StopFlag& stop);

/// A raw file: its name under raw/, and its path in the source (PictureTables::path_of).
struct RawPlace {
  std::string file, path;
};

/// Gives `take` a record for each row that the tables have of it ("KEY", "KEY#2" ...), or itself, as filtered.no_row, where they
/// have none; as it is where the entry has no tables.
void with_rows(const CatalogueEntry& entry, const PictureTables& tables, const RawPlace& place,
               RawRecord&& raw, const TakeRecord& take);

/// UserError when a raw file is not what was downloaded; core::Stopped.
void check_raw(const CatalogueEntry& entry, const store::ShardEntry& file, const core::StopFlag& stop);

/// A loose file as a record's member; patterns see `place.path` of it. Without its bytes, as unsupported.oversize, where it is larger than any record may be.
/// InputFault, SystemError where it cannot be read.
Member loose_member(const CatalogueEntry& entry, const store::ShardEntry& file, const PictureTables& tables);

}  // namespace microdit::ingest
