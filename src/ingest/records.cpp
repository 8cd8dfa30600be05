// The record format sidecar_text: KEY.jpg KEY.txt KEY.json side by side, as WebDataset has them.
#include "ingest/records.h"

#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "ingest/captions.h"

namespace microdit::ingest {
namespace {

std::string_view as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The sidecar .json, parsed at most once.
class Sidecar {
 public:
  explicit Sidecar(const RawRecord& raw) : raw_(raw) {}
  /// The string under `key`; empty optional when there is no such string. Throws UserError on bad JSON.
  std::optional<std::string> string(const std::string& key) {
    const auto member = raw_.members.find("json");
    if (member == raw_.members.end()) return std::nullopt;
    if (!parsed_) parsed_ = core::parse_json(as_text(member->second), raw_.key + ".json");
    const auto found = parsed_->is_object() ? parsed_->find(key) : parsed_->end();
    if (found == parsed_->end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
  }

 private:
  const RawRecord& raw_;
  std::optional<core::Json> parsed_;
};

std::optional<std::string> find_caption(const RawRecord& raw, Sidecar& sidecar, const std::string& where) {
  if (where.starts_with("json:")) return sidecar.string(where.substr(5));
  const auto member = raw.members.find(where);
  if (member == raw.members.end()) return std::nullopt;
  return std::string(as_text(member->second));
}

/// "" or the reason of a skip.
std::string read_captions(const RawRecord& raw, Sidecar& sidecar, const CatalogueEntry& entry,
                          ReadRecord& out) {
  bool any = false;
  for (const std::string& source : entry.caption_sources()) {
    std::string caption = find_caption(raw, sidecar, entry.record.caption.at(source)).value_or("");
    if (!is_utf8(caption)) return "bad_utf8";
    out.captions.push_back(entry.captions.clean ? clean_caption(caption) : strip(caption));
    any |= !out.captions.back().empty();
  }
  return any ? "" : "no_caption";
}

}  // namespace

void RecordGrouper::add(Member&& member) {
  const std::size_t slash = member.name.rfind('/');
  const std::size_t dot = member.name.find('.', slash == std::string::npos ? 0 : slash + 1);
  if (dot == std::string::npos) return;  // a LICENSE, an index: belongs to no record
  std::string key = member.name.substr(0, dot);
  std::string extension = member.name.substr(dot + 1);
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (key != current_.key || current_.members.contains(extension)) {
    finish();
    current_.key = std::move(key);
  }
  current_.oversize |= member.oversize;
  current_.members.emplace(std::move(extension), std::move(member.bytes));
}

void RecordGrouper::finish() {
  if (!current_.members.empty()) on_record_(std::move(current_));
  current_ = RawRecord();
}

std::string read_record(RawRecord&& raw, const CatalogueEntry& entry, ReadRecord& out) {
  out = ReadRecord();
  out.key = raw.key;
  if (!is_utf8(out.key)) return "bad_utf8";
  if (raw.oversize) return "oversize";
  for (const std::string& extension : entry.record.image) {
    const auto member = raw.members.find(extension);
    if (member == raw.members.end()) continue;
    out.image = std::move(member->second);
    break;
  }
  if (out.image.empty()) return "no_image";
  Sidecar sidecar(raw);
  try {
    const std::string reason = read_captions(raw, sidecar, entry, out);
    if (!reason.empty()) return reason;
    out.group = out.key;
    if (!entry.splits.group.empty()) {
      const auto group = sidecar.string(entry.splits.group.substr(5));
      if (!group) return "no_group";
      out.group = *group;
    }
  } catch (const core::UserError&) {
    return "bad_json";
  }
  return "";
}

}  // namespace microdit::ingest
