// A stage folder's manifest: facts that travel forward, and one line per finished work item. The manifest is the truth.
//
// Layout of a stage folder:
//   facts.json                what holds for the whole folder: settings only (no counts, inputs, paths, times); the first
//                             slot to come writes it, every other checks that it would write the same
//   records/<item>.json       committed last, one per finished work item: its shards with rows, bytes, SHA-256; its inputs;
//                             its notes, which the manifest does not repeat
//   records/<item>.gone       its shards were removed on purpose (what was made from them is there)
//   records/<item>.failed.json  why an item could not be made; goes when it is
//   <item>-<nnnnn>.h5         the shards
//   manifest.<N>.jsonl        line 1 the facts, the generation N and the items that failed; then the records in item
//                             order; then the SHA-256 of the lines before. One per closing, never changed afterwards
//   manifest.jsonl            the same bytes as the newest manifest.<N>.jsonl; exists only when every item is accounted for
// None of these bytes carry a time, a host, a rank or a task, so the folder's hash depends on input and config alone.
// A dataset that grows gets more items and a newer generation; present files stay as they are.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/stop_flag.h"

namespace microdit::store {

/// Of stage folders, their shards and manifests. A folder of another format is refused with one message.
inline constexpr std::int64_t kFormat = 2;

struct ShardEntry {
  std::string file;  ///< name in the folder, a plain one
  std::int64_t rows = 0;
  std::uint64_t bytes = 0;
  std::string sha256;
};

/// A work item (a file, an archive, a samples shard) and what identifies what it is made from.
struct Item {
  std::string name;
  core::Json inputs = core::Json::object();
};

/// One finished work item.
struct Record {
  std::string item;
  std::vector<ShardEntry> shards;
  core::Json details = core::Json::object();  ///< `inputs` (see Item), counts; stage's own
  /// JSON text or empty: what whoever closes the folder would else have to open the shards for (index_notes). Only in
  /// records/, with an xxh3; the manifest holds none.
  std::string notes{};
};

/// An item that could not be made.
struct FailedItem {
  std::string item, reason;
  std::uint64_t bytes = 0;    ///< of its input, as far as known
  std::int64_t attempts = 0;  ///< of all lives
  bool again = false;         ///< the life that wrote this tries it once more: no verdict yet
  bool fault = false;  ///< its input could not be read: says nothing of it, no folder is closed over it
};

/// How far a folder is, as its records and shards tell.
struct Standing {
  std::string lines{};                         ///< the records of finished items, in item order
  std::map<std::string, std::string> notes{};  ///< of those that have some
  std::int64_t done = 0;
  std::vector<std::string> pending{};  ///< items without record, or whose shards are not all there
  std::vector<FailedItem> failed{};    ///< items that failed for good
  std::vector<std::string> refused{};  ///< items whose record names other inputs: one message each
  std::vector<std::string> unknown{};  ///< recorded, but none of the expected items
};

struct Manifest;

class StageFolder {
 public:
  /// Creates the folder, writes facts.json or checks that the present one is the same (members named `folder` apart:
  /// where encoders lie is a hint). `facts` get the `format`.
  /// UserError "made with other settings" names the differing key and the way out (another folder, or remove
  /// it); another for folders of an older format.
  StageFolder(std::filesystem::path folder, const core::Json& facts);

  const std::filesystem::path& path() const { return folder_; }
  /// The record of a finished item; nothing when there is none, or it is damaged, or one of its shards is missing or of
  /// another size (warned of). UserError with the remedy when it was made from other inputs; FaultError (InputFault of a shard)
  /// where that cannot be known: it is not to be made again.
  std::optional<Record> find(const Item& item) const;
  bool done(const std::string& item) const { return find_any(item).has_value(); }
  /// Commits the record of an item whose shards are all published; details.inputs are the item's. Its failure is
  /// forgotten.
  void commit(const Item& item, Record record);
  void commit(const Record& record);
  void fail(const FailedItem& failed);
  std::optional<FailedItem> failure(const std::string& item) const;

  /// Compares names first: while an item has no record, nobody can close the folder, and no record is opened (`lines`,
  /// `notes`, `done`, `refused` stay empty). Else looks at every record and shard; `on_done` gets the finished ones, in item
  /// order. Nothing when `stop` was seen.
  std::optional<Standing> survey(
      const std::vector<Item>& items, const core::StopFlag& stop,
      const std::function<void(const Record&)>& on_done = [](const Record&) {}) const;
  /// The same of whatever items are recorded.
  Standing survey() const;
  /// Writes the next generation's manifest, after `before_visible` has had it, notes included; nothing when the newest says
  /// the same. Several slots may do it at once. Returns the generation; nothing when `before_visible` says that it stopped.
  std::optional<std::int64_t> close(
      const Standing& standing,
      const std::function<bool(const Manifest&)>& before_visible = [](const Manifest&) { return true; });

 private:
  std::optional<Record> find_any(const std::string& item) const;
  std::optional<Record> read_record(const std::string& item) const;
  std::filesystem::path folder_;
  core::Json facts_;
};

/// A closed folder, read. UserError when it is missing, not closed (says how far it is), damaged, of an older format.
struct Manifest {
  std::filesystem::path folder{};
  core::Json facts{};
  std::int64_t generation = 0;
  std::map<std::string, std::string> failed{};  ///< item -> reason: the folder was closed without them
  std::vector<Record> records{};
  std::string sha256{};  ///< of all lines but the last, which holds it
  /// `generation` 0: the newest.
  static Manifest read(const std::filesystem::path& folder, std::int64_t generation = 0);
  /// All shards in item order.
  std::vector<ShardEntry> shards() const;
};

/// Removes the shards of a finished item on purpose: the folder stays complete without them. A second time does nothing.
void remove_shards(const std::filesystem::path& folder, const std::string& item);
/// "" or, of an item whose shards were removed so, the file to remove before its stage makes them again.
std::string removed_on_purpose(const std::filesystem::path& folder, const std::string& item);

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
