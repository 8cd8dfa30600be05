// The life of a stage: own items one after another, failing ones once more, then the verdict on the whole folder.
#include "ingest/stage_driver.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "core/atomic_file.h"
#include "core/config.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/log.h"
#include "store/manifest_text.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

constexpr double kLongestShare_s = 7 * 24 * 3600;
constexpr std::size_t kMaxNamed = 20;  // failing items that are named one by one
constexpr auto kLookAtStop = std::chrono::milliseconds(50);

/// The final name of ".<name>.<generation>.tmp"; empty when `file` is no temporary.
std::string_view final_name(std::string_view file) {
  if (!file.starts_with('.') || !file.ends_with(".tmp")) return {};
  file = file.substr(1, file.size() - 5);
  return file.substr(0, file.rfind('.'));
}

/// Every item that may have written a file of this name: "<item>", "<item>.h5", "<item>-<nnnnn>.h5", "<item>.json",
/// "<item>.failed.json", "<item>-<nnnnn>.part.json".
template <class IsOwn>
bool belongs_to(std::string_view file, const IsOwn& is_own) {
  if (is_own(file)) return true;
  for (const std::string_view ending : {".h5", ".failed.json", ".part.json", ".json"}) {
    if (!file.ends_with(ending)) continue;
    const std::string_view stem = file.substr(0, file.size() - ending.size());
    if (is_own(stem)) return true;
    const std::size_t dash = stem.rfind('-');
    if (dash != std::string_view::npos && is_own(stem.substr(0, dash))) return true;
  }
  return false;
}

/// Removes abandoned temporaries in `folder` and its records/ whose final name `is_own` accepts; other tasks may be
/// writing theirs right now.
template <class IsOwn>
void remove_temporaries(const fs::path& folder, const IsOwn& is_own) {
  for (const fs::path& place : {folder, folder / "records"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(place, error)) {
      const std::string file = entry.path().filename().string();
      const std::string_view name = final_name(file);
      if (!name.empty() && is_own(name) && core::is_abandoned(entry.path()))
        fs::remove_all(entry.path(), error);
    }
  }
}

/// What earlier lives left of items that are all finished now.
void remove_leftovers(const fs::path& folder) {
  remove_temporaries(folder, [](std::string_view) { return true; });
  std::error_code ignored;
  for (const std::string& part : store::record_names(folder).parts)
    fs::remove(folder / "records" / part, ignored);
}

/// A reason as it becomes part of the manifest: it does not say where the data lie.
std::string without_place(std::string reason) {
  const std::string root = core::data_root().string() + "/";
  for (std::size_t at = 0; (at = reason.find(root, at)) != std::string::npos;) reason.erase(at, root.size());
  return reason;
}

/// This process's share of a stage.
class Share {
 public:
  Share(const StagePlan& plan, store::StageFolder& folder, const comm::Share& share,
        const core::StopFlag& stop)
      : plan_(plan), folder_(folder), outer_(stop), progress_(plan.name, plan.unit, count(share)) {
    for (std::size_t i = 0; i < plan.items.size(); ++i) {
      if (!share.owns(static_cast<std::int64_t>(i)) || !plan.wanted(plan.items[i])) continue;
      own_.push_back(&plan.items[i]);
      names_.insert(plan.items[i].name);
    }
    std::ranges::sort(own_, {}, [](const store::Item* item) -> const std::string& { return item->name; });
  }

  void run() {
    remove_temporaries(folder_.path(), [&](std::string_view file) {
      return belongs_to(file, [&](std::string_view name) { return names_.contains(name); });
    });
    std::vector<const store::Item*> items;
    for (const store::Item* item : own_) {
      if (outer_.requested()) break;
      if (is_done(*item))
        progress_.item_done(false);
      else if (folder_.failure(item->name))
        again_.push_back(item);
      else
        items.push_back(item);
    }
    first_round_ = true;
    work_on(items);
    first_round_ = false;
    work_on(std::exchange(again_, {}));
    stopped_ = stopped_ || outer_.requested();
    progress_.finish(stopped_);
  }
  bool stopped() const { return stopped_; }
  bool failed() const { return failed_; }

 private:
  std::int64_t count(const comm::Share& share) const {
    std::int64_t own = 0;
    for (std::size_t i = 0; i < plan_.items.size(); ++i)
      own += share.owns(static_cast<std::int64_t>(i)) && plan_.wanted(plan_.items[i]);
    return own;
  }

  bool is_done(const store::Item& item) {
    try {
      return folder_.find(item).has_value();
    } catch (const core::UserError&) {  // other inputs: the verdict at the end names it
      failed_ = true;
      return true;
    }
  }

  void work_on(const std::vector<const store::Item*>& items) {
    const auto threads =
        std::min(static_cast<std::size_t>(std::max<std::int64_t>(plan_.parallel, 1)), items.size());
    if (stopped_ || outer_.requested()) return;
    if (threads > 1) return work_in_threads(items, threads);
    for (const store::Item* item : items) {
      if (stopped_ || outer_.requested()) return;
      attempt(*item, outer_);
    }
  }

  void work_in_threads(const std::vector<const store::Item*>& items, std::size_t threads) {
    core::StopFlag inner;  // also when one thread meets an error that ends the stage
    std::atomic<std::size_t> next = 0, running = threads;
    std::exception_ptr error;
    std::vector<std::jthread> pool;
    for (std::size_t i = 0; i < threads; ++i) {
      pool.emplace_back([&] {
        try {
          for (std::size_t at; !inner.requested() && (at = next++) < items.size();)
            attempt(*items[at], inner);
        } catch (...) {
          const std::scoped_lock lock(lock_);
          if (!error) error = std::current_exception();
          inner.request();
        }
        --running;
      });
    }
    while (running > 0) {
      if (outer_.requested()) inner.request();
      std::this_thread::sleep_for(kLookAtStop);
    }
    pool.clear();
    if (error) std::rethrow_exception(error);
  }

  void attempt(const store::Item& item, const core::StopFlag& stop) {
    try {
      std::optional<store::Record> record = plan_.work(item, progress_, stop);
      if (!record) {
        stopped_ = true;
        return;
      }
      {
        const std::scoped_lock lock(lock_);
        folder_.commit(item, *record);
      }
      plan_.committed(*record);
      progress_.item_done(true);
    } catch (const core::UserError& reason) {
      const std::scoped_lock lock(lock_);
      fail(item, reason.what());
    }
  }

  void fail(const store::Item& item, const std::string& reason) {
    const auto before = folder_.failure(item.name);
    const std::int64_t attempts = (before ? before->attempts : 0) + 1;
    folder_.fail({item.name, reason, plan_.bytes(item), attempts, first_round_});
    core::log_warn("{}: {} failed: {}{}", plan_.name, item.name, reason,
                   first_round_ ? "; it is tried once more after the others" : "");
    if (first_round_)
      again_.push_back(&item);
    else
      failed_ = true;
  }

  const StagePlan& plan_;
  store::StageFolder& folder_;
  const core::StopFlag& outer_;
  Progress progress_;
  std::vector<const store::Item*> own_, again_;
  std::set<std::string, std::less<>> names_;
  std::mutex lock_;
  std::atomic<bool> stopped_ = false, failed_ = false;
  bool first_round_ = true;
};

std::int64_t allowed_failures(const StagePlan& plan) {
  if (plan.max_failed_items >= 1) return static_cast<std::int64_t>(plan.max_failed_items);
  return static_cast<std::int64_t>(
      std::floor(plan.max_failed_items * static_cast<double>(plan.items.size())));
}

std::string first_names(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMaxNamed); ++i) text += "\n  " + names[i];
  if (names.size() > kMaxNamed) text += fmt::format("\n  and {} more", names.size() - kMaxNamed);
  return text;
}

std::string named(const std::vector<store::FailedItem>& failed) {
  std::vector<std::string> lines;
  for (const store::FailedItem& item : failed)
    lines.push_back(fmt::format("{}: {} ({} attempts)", item.item, item.reason, item.attempts));
  return first_names(lines);
}

void refuse_foreign(const StagePlan& plan, const store::Standing& standing) {
  if (!standing.refused.empty()) core::user_error("{}:{}", plan.name, first_names(standing.refused));
  if (standing.unknown.empty()) return;
  core::user_error(
      "{}: {} holds {} items that the entry does not name (any more): {}; name their source again, or choose "
      "another folder, or remove this one",
      plan.name, plan.folder.string(), standing.unknown.size(), first_names(standing.unknown));
}

/// What rank 0 finds: "stopped", "waiting", "failed" or "complete".
std::string judge(const StagePlan& plan, store::StageFolder& folder, bool own_failed,
                  const core::StopFlag& stop) {
  std::optional<store::Standing> standing = folder.survey(plan.items, stop, plan.sum);
  if (!standing) return "stopped";
  refuse_foreign(plan, *standing);
  const auto failed = static_cast<std::int64_t>(standing->failed.size());
  if (!standing->pending.empty()) {
    if (failed > 0) core::log_warn("{}: {} items failed:{}", plan.name, failed, named(standing->failed));
    core::log_info("{}: this share is done; {} waits for {} more items (of other tasks or calls)", plan.name,
                   plan.folder.string(), standing->pending.size());
    return own_failed ? "failed" : "waiting";
  }
  if (failed > allowed_failures(plan)) {
    core::log_error(
        "{}: {} of {} items failed:{}\nmend their sources and run the same command again (it tries these "
        "alone), or close the folder without them: max_failed_items={}",
        plan.name, failed, plan.items.size(), named(standing->failed), failed);
    return own_failed ? "failed" : "waiting";
  }
  if (standing->done == 0)
    core::user_error("{}: none of {} items could be made:{}", plan.name, plan.items.size(),
                     named(standing->failed));
  plan.check();
  const std::string names = named(standing->failed);
  for (store::FailedItem& item : standing->failed) item.reason = without_place(item.reason);
  const std::int64_t generation = folder.close(*standing, plan.before_visible);
  for (const store::FailedItem& item : standing->failed) plan.discard(item);
  remove_leftovers(folder.path());
  if (failed > 0) core::log_warn("{}: closed without {} items that failed:{}", plan.name, failed, names);
  core::log_info("{}: {} is complete (generation {})", plan.name, plan.folder.string(), generation);
  return "complete";
}

}  // namespace

int run_stage(const StagePlan& plan, comm::Communicator& comm, const core::StopFlag& stop) {
  core::check(!plan.items.empty(), "{}: no work items", plan.name);
  store::StageFolder folder(plan.folder, plan.facts);
  Share share(plan, folder, comm::share_of(comm, plan.task), stop);
  share.run();

  const comm::WiderDeadline others_may_have_longer_shares(comm, kLongestShare_s);
  const bool failed = comm.any(share.failed());
  std::string verdict = "stopped";
  if (!comm.any(share.stopped())) verdict = comm.on_root([&] { return judge(plan, folder, failed, stop); });
  if (verdict == "stopped") {
    core::log_info("{}: stopped as asked; the same command continues", plan.name);
    return core::kRequeueMe;
  }
  return verdict == "failed" ? core::kUserMistake : core::kDone;
}

bool is_complete(const fs::path& folder, std::string_view stage) {
  if (fs::exists(folder / "manifest.jsonl")) return true;
  fmt::print("{} is not complete yet: {} makes it (build/bin/{} or slurm/{}.sbatch with the same --config)\n",
             folder.string(), stage, stage, stage);
  return false;
}

void describe_space(const fs::path& folder) {
  const core::Space space = core::require_space(folder, "MICRODIT_DATA");
  fmt::print("{}: {} and {} files are free at {}\n", folder.string(), core::bytes_text(space.bytes),
             space.inodes, space.at.string());
}

}  // namespace microdit::ingest
