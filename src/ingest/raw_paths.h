// Where a raw file lies in its source: what patterns of an entry are about.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "ingest/catalogue.h"

namespace microdit::ingest {

class RawPaths {
 public:
  RawPaths() = default;
  /// Reads what download left of the listing: the list, the hub's pin. Links of a folder's files are followed when asked.
  explicit RawPaths(const CatalogueEntry& entry);
  /// A raw file's path in its source (of a folder's file one look at the disk), of an address its last component; its name under raw/
  /// where that is all that is known.
  std::string of(const std::string& file) const;

 private:
  std::filesystem::path folder_,
      links_;  ///< of an entry whose source is a folder: where it lies, and raw/NAME
  std::map<std::string, std::string> paths_;  ///< of raw files whose name is not their path in the source
};

}  // namespace microdit::ingest
