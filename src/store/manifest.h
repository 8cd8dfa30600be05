// A stage folder's manifest: facts that travel forward, and one line per finished work item. The manifest is the truth.
//
// Layout of a stage folder:
//   facts.json            what holds for the whole folder (config, shapes, encoders ...); the first slot to come writes it,
//                         every other checks that it would write the same bytes
//   records/<item>.json   committed last, one per finished work item: its shards with rows, bytes, SHA-256, skip counts
//   <item>-<nnnnn>.h5     the shards
//   manifest.jsonl        line 1 the facts, then the records in item order; exists only when every item is done
// None of these bytes carry a time, a host, a rank or a task, so the folder's hash depends on input and config alone.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"

namespace microdit::store {

struct ShardEntry {
  std::string file;  ///< name in the folder
  std::int64_t rows = 0;
  std::uint64_t bytes = 0;
  std::string sha256;
};

/// One finished work item (an archive, a samples shard).
struct Record {
  std::string item;
  std::vector<ShardEntry> shards;
  core::Json details = core::Json::object();  ///< counts, sources; stage's own
};

class StageFolder {
 public:
  /// Creates the folder, writes facts.json or checks that the present one is the same (members named `folder` apart:
  /// where encoders lie is a hint).
  /// UserError "made with other settings" names the differing key and the way out (another folder, or remove
  /// it). `num_items`: how many work items make the folder complete.
  StageFolder(std::filesystem::path folder, const core::Json& facts, std::int64_t num_items);

  const std::filesystem::path& path() const { return folder_; }
  bool done(const std::string& item) const;
  /// Commits the record of an item whose shards are all published.
  void commit(const Record& record);
  /// When all items are done, assembles manifest.jsonl (atomically; several slots may do it at once). True if
  /// complete.
  bool finish_if_complete();

 private:
  std::filesystem::path folder_;
  core::Json facts_;
  std::int64_t num_items_;
};

/// A complete folder, read. UserError when it is missing or not complete (says how many items are).
struct Manifest {
  std::filesystem::path folder;
  core::Json facts;
  std::vector<Record> records;
  static Manifest read(const std::filesystem::path& folder);
  /// All shards in item order.
  std::vector<ShardEntry> shards() const;
};

/// What `verify` found wrong, one line each: file, and sample where the payload is hit.
struct Damage {
  std::string file;
  std::string what;
};
/// Checks every shard of a stage folder: SHA-256 of the file; when that differs, which samples' xxh3 differ
/// (the hash rule is the stage's: see sample_hash.h), else "outside the samples". Also missing and extra
/// shards.
std::vector<Damage> verify(const std::filesystem::path& folder);

}  // namespace microdit::store
