// An entry's source as a list of files: names, addresses or places, what is known of them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "ingest/catalogue.h"

namespace microdit::ingest {

struct RawFile {
  std::string name;              ///< under raw/: one plain path component, never hidden
  std::string url{};             ///< http://, https:// or file:// (absolute path)
  std::filesystem::path lies{};  ///< used where it lies instead: raw/ gets a link to it
  std::string sha256{};          ///< "" = not known
  std::int64_t bytes = -1;       ///< -1 = not known
  std::string fault{};  ///< why not even its size could be read; then its record alone knows its inputs
  /// What identifies it in its record: names, addresses without queries, the hub's commit; no place of this machine.
  core::Json inputs = core::Json::object();
};

/// One file of the hub's repository as the hub lists it.
struct HubFile {
  std::string path{};
  std::string commit{};  ///< that it is fetched at
  std::int64_t bytes = -1;
  std::string sha256{};          ///< "" = the hub does not say
  std::filesystem::path lies{};  ///< in the hub's cache on this machine; empty = to be fetched
};
/// Lists an entry's hub files (see hub.h); only called for entries with a hub.
using HubListing = std::function<std::vector<HubFile>(const SourceSection&)>;

/// What a file is called under raw/, one plain component of at most 180 bytes, from its own path alone. Folders are joined
/// with '_'; stem and extension (from the first dot) are those of the last component; non-ASCII letters become 'x' and their
/// bytes in hex, whatever else is not plain '_', also dots of folders and a leading one. The folders together, the stem, the
/// last suffix and what stands before it each get "-" and 8 digits of their own hash where they became another text
/// (16 where they had to be cut): what is plain keeps its name, two names never become one, and files of one stem keep one.
std::string raw_name(std::string_view path);

/// Every "{a..b}" replaced by its numbers, zero-padded to the width of `a`. UserError when malformed or over
/// a million.
std::vector<std::string> expand_ranges(std::string_view pattern);

/// The entry's files, of its subset, in the entry's order. UserError: unknown scheme, two files with one
/// name, a digest or a `small` name of no file, a list file or folder that is missing or malformed.
std::vector<RawFile> list_files(const CatalogueEntry& entry, const HubListing& hub);

}  // namespace microdit::ingest
