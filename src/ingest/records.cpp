// The record format sidecar_text: KEY.jpg KEY.txt KEY.json side by side, as WebDataset has them.
#include "ingest/records.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "ingest/record_class.h"
#include "ingest/record_places.h"
#include "ingest/sidecar.h"
#include "ingest/skips.h"
#include "tables/missing.h"
#include "text/caption_processor.h"
#include "text/strip.h"

namespace microdit::ingest {
namespace {

std::string_view as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string cleaned(std::string_view caption, std::string_view how) {
  if (how == "reference") return text::clean_caption(caption);
  if (how == "gentle") return text::gentle_caption(caption);
  if (how == "as_is") return std::string(caption);
  return std::string(text::strip(caption));
}

class CaptionReader {
 public:
  CaptionReader(const RawRecord& raw, Sidecar& sidecar, const CatalogueEntry& entry)
      : raw_(raw), sidecar_(sidecar), entry_(entry) {}

  /// The caption of one source into `text`; or why there is none.
  std::string read(const std::string& where, std::string& text) {
    const std::optional<std::string> found = find(where);
    if (!found) return is_json(where) && !sidecar_.why().empty() ? sidecar_.why() : kNoCaption;
    if (found->size() > limits::kCaptionBytes) return "unsupported.caption_size";
    if (core::first_invalid_utf8(*found)) return "damaged.utf8";
    text = cleaned(*found, entry_.captions.clean);
    return text.empty() ? "filtered.empty_caption" : "";
  }

 private:
  std::optional<std::string> find(const std::string& where) {
    if (is_json(where)) return sidecar_.string(where.substr(5));
    if (where == "class") return class_name();
    if (is_table(where) || is_column(where)) {
      const auto cell = raw_.cells.find(is_table(where) ? where.substr(6) : where);
      const auto* text = cell == raw_.cells.end() ? nullptr : std::get_if<std::string>(&cell->second);
      return text ? std::optional(*text) : std::nullopt;
    }
    const auto member = raw_.members.find(normal_extension(where));
    if (member == raw_.members.end()) return std::nullopt;
    return std::string(as_text(member->second.bytes).substr(0, limits::kCaptionBytes + 1));
  }

  std::optional<std::string> class_name() const {
    const auto cell = raw_.cells.find("class");
    if (cell == raw_.cells.end()) return std::nullopt;
    const std::vector<std::string>& names = entry_.record.classes;
    if (names.empty()) return tables::as_text(cell->second);
    const auto* number = std::get_if<std::int64_t>(&cell->second);
    if (!number || *number < 0 || *number >= std::ssize(names)) return std::nullopt;
    return names[static_cast<std::size_t>(*number)];
  }

  const RawRecord& raw_;
  Sidecar& sidecar_;
  const CatalogueEntry& entry_;
};

/// A number as a column holds it: NaN of nothing; of what a double does not hold, too, and `lost` says why.
double kept_number(const tables::Value& cell, std::string& lost) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (tables::is_missing(cell)) return kNone;
  const std::optional<double> number = tables::as_number(cell);
  if (!number) lost = "no number";
  if (const auto whole = tables::whole_number(cell);
      number && whole && fmt::format("{:.0f}", *number + 0.) != *whole)
    lost = "beyond 2^53";
  return lost.empty() ? *number : kNone;
}

const tables::Value& cell_of(const RawRecord& raw, const std::string& column) {
  static const tables::Value kNothing;
  const auto cell = raw.cells.find(column);
  return cell == raw.cells.end() ? kNothing : cell->second;
}

}  // namespace

RecordReader::RecordReader(const CatalogueEntry& entry)
    : entry_(entry),
      class_(std::make_unique<ClassReader>(entry)),
      sources_(entry.caption_sources()),
      columns_(entry.kept_columns()) {
  constexpr double kAny = std::numeric_limits<double>::infinity();
  for (const auto& [column, bound] : entry.filters.at_most)
    bounds_.push_back({column, -kAny, *FilterSection::number(bound)});
  for (const auto& [column, bound] : entry.filters.at_least)
    bounds_.push_back({column, *FilterSection::number(bound), kAny});
}

RecordReader::~RecordReader() = default;

/// "" or the reason of a skip: the first that says more than that a source is absent.
std::string RecordReader::read_captions(const RawRecord& raw, Sidecar& sidecar, ReadRecord& out,
                                        const core::StopFlag& stop) const {
  CaptionReader reader(raw, sidecar, entry_);
  std::string why = kNoCaption;
  bool any = false;
  for (const std::string& source : sources_) {
    if (stop.requested()) throw core::Stopped();
    std::string reason = reader.read(entry_.record.caption.at(source), out.captions.emplace_back());
    any |= reason.empty();
    if (reason == kNoCaption) reason = "";  // an absent one is not lost
    if (!reason.empty() && why == kNoCaption) why = reason;
    out.lost.push_back(std::move(reason));
  }
  const bool is_lacking = why == kNoCaption || why == "filtered.empty_caption";
  const bool for_its_class = is_lacking && !entry_.record.from.empty() && raw.cells.contains("class");
  const bool kept =
      any || for_its_class || (entry_.captions.empty == "keep" && why == "filtered.empty_caption");
  for (std::string& lost : out.lost)
    if (for_its_class && !any && lost.empty()) lost = kNoCaption;
  const bool of_rows =
      entry_.record.kind == "table" || (entry_.record.kind == "parquet" && !entry_.record.has_classes());
  if (!kept && of_rows && why == kNoCaption) return "filtered.no_caption";
  return kept ? "" : why;
}

/// "" or filtered.<column>. A row without a number there is kept, as Python's comparison with NaN keeps it.
std::string RecordReader::read_columns(const RawRecord& raw, ReadRecord& out) const {
  for (const std::string& column : columns_) {
    std::string lost;
    const tables::Value& cell = cell_of(raw, column);
    out.columns.push_back(kept_number(cell, lost));
    if (!lost.empty()) out.lost_columns.emplace_back(column + ": " + lost, tables::as_text(cell));
  }
  for (const Bound& bound : bounds_) {
    const tables::Value& cell = cell_of(raw, bound.column);
    if (std::holds_alternative<std::string>(cell) && !tables::is_missing(cell) && !tables::as_number(cell))
      return "damaged." + bound.column;
  }
  for (const Bound& bound : bounds_)
    if (const auto number = tables::as_number(cell_of(raw, bound.column));
        number && (*number > bound.at_most || *number < bound.at_least))
      return "filtered." + bound.column;
  return "";
}

void PassedOver::add(const core::Json& details) {
  const auto found = details.find("passed_over");
  if (found != details.end()) add(count_of(*found, "count"), found->at("example").get<std::string>());
}

std::string PassedOver::text() const {
  return fmt::format("{} members that `record` does not ask for (e.g. {})", count, example);
}

std::string RecordReader::read(RawRecord&& raw, ReadRecord& out, const core::StopFlag& stop) const {
  out = ReadRecord();
  out.key = raw.key;
  out.without_row = std::move(raw.without_row);
  if (core::first_invalid_utf8(out.key)) return kBadName;
  if (!raw.skip.empty()) return raw.skip;
  std::vector<std::string> extensions = entry_.record.image;
  if (entry_.record.is_labelled()) extensions = {"picture"};
  for (const std::string& extension : extensions) {
    const auto member = raw.members.find(normal_extension(extension));
    if (member == raw.members.end() || member->second.bytes.empty()) continue;
    out.image = std::move(member->second.bytes);
    out.image_offset = member->second.offset;
    out.image_file = member->second.file;
    break;
  }
  if (out.image.empty()) return kNoImage;
  Sidecar sidecar(raw);
  std::string reason = class_->find(raw, sidecar);
  if (reason.empty()) reason = read_columns(raw, out);
  if (!reason.empty()) return reason;
  class_->check(raw);
  reason = read_captions(raw, sidecar, out, stop);
  if (!reason.empty()) return reason;
  out.group = raw.group.empty() ? out.key : raw.group;
  out.held_out = raw.held_out;
  if (!entry_.splits.group.empty()) {
    const auto group = sidecar.string(entry_.splits.group.substr(5));
    if (!group) return sidecar.why().empty() ? "damaged.no_group" : sidecar.why();
    out.group = *group;
  }
  return "";
}

}  // namespace microdit::ingest
