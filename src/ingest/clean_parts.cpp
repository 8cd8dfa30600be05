// One small file per published shard; each says all that the ones before it say, but for their shards.
#include "ingest/clean_parts.h"

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/progress.h"

namespace microdit::ingest {

namespace fs = std::filesystem;

void CleanState::add_kept_to(core::Json& json) const {
  if (!knows_all) return;
  json["captions"] = captions.to_json();
  json["classes"] = classes;
}

fs::path CleanParts::shard(std::size_t number) const {
  return folder_ / fmt::format("{}-{:05}.h5", item_.name, number);
}

fs::path CleanParts::part(std::size_t number) const {
  return folder_ / "records" / fmt::format("{}-{:05}.part.json", item_.name, number);
}

std::optional<CleanState> CleanParts::read_one(std::size_t number) const {
  const fs::path file = part(number);
  if (!core::input_bytes(file)) return std::nullopt;
  try {
    const core::Json json = core::read_json(file);
    if (json.at("inputs") != item_.inputs) return std::nullopt;
    const core::Json& entry = json.at("shard");
    CleanState state{json.at("next").get<std::int64_t>(),
                     json.at("kept").get<std::int64_t>(),
                     Skips::from_json(json.at("skipped")),
                     Skips::from_json(json.at("lost_captions")),
                     Skips::from_json(json.value("lost_columns", core::Json::object())),
                     Skips::from_json(json.value("without_row", core::Json::object())),
                     Skips::from_json(json.value("captions", core::Json::object())),
                     json.value("classes", std::set<std::int64_t>()),
                     json.contains("captions") && json.contains("classes"),
                     {{shard(number).filename().string(), entry.at("rows").get<std::int64_t>(),
                       entry.at("bytes").get<std::uint64_t>(), entry.at("sha256").get<std::string>()}},
                     {entry.at("fingerprint").get<std::string>()}};
    if (core::input_bytes(shard(number)) != state.shards[0].bytes) return std::nullopt;
    return state;
  } catch (const core::Json::exception& wrong) {
    core::log_warn("{}: {}; its shard is made again", file.string(), wrong.what());
  } catch (const core::UserError& wrong) {
    core::log_warn("{}; its shard is made again", wrong.what());
  }
  return std::nullopt;
}

CleanState CleanParts::read() const {
  CleanState whole;
  while (std::optional<CleanState> next = read_one(whole.shards.size())) {
    next->shards.insert(next->shards.begin(), whole.shards.begin(), whole.shards.end());
    next->fingerprints.insert(next->fingerprints.begin(), whole.fingerprints.begin(),
                              whole.fingerprints.end());
    next->knows_all = next->knows_all && whole.knows_all;
    whole = std::move(*next);
  }
  return whole;
}

void CleanParts::write(const CleanState& state) const {
  const store::ShardEntry& last = state.shards.back();
  core::Json json = {{"inputs", item_.inputs},
                     {"next", state.next},
                     {"kept", state.kept},
                     {"skipped", state.skipped.to_json()},
                     {"lost_captions", state.lost_captions.to_json()},
                     {"lost_columns", state.lost_columns.to_json()},
                     {"without_row", state.without_row.to_json()},
                     {"shard",
                      {{"rows", last.rows},
                       {"bytes", last.bytes},
                       {"sha256", last.sha256},
                       {"fingerprint", state.fingerprints.back()}}}};
  state.add_kept_to(json);
  core::atomic_write(part(state.shards.size() - 1), json.dump() + "\n");
  core::report_progress(last.file);  // an archive may take longer than a life
}

void CleanParts::remove(std::size_t shards) const {
  std::error_code ignored;
  for (std::size_t number = 0; fs::remove(part(number), ignored);) ++number;
  for (std::size_t number = shards; fs::remove(shard(number), ignored);) ++number;
}

}  // namespace microdit::ingest
