// The texts of a stage folder: facts.json, records/<item>.json, manifest.jsonl. Written and read here only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "store/manifest.h"

namespace microdit::store {

inline constexpr const char* kFactsFile = "facts.json";
inline constexpr const char* kRecordsFolder = "records";
inline constexpr const char* kManifestFile = "manifest.jsonl";

std::string facts_text(const core::Json& facts);
/// One line; "of" is the number of items that make the folder complete.
std::string record_text(const Record& record, std::int64_t num_items);
/// UserError (names `origin`) when the text is no record.
Record record_from_text(const std::string& text, const std::string& origin);
std::int64_t items_of_record(const std::filesystem::path& folder, const std::string& item);
/// Items that have a record, sorted.
std::vector<std::string> record_names(const std::filesystem::path& folder);

/// {"facts": ...}, the records in the given order, {"sha256": of all bytes before this line}.
std::string manifest_text(const std::filesystem::path& folder, const core::Json& facts,
                          const std::vector<std::string>& items);
/// UserError (names `origin`) when its last line does not match the rest, or a line is wrong. `folder` stays
/// empty.
Manifest parse_manifest(const std::string& text, const std::string& origin);

}  // namespace microdit::store
