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

/// What a record can be made of: the entry's extensions, in lower case and without a leading dot.
std::vector<std::string> wanted_extensions(const CatalogueEntry& entry);

/// All wanted members of one stem ("a/b" of "a/b.jpg"; the extension begins at the first dot of the last component).
struct RawRecord {
  std::string key;
  std::map<std::string, Member> members;  ///< by lower-case extension
  std::string skip;                       ///< why one of them has no bytes
  std::uint64_t bytes = 0;
};

/// Groups consecutive members of one stem; at most one record is held, of at most limits::kRecordBytes and
/// limits::kRecordMembers. A repeated extension begins a new record. Hidden files belong to none.
class RecordGrouper {
 public:
  RecordGrouper(std::vector<std::string> wanted, std::function<void(RawRecord&&)> on_record)
      : wanted_(std::move(wanted)), on_record_(std::move(on_record)) {}
  void add(Member&& member);
  /// The last record.
  void finish();

 private:
  std::vector<std::string> wanted_;
  std::function<void(RawRecord&&)> on_record_;
  RawRecord current_;
};

/// A record whose text parts are read: captions in the order of entry.caption_sources(), "" where absent.
struct ReadRecord {
  std::string key;
  std::string group;  ///< records of one group fall on one side of the split
  std::vector<std::byte> image;
  std::int64_t image_offset = -1;  ///< Member::offset of the picture
  std::vector<std::string> captions;
};

/// Fills `out`. Returns "" or why the record is skipped: what its members say (see for_each_member),
/// unsupported.many_members, unsupported.oversize, damaged.no_image, damaged.utf8, damaged.json, unsupported.sidecar_size,
/// unsupported.caption_size, damaged.no_caption, damaged.no_group, filtered.empty_caption. One good caption is enough.
std::string read_record(RawRecord&& raw, const CatalogueEntry& entry, ReadRecord& out);

}  // namespace microdit::ingest
