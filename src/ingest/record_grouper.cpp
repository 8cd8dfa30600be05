// Which members make a record: by stem, or each picture alone.
#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "ingest/record_places.h"
#include "ingest/records.h"

namespace microdit::ingest {
namespace {

void drop_bytes(RawRecord& record) {
  for (auto& [extension, member] : record.members) member.bytes = {};
}

}  // namespace

RecordEndings record_endings(const CatalogueEntry& entry) {
  RecordEndings endings;
  for (const std::string& extension : entry.record.image)
    endings.image.push_back(normal_extension(extension));
  for (const std::string& source : entry.caption_sources()) {
    const std::string& where = entry.record.caption.at(source);
    if (is_table(where) || is_column(where) || where == "class") continue;
    endings.caption.push_back(is_json(where) ? "json" : normal_extension(where));
  }
  const std::string& from = entry.record.from;
  if (!from.empty() && !is_template(from) && !is_table(from))
    endings.caption.push_back(is_json(from) ? "json" : normal_extension(from));
  const bool of_others = !endings.caption.empty() || !entry.splits.group.empty();
  endings.alone = entry.record.kind == "table" || (!from.empty() && !of_others);
  endings.members = UsedPatterns(entry.record.members);
  std::vector<std::string>& wanted = endings.wanted;
  wanted = endings.image;
  wanted.insert(wanted.end(), endings.caption.begin(), endings.caption.end());
  if (is_json(entry.splits.group)) wanted.push_back("json");
  std::ranges::sort(wanted);
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  return endings;
}

std::vector<std::string> wanted_extensions(const CatalogueEntry& entry) {
  return record_endings(entry).wanted;
}

void RecordGrouper::add(Member&& member) {
  const std::string_view name = member.name;
  // A name that could not be used keeps its place: the record that it was of is lost.
  const bool unusable = member.skip == kBadName;
  if (!unusable && name.substr(name.rfind('/') + 1).starts_with('.')) return;  // a ._file of a Mac
  const bool counts = endings_.members.empty() || endings_.members.match(member.patterned());
  std::optional<NameParts> parts = name_parts(name, endings_.wanted);
  if ((!parts || !counts) && !unusable) return passed_over_.add(1, name);  // a LICENSE, an index
  if (!parts) parts = NameParts{name, name, ""};
  if (endings_.alone) return add_alone(std::move(member), parts->extension);
  if (parts->stem != stem_) {
    end_stem();
    stem_ = parts->stem;
  }
  has_plain_ |= !parts->dotted() && !unusable;
  put(parts->dotted() ? dotted_ : plain_, std::move(member), *parts);
}

void RecordGrouper::add_alone(Member&& member, const std::string& extension) {
  RawRecord record{.key = member.name, .members = {}, .skip = member.skip, .bytes = member.bytes.size()};
  record.members.emplace(extension, std::move(member));
  on_record_(std::move(record));
}

void RecordGrouper::put(RawRecord& record, Member&& member, const NameParts& parts) {
  if (parts.key != record.key || record.members.contains(parts.extension)) {
    release(record);
    record.key = parts.key;
  }
  record.bytes += member.bytes.size();
  if (record.skip.empty()) record.skip = member.skip;
  if (record.bytes > limits::kRecordBytes) record.skip = "unsupported.oversize";
  if (record.members.size() >= limits::kRecordMembers) record.skip = "unsupported.many_members";
  if (!record.skip.empty()) {
    drop_bytes(record);
    member.bytes = {};
  }
  record.members.emplace(parts.extension, std::move(member));
}

/// A whole record goes on; a dotted half waits for what else there is of its stem.
void RecordGrouper::release(RawRecord& record) {
  RawRecord done = std::exchange(record, {});
  if (done.members.empty()) return;
  const auto has = [&](const std::vector<std::string>& endings) {
    return std::ranges::any_of(endings, [&](const auto& ending) { return done.members.contains(ending); });
  };
  const bool image = has(endings_.image), caption = has(endings_.caption);
  if (&record == &plain_ || (image && caption)) return on_record_(std::move(done));
  if (done.skip.empty()) done.skip = image ? kNoCaption : kNoImage;
  drop_bytes(done);
  halves_.push_back(std::move(done));
  if (std::ssize(halves_) >= limits::kStemHalves) settle_halves();
}

void RecordGrouper::end_stem() {
  release(dotted_);
  release(plain_);
  settle_halves();
  has_plain_ = false;
}

/// What they are is told by the members of their stem so far.
void RecordGrouper::settle_halves() {
  std::map<std::string, int> times;
  for (const RawRecord& half : halves_) ++times[half.key];
  for (RawRecord& half : std::exchange(halves_, {})) {
    if (has_plain_ && times[half.key] == 1 && half.skip != kBadName) half.skip = "filtered.dotted_key";
    on_record_(std::move(half));
  }
}

void RecordGrouper::finish() {
  end_stem();
}

}  // namespace microdit::ingest
