// precompute: samples shards -> latents shards, through the frozen encoders or from a sister recipe.
#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

#include "comm/device.h"
#include "core/error.h"
#include "core/log.h"
#include "ingest/latent_maker.h"
#include "ingest/precompute_plan.h"
#include "ingest/precompute_reuse.h"
#include "ingest/skips.h"
#include "ingest/stage_driver.h"
#include "ingest/stages.h"
#include "store/latent_index.h"

namespace microdit::ingest {
namespace {

constexpr double kLongestWait_s =
    24 * 3600;  // for a rank that takes over, or for rank 0 with an index to mend

/// What the closed folder says of its captions and pictures, once.
class Sums {
 public:
  void add(const store::Record& record) {
    captions_ += count_of(record.details, "captions");
    cut_ += count_of(record.details, "cut");
    longest_ = std::max(longest_, count_of(record.details, "longest"));
    if (!record.details.contains("latents")) return;
    for (const auto& shard : record.shards) samples_ += shard.rows;
    if (record.details.contains("failed_pictures"))
      failed_.merge(Skips::from_json(record.details["failed_pictures"]));
    const core::Json& latents = record.details["latents"];
    for (const auto& [size, count] : latents.get_ref<const core::Json::object_t&>())
      latents_[size] += count_of(latents, size.c_str());
  }
  void say(const Recipe& recipe) const {
    if (cut_ > 0)
      core::log_warn(
          "precompute: {} of {} captions are longer than text.length {} (longest {} tokens): their ends are "
          "cut",
          cut_, captions_, recipe.text.length, longest_);
    const std::int64_t times = recipe.images.samples_per_picture(), pictures = samples_ / times;
    if (!failed_.empty())
      core::log_warn("precompute: {} of {} pictures have no latents, although clean accepted them: {}",
                     failed_.total(), pictures, failed_.text());
    for (const auto& [size, count] : latents_)
      if (count / times + failed_.total() < pictures)
        core::log_info(
            "precompute: {} of {} pictures have no latents of {} px: their shorter side is smaller "
            "(images.enlarge)",
            pictures - failed_.total() - count / times, pictures, size);
  }

 private:
  std::int64_t captions_ = 0, cut_ = 0, longest_ = 0, samples_ = 0;
  std::map<std::string, std::int64_t> latents_;
  Skips failed_;
};

/// With the encoders that `left` needs; null when stopped while their weights were read.
std::unique_ptr<LatentMaker> make_maker(const CatalogueEntry& entry, const PrecomputePlan& plan,
                                        torch::Device device, const std::vector<const LatentItem*>& left,
                                        const core::StopFlag& stop) try {
  const auto has = [&](LatentPart part) {
    return std::ranges::find(left, part, &LatentItem::part) != left.end();
  };
  return std::make_unique<LatentMaker>(entry, plan, device, has(LatentPart::images), has(LatentPart::text),
                                       stop);
} catch (const core::Stopped&) {
  return nullptr;
}

}  // namespace

int precompute(const CatalogueEntry& entry, comm::Communicator& comm, const core::StopFlag& stop) try {
  PrecomputePlan plan = plan_encoders(entry, comm, stop);
  plan_items(entry, plan);
  std::map<std::string, const LatentItem*> by_name;
  for (const LatentItem& item : plan.items) by_name[item.item.name] = &item;
  std::unique_ptr<LatentMaker> maker;

  StagePlan stage;
  stage.name = "precompute";
  stage.unit = entry.part == "images" ? "pictures"
               : entry.part == "text" ? "captions"
                                      : "pictures and captions";
  stage.folder = plan.folder;
  stage.facts = plan.facts;
  for (const LatentItem& item : plan.items) stage.items.push_back(item.item);
  stage.task = entry.task;
  stage.max_failed_items = entry.max_failed_items;
  stage.parallel = 2;  // one encodes, the other reads or writes
  stage.wanted = [&](const store::Item& item) { return is_wanted(entry, by_name.at(item.name)->part); };
  stage.work = [&](const store::Item& item, Progress& progress, const core::StopFlag& inner) {
    return maker->make(*by_name.at(item.name), progress, inner);
  };
  stage.bytes = [&](const store::Item& item) { return by_name.at(item.name)->samples.bytes; };
  Sums sums;
  stage.sum = [&](const store::Record& record) { sums.add(record); };
  stage.check = [&] { sums.say(plan.recipe); };
  stage.before_visible = [&](const store::Manifest& manifest) {
    return store::write_latent_index(plan.folder, manifest, stop);
  };

  std::optional<torch::Device> device;
  const auto choose = [&] {
    if (!device) device.emplace(comm::choose_device(comm, entry.device).name());
  };
  // Before a new folder is made: a device that is not there leaves nothing behind.
  if (comm.any(!std::filesystem::exists(plan.folder / "facts.json"))) choose();
  std::vector<const LatentItem*> own;
  for (const store::Item* item : own_items(stage, comm::share_of(comm, entry.task)))
    own.push_back(by_name.at(item->name));
  const comm::WiderDeadline others_may_have_more(comm, kLongestWait_s);
  const std::vector<const LatentItem*> left = take_over(plan, own, stop);
  if (comm.any(stop.requested())) throw core::Stopped();
  if (comm.any(!left.empty())) {  // else nothing is loaded, and no GPU is touched
    choose();
    if (!left.empty()) maker = make_maker(entry, plan, *device, left, stop);
    if (comm.any(!left.empty() && !maker)) throw core::Stopped();
  }
  const auto start = std::chrono::steady_clock::now();
  int code = run_stage(stage, comm, stop);
  bool mended = true;
  comm.on_root([&] { mended = store::mend_latent_index(plan.folder, stop); });
  if (comm.any(!mended)) code = core::kRequeueMe;
  if (maker) maker->report(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return code;
} catch (const core::Stopped&) {  // on all ranks alike
  core::log_info("precompute: stopped as asked; the same command continues");
  return core::kRequeueMe;
}

}  // namespace microdit::ingest
