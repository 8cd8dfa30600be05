// Sister recipes: latents/DATASET/*/ with equal settings of one part.
#include "ingest/precompute_reuse.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/log.h"

namespace microdit::ingest {
namespace {

namespace fs = std::filesystem;

/// The folders beside the plan's whose shards of `part` are made as the plan's are, by name.
std::vector<store::StageFolder> sisters_of(const PrecomputePlan& plan, const core::Json& facts,
                                           LatentPart part) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(plan.folder.parent_path()))
    if (entry.path() != plan.folder) folders.push_back(entry.path());
  std::ranges::sort(folders);
  std::vector<store::StageFolder> sisters;
  for (const fs::path& folder : folders) {
    try {
      if (!core::input_bytes(folder / "facts.json")) continue;
      const core::Json there = core::read_json(folder / "facts.json");
      if (there.is_object() && facts_of_part(there, part) == facts_of_part(facts, part))
        sisters.emplace_back(folder, there);
    } catch (const std::runtime_error& unreadable) {
      core::log_warn("{}; nothing is taken over from it", core::judge(unreadable).message);
    }
  }
  return sisters;
}

/// Makes `to` another name of `from`, or a copy where the file system knows no links. False when stopped before it was.
bool link_or_copy(const fs::path& from, const fs::path& to, const core::StopFlag& stop) {
  const fs::path aside = core::temporary_path(to);
  std::error_code error;
  fs::create_hard_link(from, aside, error);
  if (!error) {
    core::publish(aside, to);
    return true;
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(from.c_str(), "rb"), std::fclose);
  if (!in) core::input_error(errno, "{}: cannot be opened", from.string());
  core::Aside copy(to);
  std::vector<std::byte> piece(4 << 20);
  while (const std::size_t got = std::fread(piece.data(), 1, piece.size(), in.get())) {
    if (stop.requested()) return false;
    copy.write(std::span(piece).first(got));
  }
  if (std::ferror(in.get())) core::input_error(errno, "{}: cannot be read", from.string());
  copy.publish();
  return true;
}

void say_made_here(const std::exception& unreadable) {
  core::log_warn("{}; it is not taken over from there", unreadable.what());
}

/// A sister's record of this item whose one shard is there.
std::optional<store::Record> record_in(const store::StageFolder& sister, const LatentItem& item) {
  try {
    std::optional<store::Record> record = sister.find(item.item);  // its size, and the samples' SHA-256
    if (record && record->shards.size() == 1 && record->shards[0].file == item.file()) return record;
  } catch (const core::UserError&) {  // made from other samples
  } catch (const core::FaultError& unreadable) {
    say_made_here(unreadable);
  }
  return std::nullopt;
}

/// That record, after its shard got its name among the plan's; nothing where the sister has none that can be read.
std::optional<store::Record> take(const store::StageFolder& sister, const LatentItem& item,
                                  const PrecomputePlan& plan, const core::StopFlag& stop) {
  std::optional<store::Record> record = record_in(sister, item);
  try {
    if (record && link_or_copy(sister.path() / item.file(), plan.folder / item.file(), stop)) return record;
  } catch (const core::UserError& unreadable) {
    say_made_here(unreadable);
  } catch (const core::InputFault& unreadable) {
    say_made_here(unreadable);
  }
  return std::nullopt;
}

}  // namespace

std::vector<const LatentItem*> take_over(const PrecomputePlan& plan,
                                         const std::vector<const LatentItem*>& own,
                                         const core::StopFlag& stop) {
  std::vector<const LatentItem*> left = own;
  if (!fs::is_directory(plan.folder.parent_path())) return left;
  store::StageFolder folder(plan.folder, plan.facts);
  const core::Json facts = core::read_json(plan.folder / "facts.json");
  std::set<const LatentItem*> unseen;  // perhaps done: not to be made again
  std::erase_if(left, [&](const LatentItem* item) {
    try {
      return !stop.requested() && folder.done(item->item.name);
    } catch (const core::FaultError&) {  // the stage says so
      unseen.insert(item);
      return false;
    }
  });
  for (const LatentPart part : {LatentPart::images, LatentPart::text}) {
    if (std::ranges::find(left, part, &LatentItem::part) == left.end()) continue;
    for (const store::StageFolder& sister : sisters_of(plan, facts, part)) {
      std::int64_t taken = 0, rows = 0;
      std::erase_if(left, [&](const LatentItem* item) {
        if (item->part != part || unseen.contains(item) || stop.requested()) return false;
        std::optional<store::Record> record = take(sister, *item, plan, stop);
        if (!record) return false;
        rows += record->shards[0].rows;
        ++taken;
        folder.commit(item->item, std::move(*record));
        return true;
      });
      if (taken > 0)
        core::log_info("precompute: took over the {} of {} samples ({} shards) from {}: equal settings",
                       part == LatentPart::images ? "latents" : "text rows", rows, taken,
                       sister.path().string());
    }
  }
  return left;
}

}  // namespace microdit::ingest
