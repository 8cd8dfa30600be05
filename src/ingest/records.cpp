// The record format sidecar_text: KEY.jpg KEY.txt KEY.json side by side, as WebDataset has them.
#include "ingest/records.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "core/utf8.h"
#include "ingest/captions.h"

namespace microdit::ingest {
namespace {

std::string_view as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// As an entry may write it: "JPG", ".jpg" and "jpg" are the same.
std::string normal_extension(std::string_view written) {
  if (written.starts_with('.')) written.remove_prefix(1);
  return extension_of("x." + std::string(written));
}

bool is_json(std::string_view where) {
  return where.starts_with("json:");
}

/// The sidecar .json, parsed at most once.
class Sidecar {
 public:
  explicit Sidecar(const RawRecord& raw) : raw_(raw) {}
  /// The string under `key`, or nothing and then why(): damaged.json, unsupported.sidecar_size, or "" when it is absent.
  std::optional<std::string> string(const std::string& key) {
    parse();
    const auto found = parsed_.is_object() ? parsed_.find(key) : parsed_.end();
    if (found == parsed_.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
  }
  const std::string& why() const { return why_; }

 private:
  void parse() {
    const auto member = raw_.members.find("json");
    if (tried_ || member == raw_.members.end()) return;
    tried_ = true;
    if (member->second.bytes.size() > limits::kSidecarBytes) {
      why_ = "unsupported.sidecar_size";
      return;
    }
    try {
      parsed_ = core::parse_foreign_json(as_text(member->second.bytes), raw_.key + ".json");
    } catch (const core::UserError&) {
      why_ = "damaged.json";
    }
  }

  const RawRecord& raw_;
  bool tried_ = false;
  core::Json parsed_;
  std::string why_;
};

class CaptionReader {
 public:
  CaptionReader(const RawRecord& raw, Sidecar& sidecar, const CatalogueEntry& entry)
      : raw_(raw), sidecar_(sidecar), entry_(entry) {}

  /// The caption of one source, "" when there is none; why() then knows the weightiest reason so far.
  std::string read(const std::string& where) {
    std::optional<std::string> text = find(where);
    if (!text) return note(sidecar_.why().empty() ? "damaged.no_caption" : sidecar_.why());
    if (text->size() > limits::kCaptionBytes) return note("unsupported.caption_size");
    if (core::first_invalid_utf8(*text)) return note("damaged.utf8");
    std::string clean = entry_.captions.clean ? clean_caption(*text) : strip(*text);
    return clean.empty() ? note("filtered.empty_caption") : clean;
  }
  const std::string& why() const { return why_; }

 private:
  std::optional<std::string> find(const std::string& where) {
    if (is_json(where)) return sidecar_.string(where.substr(5));
    const auto member = raw_.members.find(normal_extension(where));
    if (member == raw_.members.end()) return std::nullopt;
    return std::string(as_text(member->second.bytes).substr(0, limits::kCaptionBytes + 1));
  }
  std::string note(const std::string& reason) {
    if (why_.empty() || why_ == "damaged.no_caption") why_ = reason;
    return "";
  }

  const RawRecord& raw_;
  Sidecar& sidecar_;
  const CatalogueEntry& entry_;
  std::string why_;
};

/// "" or the reason of a skip.
std::string read_captions(const RawRecord& raw, Sidecar& sidecar, const CatalogueEntry& entry,
                          ReadRecord& out) {
  CaptionReader reader(raw, sidecar, entry);
  for (const std::string& source : entry.caption_sources())
    out.captions.push_back(reader.read(entry.record.caption.at(source)));
  const bool any = std::ranges::any_of(out.captions, [](const std::string& text) { return !text.empty(); });
  const bool kept = any || (entry.captions.empty == "keep" && reader.why() == "filtered.empty_caption");
  return kept ? "" : reader.why();
}

}  // namespace

std::vector<std::string> wanted_extensions(const CatalogueEntry& entry) {
  std::vector<std::string> wanted;
  for (const std::string& extension : entry.record.image) wanted.push_back(normal_extension(extension));
  bool json = is_json(entry.splits.group);
  for (const std::string& source : entry.caption_sources()) {
    const std::string& where = entry.record.caption.at(source);
    json |= is_json(where);
    if (!is_json(where)) wanted.push_back(normal_extension(where));
  }
  if (json) wanted.push_back("json");
  std::ranges::sort(wanted);
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  return wanted;
}

void RecordGrouper::add(Member&& member) {
  const std::string extension = extension_of(member.name);
  const std::string_view name = member.name;
  const bool wanted = std::ranges::find(wanted_, extension) != wanted_.end();
  // A name that could not be used keeps its place: the record that it was of is lost.
  if (member.skip.empty() && (!wanted || name.substr(name.rfind('/') + 1).starts_with('.')))
    return;  // a LICENSE, an index, a ._file of a Mac: belongs to no record
  std::string key(name.substr(0, name.size() - extension.size() - (extension.empty() ? 0 : 1)));
  if (key != current_.key || current_.members.contains(extension)) {
    finish();
    current_.key = std::move(key);
  }
  current_.bytes += member.bytes.size();
  if (current_.skip.empty()) current_.skip = member.skip;
  if (current_.bytes > limits::kRecordBytes) current_.skip = "unsupported.oversize";
  if (current_.members.size() >= limits::kRecordMembers) current_.skip = "unsupported.many_members";
  if (!current_.skip.empty()) {
    for (auto& [kept, other] : current_.members) other.bytes = {};
    member.bytes = {};
  }
  current_.members.emplace(extension, std::move(member));
}

void RecordGrouper::finish() {
  if (!current_.members.empty()) on_record_(std::move(current_));
  current_ = RawRecord();
}

std::string read_record(RawRecord&& raw, const CatalogueEntry& entry, ReadRecord& out) {
  out = ReadRecord();
  out.key = raw.key;
  if (core::first_invalid_utf8(out.key)) return "damaged.name";
  if (!raw.skip.empty()) return raw.skip;
  for (const std::string& extension : entry.record.image) {
    const auto member = raw.members.find(normal_extension(extension));
    if (member == raw.members.end()) continue;
    out.image = std::move(member->second.bytes);
    out.image_offset = member->second.offset;
    break;
  }
  if (out.image.empty()) return "damaged.no_image";
  Sidecar sidecar(raw);
  const std::string reason = read_captions(raw, sidecar, entry, out);
  if (!reason.empty()) return reason;
  out.group = out.key;
  if (!entry.splits.group.empty()) {
    const auto group = sidecar.string(entry.splits.group.substr(5));
    if (!group) return sidecar.why().empty() ? "damaged.no_group" : sidecar.why();
    out.group = *group;
  }
  return "";
}

}  // namespace microdit::ingest
