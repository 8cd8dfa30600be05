// One driver for all data stages: list, share, work, commit, finish on rank 0. A failing item stops no other.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/stop_flag.h"
#include "ingest/progress.h"
#include "store/manifest.h"

namespace microdit::ingest {

/// Makes one item: publishes its shards and returns its record (the driver adds the inputs and commits it), or nothing
/// when `stop` was seen; within 10 s, wherever it is. A UserError is the item's failure: it is recorded, and the item is
/// tried once more after all others. An InputFault is one, too, but says nothing of the item: no folder is closed over it
/// (max_failed_items does not count it), and the stage ends as a fault. NotBefore sets the item aside until its time. Any
/// other error, a fault of the stage's own folder or of a device among them, ends the stage at once.
using ItemWork = std::function<std::optional<store::Record>(const store::Item& item, Progress& progress,
                                                            const core::StopFlag& stop)>;

struct StagePlan {
  std::string name;              ///< "clean": the program, for messages
  std::string unit;              ///< of its progress: "B", "records"
  std::filesystem::path folder;  ///< where it writes
  core::Json facts;              ///< see store::StageFolder
  std::vector<store::Item> items;
  std::string task;             ///< entry.task
  bool needs_all = false;       ///< closing without a failed item is nothing to advise
  double max_failed_items = 0;  ///< below 1 a fraction of the items, else a count
  std::int64_t parallel = 1;    ///< items at once per rank, each on a thread of its own
  ItemWork work{};
  /// Bytes of an item's input, for its failure's record; 0 = not known.
  std::function<std::uint64_t(const store::Item&)> bytes = [](const store::Item&) { return 0; };
  /// Items that this call works on; the others stay for another call.
  std::function<bool(const store::Item&)> wanted = [](const store::Item&) { return true; };
  /// After an item's record is committed (leftovers of its work can go).
  std::function<void(const store::Record&)> committed = [](const store::Record&) {};
  /// Rank 0, when the folder is closed without an item: what it left can go.
  std::function<void(const store::FailedItem&)> discard = [](const store::FailedItem&) {};
  /// Rank 0, when every item is accounted for: every finished record in item order; then, before the folder is closed, check() may refuse
  /// (UserError) or say what the sum is.
  /// A Json::exception of sum is a damaged record's.
  std::function<void(const store::Record&)> sum = [](const store::Record&) {};
  std::function<void()> check = [] {};
  /// Rank 0, before a new manifest becomes visible: what must be there with it. False: a stop was seen.
  std::function<bool(const store::Manifest&)> before_visible = [](const store::Manifest&) { return true; };
};

/// The plan's wanted items that are this process's share, by name.
std::vector<const store::Item*> own_items(const StagePlan& plan, const comm::Share& share);

/// Runs this process's share of the stage and, when it was the last, closes the folder. Returns the exit code, agreed by
/// all ranks: kDone; kRequeueMe when stopped; kUserMistake when an item of this job stays failed and the folder could
/// not be closed without it (each is named). UserError, before any work, where the folder holds items that are none of the
/// plan's. FaultError where one of them, or what is done of it, stays unreadable: another
/// node may read it.
int run_stage(const StagePlan& plan, comm::Communicator& comm, const core::StopFlag& stop);

/// For dry runs. Whether the folder that `stage` makes is complete; prints what makes it where it is not.
bool is_complete(const std::filesystem::path& folder, std::string_view stage);
/// Prints the space at `folder`; UserError when it cannot be made or written.
void describe_space(const std::filesystem::path& folder);

}  // namespace microdit::ingest
