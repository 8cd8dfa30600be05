// Parts, their merging, progress.
#include "score/gather.h"

#include <torch/utils.h>

#include <algorithm>
#include <chrono>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "score/arrays.h"

namespace microdit::score {
namespace {

namespace fs = std::filesystem;

/// How long the ranks may wait for the slowest one's part: a large network on few cores.
constexpr double kLongestPart_s = 4 * 3600;

std::int64_t num_parts(const GatherPlan& plan) {
  return (plan.count + plan.part_size - 1) / plan.part_size;
}

std::int64_t pictures_of(const GatherPlan& plan, std::int64_t part) {
  return std::min(plan.part_size, plan.count - part * plan.part_size);
}

fs::path part_file(const GatherPlan& plan, std::int64_t part) {
  return plan.folder / fmt::format("part-{:05d}-of-{:05d}.npz", part, num_parts(plan));
}

std::string part_about(const GatherPlan& plan, std::int64_t part) {
  core::Json about = plan.about;
  about["part"] = {part, plan.part_size};
  return about.dump();
}

/// A part that is there and whole; one that is damaged is made again.
std::optional<Moments> read_part(const GatherPlan& plan, std::int64_t part) {
  const fs::path file = part_file(plan, part);
  if (!fs::exists(file)) return std::nullopt;
  try {
    Moments moments = read_moments(file, part_about(plan, part));
    if (moments.dims() == plan.dims && moments.n == pictures_of(plan, part)) return moments;
    core::log_warn("{}: holds {} pictures of {} features: made again", file.string(), moments.n,
                   moments.dims());
  } catch (const core::UserError& wrong) {
    core::log_warn("{}: made again", wrong.what());
  }
  return std::nullopt;
}

fs::path features_file(const GatherPlan& plan, std::int64_t part) {
  return plan.folder / fmt::format("features-{:05d}-of-{:05d}.npz", part, num_parts(plan));
}

void write_features(const GatherPlan& plan, std::int64_t part, const torch::Tensor& features_ND) {
  NpzContents contents;
  contents.add("features", to_array(features_ND));
  contents.add("microdit", part_about(plan, part));
  contents.write(features_file(plan, part));
}

torch::Tensor read_features_of(const GatherPlan& plan, std::int64_t part) {
  const fs::path path = features_file(plan, part);
  const NpzFile file(path);
  const Array features = file.array("features");
  if (file.text("microdit") != part_about(plan, part) ||
      features.shape != std::vector<std::int64_t>{pictures_of(plan, part), plan.dims})
    core::user_error("{}: features of other pictures: remove it", path.string());
  return to_tensor(features);
}

/// Whether nothing of a part is to be made. `merged`: the statistics are there, and its sums with them.
bool is_made(const GatherPlan& plan, std::int64_t part, bool merged) {
  if (!merged && !read_part(plan, part)) return false;
  if (!plan.keep_features) return true;
  if (!fs::exists(features_file(plan, part))) return false;
  try {
    read_features_of(plan, part);
    return true;
  } catch (const core::UserError& wrong) {
    core::log_warn("{}: made again", wrong.what());
    return false;
  }
}

/// Lines for a batch log: how far this rank is, how fast, how long still.
class Pace {
 public:
  Pace(const GatherPlan& plan, std::int64_t total) : what_(plan.what), total_(total) {}
  void add(std::int64_t pictures) {
    done_ += pictures;
    const double now = elapsed(), rate = static_cast<double>(done_) / std::max(now, 1e-3);
    if (done_ < total_ && now - said_ < core::progress_interval_s(static_cast<double>(total_), rate)) return;
    said_ = now;
    core::log_info("{}: {} of this rank's {} ({:.1f}/s), ETA {}", what_, done_, total_, rate,
                   core::duration_text(static_cast<double>(total_ - done_) / rate));
  }

 private:
  double elapsed() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  std::string what_;
  std::int64_t total_, done_ = 0;
  double said_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Makes a part and writes what is wanted of it; false when a stop was seen. The sums last: with them the part counts as made.
bool make_part(const GatherPlan& plan, std::int64_t part, bool merged, Pace& pace,
               const core::StopFlag& stop) {
  Moments moments(plan.dims, plan.device);
  std::vector<torch::Tensor> kept;
  const std::int64_t begin = part * plan.part_size, end = begin + pictures_of(plan, part);
  for (std::int64_t first = begin; first < end; first += plan.batch_size) {
    if (stop.requested()) return false;
    const std::int64_t last = std::min(first + plan.batch_size, end);
    const torch::Tensor features = plan.features(first, last);
    moments.add(features);
    if (plan.keep_features) kept.push_back(features.cpu());
    pace.add(last - first);
  }
  if (plan.keep_features) write_features(plan, part, torch::cat(kept));
  if (!merged) write_moments(part_file(plan, part), moments, part_about(plan, part));
  return true;
}

/// Parts of which something that is wanted is not there. `is_merged`: the sums are.
std::int64_t count_missing(const GatherPlan& plan, bool is_merged) {
  std::int64_t missing = 0;
  for (std::int64_t part = 0; part < num_parts(plan); ++part) {
    const bool sums = is_merged || fs::exists(part_file(plan, part));
    missing += sums && (!plan.keep_features || fs::exists(features_file(plan, part))) ? 0 : 1;
  }
  return missing;
}

/// Rank 0. Nothing when parts are missing; another task may have merged them meanwhile.
std::optional<Statistics> merged(const GatherPlan& plan, std::int64_t& missing) {
  const fs::path file = statistics_file(plan);
  const auto of_others = [&]() -> std::optional<Statistics> {
    missing = count_missing(plan, true);
    if (missing > 0) return std::nullopt;
    return read_statistics(file);
  };
  if (fs::exists(file)) return of_others();
  missing = count_missing(plan, false);
  Moments sums(plan.dims);
  for (std::int64_t part = 0; part < num_parts(plan) && missing == 0; ++part) {
    const std::optional<Moments> one = read_part(plan, part);
    if (one)
      sums.merge(*one);
    else
      ++missing;
  }
  if (missing > 0) {
    if (!fs::exists(file)) return std::nullopt;
    return of_others();  // merged between the two looks
  }
  core::Json about = plan.about;
  about["n"] = plan.count;
  Statistics statistics{sums.gaussian(), about.dump()};
  write_statistics(file, statistics);
  for (std::int64_t part = 0; part < num_parts(plan); ++part) {
    std::error_code another_was_first;
    fs::remove(part_file(plan, part), another_was_first);
  }
  core::remove_stale_temporaries(plan.folder);
  return statistics;
}

}  // namespace

fs::path statistics_file(const GatherPlan& plan) {
  return plan.folder / "statistics.npz";
}

torch::Tensor read_features(const GatherPlan& plan) {
  std::vector<torch::Tensor> parts;
  for (std::int64_t part = 0; part < num_parts(plan); ++part) parts.push_back(read_features_of(plan, part));
  return torch::cat(parts);
}

Gathered gather(const GatherPlan& plan, const comm::Share& share, comm::Communicator& comm,
                const core::StopFlag& stop) {
  const torch::NoGradGuard no_grad;
  const comm::WiderDeadline others_may_be_slower(comm, kLongestPart_s);
  Gathered result;
  const bool is_merged = comm.on_root([&] {
    if (fs::exists(statistics_file(plan))) return std::string("merged");
    fs::create_directories(plan.folder);
    return std::string();
  }) == "merged";
  if (!is_merged || plan.keep_features) {
    std::vector<std::int64_t> own;
    std::int64_t pictures = 0;
    for (std::int64_t part = 0; part < num_parts(plan); ++part) {
      if (!share.owns(part) || is_made(plan, part, is_merged)) continue;
      own.push_back(part);
      pictures += pictures_of(plan, part);
    }
    Pace pace(plan, pictures);
    const std::int64_t rounds = (num_parts(plan) + share.slots - 1) / share.slots;
    for (std::int64_t round = 0; round < rounds && !result.stopped; ++round) {
      if (round < std::ssize(own)) {
        const std::int64_t part = own[static_cast<std::size_t>(round)];
        if (make_part(plan, part, is_merged, pace, stop) && comm.rank() == 0)
          core::report_progress(fmt::format("part {} of {}", part, plan.what));
      }
      result.stopped = comm.any(stop.requested());
    }
    if (result.stopped) return result;
  }
  const std::string missing = comm.on_root([&] {
    std::int64_t count = 0;
    result.statistics = merged(plan, count);
    return std::to_string(count);
  });
  result.missing = std::stoll(missing);
  if (result.missing == 0 && !result.statistics) result.statistics = read_statistics(statistics_file(plan));
  return result;
}

}  // namespace microdit::score
