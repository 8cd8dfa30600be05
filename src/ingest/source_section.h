// The `source` section of a catalogue entry: where raw files come from.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"

namespace microdit::ingest {

/// Exactly one of hub, urls, list_file, folder. "{0000..0007}" in urls and pattern expands. A file:// source and a list's
/// lines are identified by their name alone, an http(s):// one by its address without query: sha256 is what pins bytes.
struct SourceSection {
  std::string hub{};                ///< "org/name[@revision]" of the hub (see hub.h)
  std::vector<std::string> urls{};  ///< http(s):// or file://
  std::vector<std::string> also{};  ///< addresses of files that come with the others, of every subset: tables
  std::string list_page{};          ///< where a new list_file is to be had: its addresses may expire
  std::string list_file{};          ///< tab-separated: file name, address; a header line is skipped
  std::string folder{};             ///< files are used where they lie
  std::vector<std::string>
      pattern{};  ///< files of hub or folder: names, ranges, * ? [..] within a folder, **/, "a|b" (see file_pattern.h)
  std::vector<std::string>
      small{};  ///< files of `subset: small` (see list_files); empty = the first 1 %, at least one
  std::map<std::string, std::string> sha256{};  ///< file -> known SHA-256
  std::int64_t parallel = 4;                    ///< files at once, per rank
  std::int64_t max_attempts = 8;                ///< in a row without a new MiB
  double backoff_s = 1;  ///< mean of the first wait is half of this; it doubles up to 60 s
  std::int64_t max_file_bytes = 64LL << 30;  ///< a larger file is refused
  std::vector<std::string> allow_hosts{};    ///< hosts of private networks that may be reached by name
  bool gated = false;                        ///< needs a token of the hub (see hub.h)
  bool hub_of_models = false;                ///< no key: the entry's kind says it
  void fields(core::Fields& f);
};

}  // namespace microdit::ingest
