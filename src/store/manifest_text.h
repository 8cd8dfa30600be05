// The texts of a stage folder: facts.json, records/*.json, manifest.jsonl. Written and read here only.
#pragma once

#include <array>
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
/// What the names of a stage folder's own files are up to their first dot: a file of an item that lies beside them has another.
inline constexpr std::array<std::string_view, 3> kOwnStems = {"facts", "records", "manifest"};
inline constexpr std::string_view kFailedEnding = ".failed.json";
inline constexpr std::string_view kPartEnding =
    ".part.json";  ///< of an item that is half done; the stage's own

inline constexpr std::string_view kGoneEnding = ".gone";

/// Letters, digits, '-', '_', '.', no leading dot: safe to join to a folder.
bool is_plain_name(std::string_view name);

std::string facts_text(const core::Json& facts);
/// The first place where two folders' facts differ, as "a.b" and both values; empty when only the key order or the `folder` of
/// an encoder does. `at`: where both stand.
std::string first_difference(const core::Json& there, const core::Json& now, const std::string& at = "");
/// Of records/<item>.json, one line.
std::string record_text(const Record& record);
/// The same without its notes.
std::string manifest_line(const Record& record);
/// UserError (names `origin`) when the text is no record, its notes are damaged, or a name in it is not plain.
Record record_from_text(const std::string& text, const std::string& origin);
std::string failed_text(const FailedItem& failed);
FailedItem failed_from_text(const std::string& text, const std::string& item, const std::string& origin);

/// What lies in records/, each list sorted.
struct RecordNames {
  std::vector<std::string> items, failed, parts;  ///< parts: file names
};
RecordNames record_names(const std::filesystem::path& folder);

/// "manifest.<N>.jsonl".
std::string manifest_file(std::int64_t generation);
/// The N of "manifest.<N>.jsonl" in `folder`, ascending.
std::vector<std::int64_t> generations(const std::filesystem::path& folder);

/// {"facts", "generation", "failed"}, `lines` as they are, {"sha256": of all bytes before this line}.
std::string manifest_text(const core::Json& facts, std::int64_t generation, const Standing& standing);
/// UserError (names `origin`) when its last line does not match the rest, or a line is wrong. `folder` stays
/// empty.
Manifest parse_manifest(const std::string& text, const std::string& origin);

}  // namespace microdit::store
