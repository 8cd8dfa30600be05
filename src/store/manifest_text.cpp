// One JSON object per line; the manifest protects itself with its last line.
#include "store/manifest_text.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"

namespace microdit::store {
namespace {

// Where an encoder's weights lay: a hint for who looks for them, no setting.
constexpr std::string_view kHint = "folder";

constexpr std::string_view kManifestBegin = "manifest.", kManifestEnd = ".jsonl";

std::string sha256_of(std::string_view text) {
  return core::sha256(std::as_bytes(std::span(text)));
}

std::string hash_of(std::string_view text) {
  return core::hex(core::xxh3_64(std::as_bytes(std::span(text))));
}

void check_plain(const std::string& name, const char* what, const std::string& origin) {
  if (is_plain_name(name)) return;
  core::user_error("{}: {} '{}' is no plain name: the file was not written by microdit; remove it", origin,
                   what, name);
}

Record record_from_json(const core::Json& json, const std::string& origin) {
  try {
    Record record;
    record.item = json.at("item").get<std::string>();
    check_plain(record.item, "item", origin);
    for (const core::Json& shard : json.at("shards")) {
      record.shards.push_back({shard.at("file").get<std::string>(), shard.at("rows").get<std::int64_t>(),
                               shard.at("bytes").get<std::uint64_t>(),
                               shard.at("sha256").get<std::string>()});
      check_plain(record.shards.back().file, "shard", origin);
    }
    record.details = json.at("details");
    if (json.contains("notes")) {
      record.notes = json["notes"].dump();
      if (json.at("notes_xxh3") != hash_of(record.notes))
        core::user_error("{}: its notes do not match their checksum; make the item again", origin);
    }
    return record;
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: not a record ({}); make the item again", origin, wrong.what());
  }
}

void read_head(const core::Json& json, const std::string& origin, Manifest& manifest) {
  if (!json.is_object() || !json.contains("facts")) core::user_error("{}: facts are missing", origin);
  manifest.facts = json["facts"];
  try {
    manifest.generation = json.value("generation", std::int64_t{0});
    if (json.contains("failed")) manifest.failed = json["failed"].get<std::map<std::string, std::string>>();
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: not the head of a manifest ({})", origin, wrong.what());
  }
}

core::Json record_json(const Record& record) {
  core::Json shards = core::Json::array();
  for (const ShardEntry& shard : record.shards)
    shards.push_back(
        {{"file", shard.file}, {"rows", shard.rows}, {"bytes", shard.bytes}, {"sha256", shard.sha256}});
  return {{"item", record.item}, {"shards", std::move(shards)}, {"details", record.details}};
}

}  // namespace

bool is_plain_name(std::string_view name) {
  return !name.empty() && name[0] != '.' && std::ranges::all_of(name, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.';
  });
}

std::string first_difference(const core::Json& there, const core::Json& now, const std::string& at) {
  if (there.is_object() && now.is_object()) {
    std::set<std::string> keys;
    for (const auto& [key, value] : there.items()) keys.insert(key);
    for (const auto& [key, value] : now.items()) keys.insert(key);
    for (const std::string& key : keys) {
      if (key == kHint) continue;
      const std::string deeper = at.empty() ? key : at + "." + key;
      if (!there.contains(key))
        return fmt::format("`{}` is absent there and {} now", deeper, now[key].dump());
      if (!now.contains(key))
        return fmt::format("`{}` is {} there and absent now", deeper, there[key].dump());
      if (std::string found = first_difference(there[key], now[key], deeper); !found.empty()) return found;
    }
    return "";
  }
  return there == now ? "" : fmt::format("`{}` is {} there and {} now", at, there.dump(), now.dump());
}

std::string facts_text(const core::Json& facts) {
  return facts.dump(2) + "\n";
}

std::string manifest_line(const Record& record) {
  return record_json(record).dump() + "\n";
}

std::string record_text(const Record& record) {
  core::Json json = record_json(record);
  if (!record.notes.empty()) {
    json["notes"] = core::parse_json(record.notes, record.item);
    json["notes_xxh3"] = hash_of(json["notes"].dump());
  }
  return json.dump() + "\n";
}

Record record_from_text(const std::string& text, const std::string& origin) {
  return record_from_json(core::parse_json(text, origin), origin);
}

std::string failed_text(const FailedItem& failed) {
  core::Json json = {{"reason", failed.reason}, {"bytes", failed.bytes}, {"attempts", failed.attempts}};
  if (failed.again) json["again"] = true;
  if (failed.fault) json["kind"] = "fault";
  return json.dump(-1, ' ', false, core::Json::error_handler_t::replace) + "\n";
}

FailedItem failed_from_text(const std::string& text, const std::string& item, const std::string& origin) {
  const core::Json json = core::parse_json(text, origin);
  try {
    return {item,
            json.at("reason").get<std::string>(),
            json.at("bytes").get<std::uint64_t>(),
            json.at("attempts").get<std::int64_t>(),
            json.value("again", false),
            json.value("kind", "") == "fault"};
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: not the record of a failure ({}); remove it", origin, wrong.what());
  }
}

RecordNames record_names(const std::filesystem::path& folder) {
  RecordNames names;
  for (const std::filesystem::path& entry : core::entries_of(folder / kRecordsFolder)) {
    const std::string name = entry.filename().string();
    if (name[0] == '.' || !name.ends_with(".json")) continue;
    if (name.ends_with(kPartEnding))
      names.parts.push_back(name);
    else if (name.ends_with(kFailedEnding))
      names.failed.push_back(name.substr(0, name.size() - kFailedEnding.size()));
    else
      names.items.push_back(name.substr(0, name.size() - 5));
  }
  for (auto* list : {&names.items, &names.failed, &names.parts}) std::ranges::sort(*list);
  return names;
}

std::string manifest_file(std::int64_t generation) {
  return fmt::format("{}{}{}", kManifestBegin, generation, kManifestEnd);
}

std::vector<std::int64_t> generations(const std::filesystem::path& folder) {
  std::vector<std::int64_t> found;
  for (const std::filesystem::path& entry : core::entries_of(folder)) {
    const std::string name = entry.filename().string();
    std::int64_t number = 0;
    if (!name.starts_with(kManifestBegin)) continue;
    std::from_chars(name.data() + kManifestBegin.size(), name.data() + name.size(), number);
    if (number > 0 && name == manifest_file(number)) found.push_back(number);
  }
  std::ranges::sort(found);
  return found;
}

std::string manifest_text(const core::Json& facts, std::int64_t generation, const Standing& standing) {
  core::Json failed = core::Json::object();
  for (const FailedItem& item : standing.failed) failed[item.item] = item.reason;
  const core::Json head = {{"facts", facts}, {"generation", generation}, {"failed", std::move(failed)}};
  const std::string text = head.dump() + "\n" + standing.lines;
  return text + core::Json{{"sha256", sha256_of(text)}}.dump() + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& origin) {
  const std::size_t end = text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  if (end == std::string::npos || text.back() != '\n')
    core::user_error("{}: cut off; remove it and run the stage that makes it again", origin);
  Manifest manifest;
  manifest.sha256 = sha256_of(std::string_view(text).substr(0, end + 1));
  if (text.substr(end + 1) != core::Json{{"sha256", manifest.sha256}}.dump() + "\n")
    core::user_error("{}: does not match its own checksum; remove it and run the stage that makes it again",
                     origin);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin <= end; ++number) {
    const std::size_t stop = text.find('\n', begin);
    const std::string where = fmt::format("{}, line {}", origin, number + 1);
    const core::Json json = core::parse_json(std::string_view(text).substr(begin, stop - begin), where);
    if (number == 0)
      read_head(json, where, manifest);
    else
      manifest.records.push_back(record_from_json(json, where));
    begin = stop + 1;
  }
  return manifest;
}

}  // namespace microdit::store
