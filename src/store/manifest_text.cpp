// One JSON object per line; the manifest protects itself with its last line.
#include "store/manifest_text.h"

#include <algorithm>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/hash.h"

namespace microdit::store {
namespace {

std::string sha256_of(std::string_view text) {
  return core::sha256(std::as_bytes(std::span(text)));
}

Record record_from_json(const core::Json& json, const std::string& origin) {
  try {
    Record record;
    record.item = json.at("item").get<std::string>();
    for (const core::Json& shard : json.at("shards"))
      record.shards.push_back({shard.at("file").get<std::string>(), shard.at("rows").get<std::int64_t>(),
                               shard.at("bytes").get<std::uint64_t>(),
                               shard.at("sha256").get<std::string>()});
    record.details = json.at("details");
    return record;
  } catch (const core::Json::exception& wrong) {
    core::user_error("{}: not a record ({}); make the item again", origin, wrong.what());
  }
}

}  // namespace

std::string facts_text(const core::Json& facts) {
  return facts.dump(2) + "\n";
}

std::string record_text(const Record& record, std::int64_t num_items) {
  core::Json shards = core::Json::array();
  for (const ShardEntry& shard : record.shards)
    shards.push_back(
        {{"file", shard.file}, {"rows", shard.rows}, {"bytes", shard.bytes}, {"sha256", shard.sha256}});
  const core::Json json = {
      {"item", record.item}, {"of", num_items}, {"shards", std::move(shards)}, {"details", record.details}};
  return json.dump() + "\n";
}

Record record_from_text(const std::string& text, const std::string& origin) {
  return record_from_json(core::parse_json(text, origin), origin);
}

std::int64_t items_of_record(const std::filesystem::path& folder, const std::string& item) {
  const core::Json json = core::read_json(folder / kRecordsFolder / (item + ".json"));
  return json.is_object() && json.contains("of") && json["of"].is_number_integer()
             ? json["of"].get<std::int64_t>()
             : 0;
}

std::vector<std::string> record_names(const std::filesystem::path& folder) {
  std::vector<std::string> items;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder / kRecordsFolder, missing)) {
    const std::string name = entry.path().filename().string();
    if (name[0] != '.' && entry.path().extension() == ".json") items.push_back(entry.path().stem().string());
  }
  std::sort(items.begin(), items.end());
  return items;
}

std::string manifest_text(const std::filesystem::path& folder, const core::Json& facts,
                          const std::vector<std::string>& items) {
  std::string text = core::Json{{"facts", facts}}.dump() + "\n";
  for (const std::string& item : items) {
    const std::filesystem::path file = folder / kRecordsFolder / (item + ".json");
    const std::string record = core::read_text(file);
    record_from_text(record, file.string());
    text += record;
  }
  return text + core::Json{{"sha256", sha256_of(text)}}.dump() + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& origin) {
  const std::size_t end = text.size() < 2 ? std::string::npos : text.rfind('\n', text.size() - 2);
  if (end == std::string::npos || text.back() != '\n')
    core::user_error("{}: cut off; remove it and run the stage that makes it again", origin);
  if (text.substr(end + 1) !=
      core::Json{{"sha256", sha256_of(std::string_view(text).substr(0, end + 1))}}.dump() + "\n")
    core::user_error("{}: does not match its own checksum; remove it and run the stage that makes it again",
                     origin);
  Manifest manifest;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin <= end; ++number) {
    const std::size_t stop = text.find('\n', begin);
    const std::string where = fmt::format("{}, line {}", origin, number + 1);
    const core::Json json = core::parse_json(std::string_view(text).substr(begin, stop - begin), where);
    if (number == 0) {
      if (!json.is_object() || !json.contains("facts")) core::user_error("{}: facts are missing", where);
      manifest.facts = json["facts"];
    } else {
      manifest.records.push_back(record_from_json(json, where));
    }
    begin = stop + 1;
  }
  return manifest;
}

}  // namespace microdit::store
