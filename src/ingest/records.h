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

/// Members that belong to no record, because nobody asked for their extension.
struct PassedOver {
  std::int64_t count = 0;
  std::string example{};  ///< the name of the first
  void add(std::int64_t more, std::string_view name) {
    if (count == 0 && more > 0) example = name;
    count += more;
  }
};

/// What a record can be made of: the entry's extensions, in lower case and without a leading dot.
std::vector<std::string> wanted_extensions(const CatalogueEntry& entry);

/// All wanted members of one key ("a/b" of "a/b.jpg").
struct RawRecord {
  std::string key;
  std::map<std::string, Member> members;  ///< by lower-case extension
  std::string skip;                       ///< why one of them has no bytes
  std::uint64_t bytes = 0;
};

/// Groups consecutive members of one key; at most one record is held, of at most limits::kRecordBytes and
/// limits::kRecordMembers. A repeated extension begins a new record. Hidden files belong to none.
///
/// The key ends at the first dot, as WebDataset has it: beside 1.jpg, 1.seg.jpg is a field of record 1 that nobody asked
/// for. Only where no member of a stem is named like that do the stem's dots belong to the keys: photo.000.jpg and
/// photo.000.txt are the record photo.000. What is needed to tell is held: within the limits of a record, beyond which a
/// stem is one that many records share.
class RecordGrouper {
 public:
  RecordGrouper(std::vector<std::string> wanted, std::function<void(RawRecord&&)> on_record)
      : wanted_(std::move(wanted)), on_record_(std::move(on_record)) {}
  void add(Member&& member);
  /// What is still held.
  void finish();
  /// Members that nobody asked for, with the first of them; hidden ones are not counted.
  const PassedOver& passed_over() const { return passed_over_; }

 private:
  enum class Stem { unknown, plain, dotted };  ///< plain: a member's key is the stem
  void add_dotted(Member&& member, const NameParts& parts);
  void put(Member&& member, std::string key, std::string extension);
  void release();
  void emit();
  std::vector<std::string> wanted_;
  std::function<void(RawRecord&&)> on_record_;
  RawRecord current_;
  std::string stem_;
  Stem kind_ = Stem::unknown;
  std::vector<Member> held_;  ///< dotted members of a stem of unknown kind
  std::uint64_t held_bytes_ = 0;
  PassedOver passed_over_;
};

/// A record whose text parts are read: captions in the order of entry.caption_sources(), "" where absent.
struct ReadRecord {
  std::string key;
  std::string group;  ///< records of one group fall on one side of the split
  std::vector<std::byte> image;
  std::int64_t image_offset = -1;  ///< Member::offset and Member::file of the picture
  std::uint16_t image_file = 0;
  std::vector<std::string> captions;
  std::vector<std::string>
      lost;  ///< of each: why there is none although its source is there, as read_record says; or ""
};

/// Fills `out`. Returns "" or why the record is skipped: what its members say (see for_each_member),
/// unsupported.many_members, unsupported.oversize, damaged.no_image, damaged.utf8, damaged.json, unsupported.sidecar_size,
/// unsupported.caption_size, damaged.no_caption, damaged.no_group, filtered.empty_caption. One good caption is enough; one
/// picture of several is, too.
std::string read_record(RawRecord&& raw, const CatalogueEntry& entry, ReadRecord& out);

}  // namespace microdit::ingest
