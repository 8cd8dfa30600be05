// The life of a stage: own items one after another, failing ones once more, then the verdict on the whole folder.
#include "ingest/stage_driver.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "ingest/leftovers.h"
#include "ingest/not_before.h"
#include "ingest/stage_verdict.h"

namespace microdit::ingest {
namespace {

constexpr double kLongestShare_s = 7 * 24 * 3600;
constexpr int kMaxRefusedNamed = 20;
constexpr auto kLookAtStop = std::chrono::milliseconds(50);

std::string_view name_of(const store::Item* item) {
  return item->name;
}

/// Items in their order; those that were set aside are due again when their time has come, before the others unless they
/// yield to them.
class ItemQueue {
 public:
  explicit ItemQueue(std::span<const store::Item* const> items) : fresh_(items) {}

  /// Waits while all that are left are set aside; nullptr when none is left, or stopped.
  const store::Item* next(const core::StopFlag& stop) {
    for (; !stop.requested(); std::this_thread::sleep_for(kLookAtStop)) {
      const std::scoped_lock lock(lock_);
      if (const store::Item* due = first_due(aside_)) return due;
      if (at_ < fresh_.size()) return fresh_[at_++];
      if (const store::Item* due = first_due(yielding_)) return due;
      if (aside_.empty() && yielding_.empty()) return nullptr;
    }
    return nullptr;
  }
  void set_aside(const store::Item* item, const NotBefore& until) {
    const std::scoped_lock lock(lock_);
    (until.yields ? yielding_ : aside_).emplace(until.time, item);
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Aside = std::multimap<Clock::time_point, const store::Item*>;

  static const store::Item* first_due(Aside& aside) {
    const auto first = aside.begin();
    return first != aside.end() && first->first <= Clock::now() ? aside.extract(first).mapped() : nullptr;
  }

  std::mutex lock_;
  std::span<const store::Item* const> fresh_;
  std::size_t at_ = 0;
  Aside aside_, yielding_;
};

/// This process's share of a stage.
class Share {
 public:
  Share(const StagePlan& plan, store::StageFolder& folder, const comm::Share& share,
        const core::StopFlag& stop)
      : plan_(plan),
        folder_(folder),
        outer_(stop),
        own_(own_items(plan, share)),
        progress_(plan.name, plan.unit, std::ssize(own_)) {}

  void run() {
    remove_temporaries(folder_.path(), [&](std::string_view file) {
      return belongs_to(
          file, [&](std::string_view name) { return std::ranges::binary_search(own_, name, {}, name_of); });
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
    progress_.finish(stopped());
  }
  bool stopped() const { return postponed_ || outer_.requested(); }
  bool failed() const { return failed_; }
  bool unreadable() const { return unreadable_; }

 private:
  bool is_done(const store::Item& item) {
    try {
      return folder_.find(item).has_value();
    } catch (const core::UserError& other_inputs) {
      if (++refused_ <= kMaxRefusedNamed) core::log_error("{}: {}", plan_.name, other_inputs.what());
      failed_ = true;
      return true;
    } catch (const core::FaultError& unseen) {  // neither done nor to be made again
      const std::string way = way_out(plan_, unseen.what());
      if (++unseen_ <= kMaxRefusedNamed)
        core::log_error("{}: {}{}{}", plan_.name, unseen.what(),
                        way.empty() ? "" : "; when no machine can read it any more: ", way);
      unreadable_ = true;
      return true;
    }
  }

  void work_on(const std::vector<const store::Item*>& items) {
    const auto threads =
        std::min(static_cast<std::size_t>(std::max<std::int64_t>(plan_.parallel, 1)), items.size());
    ItemQueue queue(items);
    if (threads > 1) return work_in_threads(queue, threads);
    work_through(queue, outer_);
  }

  void work_through(ItemQueue& queue, const core::StopFlag& stop) {
    while (const store::Item* item = queue.next(stop)) {
      try {
        attempt(*item, stop);
      } catch (const NotBefore& until) {
        queue.set_aside(item, until);
      }
    }
  }

  void work_in_threads(ItemQueue& queue, std::size_t threads) {
    core::StopFlag inner;  // also when one thread meets an error that ends the stage
    std::atomic<std::size_t> running = threads;
    std::exception_ptr error;
    std::vector<std::jthread> pool;
    for (std::size_t i = 0; i < threads; ++i) {
      pool.emplace_back([&] {
        try {
          work_through(queue, inner);
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
    std::optional<store::Record> record;
    try {
      if (!first_round_) mark_tried(item);
      record = plan_.work(item, progress_, stop);
    } catch (const core::UserError& reason) {
      return fail(item, reason.what(), false);
    } catch (const core::InputFault& reason) {
      return fail(item, reason.what(), true);
    }
    if (!record) {  // stopped; or another process has the item in hand, and the next life looks again
      postponed_ = true;
      return;
    }
    {
      const std::scoped_lock lock(lock_);
      folder_.commit(item, *record);
    }
    plan_.committed(*record);
    progress_.item_done(true);
  }

  /// Nobody closes the folder without an item that is being tried again.
  void mark_tried(const store::Item& item) {
    const std::scoped_lock lock(lock_);
    if (!tried_.insert(&item).second) return;
    auto before = folder_.failure(item.name);
    if (!before || before->again) return;
    before->again = true;
    folder_.fail(*before);
  }

  void fail(const store::Item& item, const std::string& reason, bool fault) {
    const std::scoped_lock lock(lock_);
    const auto before = folder_.failure(item.name);
    const std::int64_t attempts = (before ? before->attempts : 0) + 1;
    folder_.fail({item.name, reason, plan_.bytes(item), attempts, first_round_, fault});
    core::log_warn("{}: {} failed: {}{}", plan_.name, item.name, reason,
                   first_round_ ? "; it is tried once more after the others" : "");
    if (first_round_) {
      again_.push_back(&item);
      return;
    }
    failed_ = true;
    if (fault) unreadable_ = true;
  }

  const StagePlan& plan_;
  store::StageFolder& folder_;
  const core::StopFlag& outer_;
  const std::vector<const store::Item*> own_;  ///< by name
  std::vector<const store::Item*> again_;
  std::set<const store::Item*> tried_;  ///< once more
  Progress progress_;
  std::mutex lock_;
  std::atomic<bool> postponed_ = false, failed_ = false, unreadable_ = false;
  bool first_round_ = true;
  int refused_ = 0, unseen_ = 0;
};

}  // namespace

std::vector<const store::Item*> own_items(const StagePlan& plan, const comm::Share& share) {
  std::vector<const store::Item*> own;
  for (std::size_t i = 0; i < plan.items.size(); ++i)
    if (share.owns(static_cast<std::int64_t>(i)) && plan.wanted(plan.items[i])) own.push_back(&plan.items[i]);
  std::ranges::sort(own, {}, name_of);
  return own;
}

int run_stage(const StagePlan& plan, comm::Communicator& comm, const core::StopFlag& stop) {
  core::check(!plan.items.empty(), "{}: no work items", plan.name);
  store::StageFolder folder(plan.folder, plan.facts);
  comm.on_root([&] { refuse_unknown(plan); });
  Share share(plan, folder, comm::share_of(comm, plan.task), stop);
  share.run();

  const comm::WiderDeadline others_may_have_longer_shares(comm, kLongestShare_s);
  const OwnItems own{.failed = comm.any(share.failed()), .unreadable = comm.any(share.unreadable())};
  std::string verdict = "stopped";
  if (!comm.any(share.stopped()))
    verdict = comm.on_root([&] { return judge_folder(plan, folder, own, stop); });
  if (verdict == "stopped") {
    core::log_info("{}: stopped as asked; the same command continues", plan.name);
    return core::kRequeueMe;
  }
  return verdict == "failed" ? core::kUserMistake : core::kDone;
}

}  // namespace microdit::ingest
