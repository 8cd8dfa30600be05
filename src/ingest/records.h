// Members of an archive -> records: what belongs to one picture, its captions, and why a record is no use.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"
#include "ingest/archives.h"
#include "ingest/catalogue.h"
#include "ingest/glob.h"
#include "tables/value.h"

namespace microdit::ingest {

/// Members that belong to no record, because nobody asked for their extension.
struct PassedOver {
  std::int64_t count = 0;
  std::string example{};  ///< the name of the first
  void add(std::int64_t more, std::string_view name) {
    if (count == 0 && more > 0) example = name;
    count += more;
  }
  bool empty() const { return count == 0; }
  core::Json to_json() const { return {{"count", count}, {"example", example}}; }
  /// What a record of clean says under `passed_over`, if anything. Json::exception where it says it in another form.
  void add(const core::Json& details);
  std::string text() const;  ///< "3 members that `record` does not ask for (e.g. 1.npy)"
};

/// The extensions that `record` asks for, in lower case and without a leading dot.
struct RecordEndings {
  std::vector<std::string> image;    ///< one of them makes a picture
  std::vector<std::string> caption;  ///< one of them makes a caption
  std::vector<std::string> wanted;   ///< all, sorted
  bool alone =
      false;  ///< each picture is a record (kind: table, or no other member is asked for), its key is its whole path
  UsedPatterns members{};  ///< of those that count; empty = all
};
RecordEndings record_endings(const CatalogueEntry& entry);
/// record_endings(entry).wanted
std::vector<std::string> wanted_extensions(const CatalogueEntry& entry);

/// All wanted members of one key ("a/b" of "a/b.jpg").
struct RawRecord {
  std::string key;
  std::map<std::string, Member> members;  ///< by lower-case extension
  std::string skip;                       ///< why one of them has no bytes
  std::map<std::string, tables::Value>
      cells{};                             ///< of its row, where it has one; "class" of what is labelled
  std::vector<std::size_t> without_row{};  ///< tables that lack it (PictureTables::rows)
  std::string file{};                      ///< that it lies in: its path in the source
  std::string archive{};                   ///< this file's name without its ending
  bool held_out = false;                   ///< its file or member is
  std::string group{};                     ///< whose side of the split it shares; "" = its key's
  std::uint64_t bytes = 0;
};

/// Groups consecutive members of one key, each group of at most limits::kRecordBytes and limits::kRecordMembers. A repeated
/// extension begins a new record. Hidden files belong to none.
///
/// A key ends where the longest extension begins that `record` asks for. Dots before that may be the name's (photo.000.jpg)
/// or a field's (1.seg.jpg beside 1.jpg: WebDataset's keys end at the first dot, the stem). The members tell, however many
/// there are: a dotted key with a picture and a caption is a record. One that has only half of that is a field where a
/// member is named like the stem: a record with the skip filtered.dotted_key, no damage. Else, or when it comes twice (the
/// halves lie apart), it is a damaged record. So each wanted member is a record's that is kept or counted by reason.
/// Held are the stem's record, a dotted one, and of the stem's halves their names, limits::kStemHalves at most.
class RecordGrouper {
 public:
  RecordGrouper(RecordEndings endings, std::function<void(RawRecord&&)> on_record)
      : endings_(std::move(endings)), on_record_(std::move(on_record)) {}
  void add(Member&& member);
  /// What is still held.
  void finish();
  /// Members with an extension that nobody asked for, with the first of them; hidden ones are not counted.
  const PassedOver& passed_over() const { return passed_over_; }
  /// `record.members`, as far as they are asked.
  const UsedPatterns& members() const { return endings_.members; }

 private:
  void add_alone(Member&& member, const std::string& extension);
  void put(RawRecord& record, Member&& member, const NameParts& parts);
  void release(RawRecord& record);
  void end_stem();
  void settle_halves();
  RecordEndings endings_;
  std::function<void(RawRecord&&)> on_record_;
  std::string stem_;
  bool has_plain_ = false;         ///< a member's key is the stem
  RawRecord plain_, dotted_;       ///< in work: of the key that is the stem; of another
  std::vector<RawRecord> halves_;  ///< dotted ones of the stem, without bytes
  PassedOver passed_over_;
};

/// A record whose text parts are read: captions in the order of entry.caption_sources(), "" where absent.
struct ReadRecord {
  std::string key;
  bool held_out = false;  ///< whatever its group
  std::string group;      ///< records of one group fall on one side of the split
  std::vector<std::byte> image;
  std::int64_t image_offset = -1;  ///< Member::offset and Member::file of the picture
  std::uint32_t image_file = 0;
  std::vector<std::string> captions;
  std::vector<std::string>
      lost;  ///< of each: why there is none although its source is there, as RecordReader says; or ""
  std::vector<double>
      columns{};  ///< of entry.kept_columns(); NaN where the row has no number that a double holds
  /// Of these, where the row has something else: {"COLUMN: no number" or "COLUMN: beyond 2^53", the value}.
  std::vector<std::pair<std::string, std::string>> lost_columns{};
  std::vector<std::size_t> without_row{};  ///< as the raw record's
};

class ClassReader;
class Sidecar;

class RecordReader {
 public:
  /// `entry` outlives it.
  explicit RecordReader(const CatalogueEntry& entry);
  ~RecordReader();
  const std::vector<std::string>& sources() const { return sources_; }  ///< entry.caption_sources()

  /// Fills `out`. Returns "" or why the record is skipped: what its members say (see for_each_member), filtered.dotted_key,
  /// unsupported.many_members, unsupported.oversize, damaged.no_image, damaged.utf8, damaged.json, unsupported.sidecar_size,
  /// unsupported.caption_size, damaged.no_caption (filtered.no_caption of kind: table and of columns of Parquet), damaged.no_group, filtered.empty_caption, filtered.<column>,
  /// filtered.no_class, damaged.no_class. UserError (file, key, class) where it has a class that is none of the entry's. One good caption is enough; one
  /// picture of several is, too. Throws core::Stopped when `stop` is seen before a caption.
  std::string read(RawRecord&& raw, ReadRecord& out, const core::StopFlag& stop = core::StopFlag()) const;

 private:
  std::string read_captions(const RawRecord& raw, Sidecar& sidecar, ReadRecord& out,
                            const core::StopFlag& stop) const;
  std::string read_columns(const RawRecord& raw, ReadRecord& out) const;
  const CatalogueEntry& entry_;
  std::unique_ptr<const ClassReader> class_;
  std::vector<std::string> sources_, columns_;
  struct Bound {
    std::string column;
    double at_least, at_most;
  };
  std::vector<Bound> bounds_;
};

}  // namespace microdit::ingest
