// An entry's source as a list of files: names, addresses, known digests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ingest/catalogue.h"

namespace microdit::ingest {

struct RawFile {
  std::string name;    ///< under raw/: one plain path component, never hidden
  std::string url;     ///< http://, https:// or file:// (absolute path)
  std::string sha256;  ///< "" = not known
};

/// Every "{a..b}" replaced by its numbers, zero-padded to the width of `a`. UserError when malformed or over
/// a million.
std::vector<std::string> expand_ranges(std::string_view pattern);

/// The entry's files, of its subset, in the entry's order. UserError: unknown scheme, two files with one
/// name, a digest or a `small` name of no file, a list file that is missing or malformed.
std::vector<RawFile> list_files(const CatalogueEntry& entry);

}  // namespace microdit::ingest
