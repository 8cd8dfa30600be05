// An entry's source as a list of files: names, addresses or places, what is known of them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "ingest/catalogue.h"

namespace microdit::ingest {

struct RawFile {
  std::string name;              ///< under raw/: one plain path component, never hidden
  std::string url{};             ///< http://, https:// or file:// (absolute path)
  std::filesystem::path lies{};  ///< used where it lies instead: raw/ gets a link to it
  std::string sha256{};          ///< "" = not known
  std::int64_t bytes = -1;       ///< -1 = not known
  std::string path{};            ///< as the source lists it; of an address its last component
  std::string listed{};          ///< "LIST:LINE" that names its address
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

/// Every "{a..b}" replaced by its numbers, zero-padded to the width of `a`. UserError when malformed or over
/// a million.
std::vector<std::string> expand_ranges(std::string_view pattern);

/// Of each address, after its ranges are expanded, the last component. UserError where one has none.
std::vector<std::string> names_of_urls(const std::vector<std::string>& urls);

/// The entry's files, of its subset, in the entry's order. `small` and the digests name files by path or by name. UserError: unknown
/// scheme, two files with one name, a digest or a `small` name of no file (says the most alike), a list file or folder that is missing or malformed.
/// core::Stopped when `stop` is seen while a folder is listed.
std::vector<RawFile> list_files(const CatalogueEntry& entry, const HubListing& hub,
                                const core::StopFlag& stop = core::StopFlag());

}  // namespace microdit::ingest
