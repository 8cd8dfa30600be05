// A class is a number from here on; its name goes with the facts.
#include "ingest/record_class.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/shown_text.h"
#include "core/utf8.h"
#include "ingest/limits.h"
#include "ingest/record_places.h"
#include "ingest/sidecar.h"
#include "tables/missing.h"
#include "text/strip.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kNamed = 12;  // classes in a message
constexpr std::size_t kShown = 60;  // bytes of what is none
constexpr std::int64_t kBeyond = 1ll << 31;

std::string named(const std::vector<std::string>& names) {
  const std::vector<std::string> first(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kNamed)));
  return fmt::format("{}{}", fmt::join(first, ", "), names.size() > kNamed ? ", ..." : "");
}

}  // namespace

ClassReader::ClassReader(const CatalogueEntry& entry) : entry_(entry) {
  if (is_template(entry.record.from)) path_.emplace(entry.record.from, "record.class");
  const std::vector<std::string>& names = entry.record.classes;
  // Names that a template made are those of folders, white space and all; what is written by hand may lack it.
  for (std::size_t i = 0; path_ && i < names.size(); ++i)
    numbers_.emplace(tables::composed(names[i]), static_cast<std::int64_t>(i));
  for (std::size_t i = 0; i < names.size(); ++i)
    numbers_.emplace(tables::composed(text::strip(names[i])), static_cast<std::int64_t>(i));
}

void ClassReader::refuse(const RawRecord& raw, const std::string& found) const {
  const std::vector<std::string>& names = entry_.record.classes;
  const std::string shown = core::without_controls(core::shortened(core::with_valid_utf8(found), kShown));
  const std::string where =
      core::without_controls(fmt::format("{}: {}", raw.file, core::with_valid_utf8(raw.key)));
  if (names.empty())
    core::user_error("{}: its class is '{}', which is no number from 0: name the classes in record.classes",
                     where, shown);
  const std::optional<double> number = path_ ? std::nullopt : tables::as_number(tables::Value(found));
  const std::string mend =
      !number ? fmt::format("add '{}' at the end of record.classes (numbers stay as they are)", shown)
      : *number >= static_cast<double>(names.size()) && *number == std::floor(*number)
          ? "add the names that are lacking at its end (numbers stay as they are)"
          : "no class has such a number: mend it";
  core::user_error(
      "{}: its class is '{}', but record.classes has {}, numbers 0 to {} ({}): {}, or leave {} out ({})",
      where, shown, names.size(), names.size() - 1, core::without_controls(named(names)), mend,
      path_ ? "such records" : "what is read with this file", path_ ? "record.members" : "max_failed_items");
}

tables::Value ClassReader::value_of(const RawRecord& raw, Sidecar& sidecar) const {
  const std::string& from = entry_.record.from;
  if (path_ && !raw.members.empty()) return path_->key(raw.members.begin()->second.patterned(), raw.archive);
  if (is_json(from)) return sidecar.value(from.substr(5));
  if (is_table(from) || from.empty()) {
    const auto cell = raw.cells.find(from.empty() ? "class" : from.substr(6));
    return cell == raw.cells.end() ? tables::Value() : cell->second;
  }
  const auto member = raw.members.find(normal_extension(from));
  if (member == raw.members.end()) return {};
  const std::vector<std::byte>& bytes = member->second.bytes;
  return std::string(reinterpret_cast<const char*>(bytes.data()),
                     std::min<std::size_t>(bytes.size(), limits::kCaptionBytes));
}

/// Of what is no text, or text that is a number.
std::optional<std::int64_t> ClassReader::number_of(const tables::Value& value) const {
  const std::optional<double> number = tables::as_number(value);
  if (!number || *number != std::floor(*number) || std::abs(*number) >= kBeyond) return std::nullopt;
  return static_cast<std::int64_t>(*number);
}

std::string ClassReader::find(RawRecord& raw, Sidecar& sidecar) const {
  const RecordSection& record = entry_.record;
  if (!record.has_classes()) return "";
  tables::Value value = value_of(raw, sidecar);
  const bool is_sidecar = !record.from.empty() && !path_ && !is_table(record.from);
  if (auto* text = std::get_if<std::string>(&value)) {
    constexpr std::string_view kMark = "\xef\xbb\xbf";  // of a file that an editor saved
    if (is_sidecar && text->starts_with(kMark)) text->erase(0, kMark.size());
    const std::string bare = tables::composed(text::strip(*text));
    auto known = path_ ? numbers_.find(tables::composed(*text)) : numbers_.end();
    if (known == numbers_.end()) known = numbers_.find(bare);
    const std::optional<std::int64_t> number =
        known != numbers_.end() ? std::optional(known->second) : number_of(bare);
    if (tables::is_missing(value) && !number)
      value = {};
    else if (number && (known != numbers_.end() || !path_))
      value = *number;
    else if (record.from.empty() && record.classes.empty())
      return "";  // text that a column of classes has is the caption
    else
      refuse(raw, path_ ? *text : bare);
  }
  if (const std::optional<double> number = tables::as_number(value); tables::is_null(value) || number == -1) {
    raw.cells.erase("class");
    if (record.from.empty()) return "";
    if (is_sidecar && !sidecar.why().empty()) return sidecar.why();
    return is_sidecar ? kNoClass : "filtered.no_class";
  }
  if (const std::optional<std::int64_t> whole = number_of(value)) value = *whole;  // 2.0 of Parquet, of JSON
  raw.cells["class"] = std::move(value);
  return "";
}

void ClassReader::check(const RawRecord& raw) const {
  const auto cell = raw.cells.find("class");
  if (!entry_.record.has_classes() || cell == raw.cells.end()) return;
  if (std::holds_alternative<std::string>(cell->second)) return;  // see find()
  const std::optional<std::int64_t> number = number_of(cell->second);
  const std::int64_t end = numbers_.empty() ? kBeyond : std::ssize(entry_.record.classes);
  if (!number || *number < 0 || *number >= end) refuse(raw, tables::as_text(cell->second));
}

}  // namespace microdit::ingest
