// Counting, and what a pattern of reasons tells.
#include "ingest/skips.h"

#include <algorithm>

#include "core/error.h"

namespace microdit::ingest {

std::int64_t count_of(const core::Json& json, const char* name) {
  if (!json.contains(name)) return 0;
  const core::Json& value = json.at(name);
  if (!value.is_number_integer() || value < 0)
    throw core::Json::other_error::create(501, fmt::format("`{}` is {}, no count", name, value.dump()),
                                          &json);
  return value.get<std::int64_t>();
}

void Skips::add(const std::string& reason, std::string_view key) {
  Reason& entry = reasons_[reason];
  if (entry.count++ == 0) entry.example = key;
}

void Skips::merge(const Skips& other) {
  for (const auto& [reason, entry] : other.reasons_) {
    Reason& own = reasons_[reason];
    if (own.count == 0) own.example = entry.example;
    own.count += entry.count;
  }
}

std::int64_t Skips::total() const {
  std::int64_t sum = 0;
  for (const auto& [reason, entry] : reasons_) sum += entry.count;
  return sum;
}

std::int64_t Skips::damaged() const {
  std::int64_t sum = 0;
  for (const auto& [reason, entry] : reasons_) {
    if (!reason.starts_with("filtered.")) sum += entry.count;
  }
  return sum;
}

core::Json Skips::to_json() const {
  core::Json json = core::Json::object();
  for (const auto& [reason, entry] : reasons_) {
    json[reason] = {{"count", entry.count}, {"example", entry.example}};
  }
  return json;
}

Skips Skips::from_json(const core::Json& json) {
  Skips skips;
  for (const auto& [reason, entry] : json.items()) {
    entry.at("count");  // must be there
    skips.reasons_[reason] = {count_of(entry, "count"), entry.at("example").get<std::string>()};
  }
  return skips;
}

std::string Skips::text() const {
  std::string text;
  for (const auto& [reason, entry] : reasons_) {
    text += fmt::format("{}{} {} (e.g. {})", text.empty() ? "" : ", ", reason, entry.count, entry.example);
  }
  return text;
}

std::int64_t Skips::count(std::string_view reason) const {
  const auto found = reasons_.find(reason);
  return found == reasons_.end() ? 0 : found->second.count;
}

std::string Skips::advice(bool loose) const {
  const std::int64_t no_image = count("damaged.no_image");
  const std::int64_t no_caption = count("damaged.no_caption") + count("damaged.no_group");
  // Packed as all pictures, then all captions: every stem comes twice, each time with a half.
  const std::int64_t halves = no_caption + count("damaged.duplicate_key");
  if (no_image + count("damaged.duplicate_key") > 0 && no_caption > 0 && 2 * halves >= total() &&
      halves + no_image == total()) {
    if (loose)
      return "a picture and its caption are files of one folder and one stem (a/cat.jpg, a/cat.txt): check "
             "record.image and record.caption; captions in a table: record.kind: table; folders that are "
             "classes: record.class";
    return "the members of a record are not neighbours in the archive: sort it, e.g. mkdir x && tar xf FILE "
           "-C x "
           "&& tar --sort=name -cf FILE -C x .";
  }
  if (const std::int64_t links = count("unsupported.link"); links > 0 && 2 * links >= total())
    return "members are links to others: pack the files themselves, e.g. tar --dereference "
           "--hard-dereference";
  if (no_image > 0 && 2 * no_image >= total()) {
    return "check record.image: the extensions of the pictures (beside a.txt, a.b.jpg has the extension "
           "b.jpg), of Parquet record.picture: their column";
  }
  if (const std::int64_t no_class = count("damaged.no_class"); no_class > 0 && 2 * no_class >= total())
    return "check record.class: where the classes are";
  if (no_caption > 0 && 2 * no_caption >= total()) return "check record.caption: where the captions are";
  return "";
}

}  // namespace microdit::ingest
