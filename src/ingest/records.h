// Members of an archive -> records: what belongs to one picture, its captions, and why a record is no use.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ingest/archives.h"
#include "ingest/catalogue.h"

namespace microdit::ingest {

/// All members of one stem ("a/b" of "a/b.jpg"; the extension begins at the first dot of the last component).
struct RawRecord {
  std::string key;
  std::map<std::string, std::vector<std::byte>> members;  ///< lower-case extension -> bytes
  bool oversize = false;                                  ///< one of them was too large
};

/// Groups consecutive members of one stem; at most one record is held. A repeated extension begins a new
/// record.
class RecordGrouper {
 public:
  explicit RecordGrouper(std::function<void(RawRecord&&)> on_record) : on_record_(std::move(on_record)) {}
  void add(Member&& member);
  /// The last record.
  void finish();

 private:
  std::function<void(RawRecord&&)> on_record_;
  RawRecord current_;
};

/// A record whose text parts are read: captions in the order of entry.caption_sources(), "" where absent.
struct ReadRecord {
  std::string key;
  std::string group;  ///< records of one group fall on one side of the split
  std::vector<std::byte> image;
  std::vector<std::string> captions;
};

/// Fills `out`. Returns "" or why the record is skipped: oversize, no_image, bad_utf8, bad_json, no_caption,
/// no_group.
std::string read_record(RawRecord&& raw, const CatalogueEntry& entry, ReadRecord& out);

}  // namespace microdit::ingest
