// Opening a run for the first time and again.
#include "train/run_folder.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "core/append_file.h"
#include "core/atomic_file.h"
#include "core/dataset_folder.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/later_facts.h"
#include "core/log.h"
#include "train/advice.h"
#include "train/train_config.h"

namespace microdit::train {
namespace {

using core::Json;

/// `key` itself or a section that holds it.
core::AtResume rule_of(const std::string& key, const std::map<std::string, core::AtResume>& rules) {
  for (const auto& [prefix, rule] : rules) {
    if (key == prefix || key.starts_with(prefix + ".")) return rule;
  }
  return core::AtResume::fixed;
}

void compare(const Json& a, const Json& b, const std::string& at, std::vector<Difference>& out) {
  if (a.is_object() && b.is_object()) {
    const auto below = [&](const std::string& key) { return at.empty() ? key : at + "." + key; };
    for (const auto& [key, value] : a.items())
      compare(value, b.contains(key) ? b[key] : Json(), below(key), out);
    for (const auto& [key, value] : b.items()) {
      if (!a.contains(key)) compare(Json(), value, below(key), out);
    }
  } else if (a != b) {
    out.push_back({at, fmt::format("{}: {} -> {}", at, a.dump(), b.dump())});
  }
}

/// A member's text; "" where there is none.
std::string text_of(const Json& json, const char* key) {
  const bool is_text = json.is_object() && json.contains(key) && json[key].is_string();
  return is_text ? json[key].get<std::string>() : "";
}

/// Recipes that the settings of a run leave open are those that it began with.
void name_recipes(Json& settings, const Json& facts) {
  if (!settings.contains("data")) return;
  std::size_t number = 0;
  for (Json& source : settings["data"]) {
    if (source.contains("recipe") && source["recipe"] == "")
      source["recipe"] = recorded_recipe(facts, number, text_of(source, "dataset"));
    ++number;
  }
}

/// What the holder of a run says of itself.
Json own_mark() {
  const std::string life = core::variable("SLURM_RESTART_COUNT");
  return {{"host", core::host_name()},
          {"pid", ::getpid()},
          {"job", core::variable("SLURM_JOB_ID")},
          {"life", life.empty() ? 0 : std::stoi(life)}};
}

/// flock, given a few seconds: a process that has just been killed may still be leaving.
bool lock(int fd, const std::filesystem::path& path) {
  constexpr int kTries = 15;
  for (int i = 0; i < kTries; ++i) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) {
      core::log_warn(
          "{}: this file system has no locks ({}): a second training of this run would not be noticed",
          path.string(), std::strerror(errno));
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return false;
}

}  // namespace

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

std::vector<Difference> differing_settings(const Json& old_settings, const Json& new_settings) {
  std::vector<Difference> out;
  compare(old_settings, new_settings, "", out);
  return out;
}

std::string recorded_recipe(const Json& facts, std::size_t number, const std::string& dataset) {
  if (!facts.contains("data") || !facts["data"].is_array() || facts["data"].size() <= number) return "";
  const Json& source = facts["data"][number];
  const std::filesystem::path recorded = text_of(source, "dataset");
  if (dataset.find('/') == std::string::npos) return recorded == dataset ? text_of(source, "recipe") : "";
  // A path is recorded as that of its recipe's folder.
  return recorded.parent_path() == core::whole_path(dataset) ? recorded.filename().string() : "";
}

bool RunFolder::exists(comm::Communicator& comm) const {
  return comm.on_root([&] { return std::string(std::filesystem::exists(settings()) ? "yes" : ""); }) == "yes";
}

void RunFolder::compare_settings(const RunSettings& now, comm::Communicator& comm) const {
  comm.on_root([&] {
    if (!std::filesystem::exists(settings())) return;
    std::vector<std::string> refused, keys;
    Json begun = core::read_json(settings());
    if (std::filesystem::exists(facts())) name_recipes(begun, core::read_json(facts()));
    for (const Difference& difference : differing_settings(begun, now.json)) {
      switch (rule_of(difference.key, now.at_resume)) {
        case core::AtResume::fixed:
          refused.push_back(difference.text);
          keys.push_back(difference.key);
          break;
        case core::AtResume::rounding:
          core::log_warn("{}: {} (from here on the rounding differs; nothing else)", path_.string(),
                         difference.text);
          break;
        case core::AtResume::free:
          break;
      }
    }
    if (!refused.empty()) {
      core::user_error("{}: the run was started with other settings:\n  {}\n{}", path_.string(),
                       fmt::join(refused, "\n  "), advice_for_changes(*this, keys, now));
    }
  });
}

void RunFolder::compare_facts(const Json& now, comm::Communicator& comm) const {
  comm.on_root([&] {
    if (!std::filesystem::exists(facts())) return;
    std::vector<std::string> refused;
    Json there = core::read_json(facts()), here = now;
    core::forget_unshared(there, here);
    for (const Difference& difference : differing_settings(there, here)) {
      if (!difference.key.ends_with(".folder")) refused.push_back(difference.text);
    }
    if (!refused.empty()) {
      core::user_error(
          "{}: the run was started on other data:\n  {}\nGive it that data again, or give this run another "
          "name.",
          path_.string(), fmt::join(refused, "\n  "));
    }
  });
}

void RunFolder::take_hold() {
  const std::filesystem::path file = path_ / ".held";
  lock_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) core::errno_error(errno, "{}: cannot be written", file.string());
  const Json own = own_mark();
  if (!lock(lock_, file)) {
    const Json holder = Json::parse(core::read_text(file), nullptr, false);
    const bool readable = holder.is_object();
    const std::string job = readable ? holder.value("job", "") : "";
    const std::string who =
        !readable ? std::string("another process")
                  : fmt::format("process {} on {}{}", holder.value("pid", 0), holder.value("host", "?"),
                                job.empty() ? "" : fmt::format(" (Slurm job {})", job));
    if (!job.empty() && job == own["job"] && holder.value("life", 0) < own["life"].get<int>()) {
      core::log_warn("{}: an earlier life of this job ({}) has not ended yet; it can no longer publish",
                     path_.string(), who);
    } else if (core::variable("MICRODIT_TAKE_OVER") == "1") {
      core::log_warn("{}: taken over from {}", path_.string(), who);
    } else {
      core::user_error(
          "{}: {} is training this run. Wait for it or end it; MICRODIT_TAKE_OVER=1 starts all the same, if "
          "it is known "
          "to be dead; another run needs another name (name=...)",
          path_.string(), who);
    }
  }
  const std::string text = own.dump() + "\n";
  if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, text.data(), text.size(), 0) < 0)
    core::log_warn("{}: {}", file.string(), std::strerror(errno));
}

RunFolder run_folder(const LoopConfig& config) {
  return RunFolder(std::filesystem::path(config.runs) / config.name);
}

void RunFolder::open(const RunSettings& now, const Json& now_facts, comm::Communicator& comm) {
  comm.on_root([&] {
    std::filesystem::create_directories(path_);
    take_hold();
    core::remove_stale_temporaries(path_);
    std::filesystem::create_directories(samples());
    std::filesystem::create_directories(checkpoints());
    core::write_json(facts(), now_facts);
    core::write_json(settings(), now.json);
    core::atomic_write(config(), now.yaml);
    if (!now.life.is_null()) core::AppendFile(lives()).append(now.life.dump() + "\n");
  });
}

}  // namespace microdit::train
