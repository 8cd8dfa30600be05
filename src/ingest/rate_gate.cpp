// Quotas in a JSON file under a lock.
#include "ingest/rate_gate.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include "core/error.h"
#include "core/json.h"

namespace microdit::ingest {
namespace {

constexpr double kSameWindow_s = 5;  ///< two ends of windows that are this close are one window's
constexpr double kShortest_s = 1, kLongest_s = 3600;
constexpr std::size_t kFileBytes = 16 * 1024;
constexpr std::chrono::milliseconds kLockWait{2000}, kLockPoll{10};

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Which of the hub's quotas a request falls under.
std::string quota_of(const std::string& url) {
  if (url.find("/resolve/") != std::string::npos) return "resolvers";
  return url.find("/api/") != std::string::npos ? "api" : "pages";
}

/// The file while it is locked (where locks are).
class LockedFile {
 public:
  explicit LockedFile(const std::filesystem::path& path) : path_(path) {
    std::filesystem::create_directories(
        path.parent_path());  // the first to ask comes before any file of the data root
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) core::errno_error(errno, "{}: cannot be opened", path.string());
    const auto until = std::chrono::steady_clock::now() + kLockWait;
    while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      held_by_another_ = errno == EWOULDBLOCK || errno == EINTR;
      if (!held_by_another_ || std::chrono::steady_clock::now() > until)
        return;  // or there are no locks here
      std::this_thread::sleep_for(kLockPoll);
    }
    held_by_another_ = false;
  }
  ~LockedFile() { ::close(fd_); }
  LockedFile(const LockedFile&) = delete;
  LockedFile& operator=(const LockedFile&) = delete;

  /// For longer than anybody needs it: a node that hangs with it must not hang the others.
  bool is_held_by_another() const { return held_by_another_; }

  /// What a kill or a full disk left half-written counts as nothing: the hub tells again.
  core::Json read() const {
    std::string text(kFileBytes, '\0');
    const ssize_t got = ::pread(fd_, text.data(), text.size(), 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    const core::Json json = core::Json::parse(text, nullptr, false);
    return json.is_object() ? json : core::Json::object();
  }
  void write(const core::Json& json) const {
    const std::string text = json.dump() + "\n";
    if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, text.data(), text.size(), 0) < 0)
      core::errno_error(errno, "{}: cannot be written", path_.string());
  }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  bool held_by_another_ = false;
};

Quota quota_from(const core::Json& all, const std::string& name, bool known_hub) {
  Quota quota;
  if (known_hub) quota.size = name == "resolvers" ? 3000 : 500;
  if (!all.contains(name) || !all[name].is_object()) return quota;
  const core::Json& json = all[name];
  const auto number = [&](const char* key, double otherwise) {
    return json.contains(key) && json[key].is_number() ? json[key].get<double>() : otherwise;
  };
  quota.window_ends = number("window_ends", 0);
  quota.remaining = static_cast<std::int64_t>(number("remaining", -1));
  quota.size = static_cast<std::int64_t>(number("size", static_cast<double>(quota.size)));
  quota.window_s = std::clamp(number("window_s", quota.window_s), kShortest_s, kLongest_s);
  return quota;
}

core::Json json_of(const Quota& quota) {
  return {{"window_ends", quota.window_ends},
          {"remaining", quota.remaining},
          {"size", quota.size},
          {"window_s", quota.window_s}};
}

}  // namespace

double take_request(Quota& quota, double now) {
  if (now >= quota.window_ends || quota.window_ends > now + kLongest_s) {  // over, or another machine's clock
    quota.window_ends = now + quota.window_s;
    quota.remaining = quota.size;
  }
  if (quota.remaining == 0) return quota.window_ends - now;
  if (quota.remaining > 0) --quota.remaining;
  return 0;
}

void note_answer(Quota& quota, const ResponseHeaders& headers, double now) {
  const RateLimit& rate = headers.rate;
  if (rate.quota > 0) quota.size = rate.quota;
  if (rate.window_s > 0) quota.window_s = std::clamp(rate.window_s, kShortest_s, kLongest_s);
  if (rate.remaining >= 0) {
    const double ends = now + std::clamp(rate.reset_s, kShortest_s, kLongest_s);
    const bool same = std::abs(ends - quota.window_ends) < kSameWindow_s && quota.remaining >= 0;
    quota.remaining = same ? std::min(quota.remaining, rate.remaining) : rate.remaining;
    quota.window_ends = ends;
  }
  if (headers.status == 429) {
    const double wait_s = std::max({rate.reset_s, headers.retry_after_s, kShortest_s});
    quota.remaining = 0;
    quota.window_ends = now + std::min(wait_s, kLongest_s);
  }
}

RateGate::RateGate(std::filesystem::path file, bool known_hub)
    : file_(std::move(file)), known_hub_(known_hub) {}

double RateGate::turn(const std::string& url) {
  std::error_code missing;
  if (!known_hub_ && !std::filesystem::exists(file_, missing)) return 0;
  const std::string name = quota_of(url);
  const LockedFile locked(file_);
  if (locked.is_held_by_another()) return kShortest_s;  // the caller asks again, unless it is stopped
  core::Json all = locked.read();
  Quota quota = quota_from(all, name, known_hub_);
  const double wait_s = take_request(quota, now_s());
  all[name] = json_of(quota);
  locked.write(all);
  if (wait_s <= 0) return 0;
  // All who wait wake at about the same time: a little apart.
  std::random_device entropy;
  return wait_s + std::uniform_real_distribution<double>(0, 1)(entropy);
}

void RateGate::note(const std::string& url, const ResponseHeaders& headers) {
  const RateLimit& rate = headers.rate;
  if (rate.remaining < 0 && rate.quota < 0 && headers.status != 429) return;
  const std::string name = quota_of(url);
  const LockedFile locked(file_);
  if (locked.is_held_by_another()) return;  // the next answer tells again
  core::Json all = locked.read();
  Quota quota = quota_from(all, name, known_hub_);
  note_answer(quota, headers, now_s());
  all[name] = json_of(quota);
  locked.write(all);
}

}  // namespace microdit::ingest
