// link() makes the claim: it is atomic, also on NFS, and never replaces a file that is there.
#include "lives/owner.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/json.h"

namespace microdit::lives {
namespace {

namespace fs = std::filesystem;

std::string read_or_empty(const fs::path& path) {
  try {
    return core::read_text(path);
  } catch (const core::UserError&) {
    return "";  // gone meanwhile
  }
}

/// Of the file that is there now; its name may be another's when the lock is had.
class ClaimLock {
 public:
  explicit ClaimLock(const fs::path& claim) : fd_(::open(claim.c_str(), O_RDWR | O_CLOEXEC)) {
    if (fd_ < 0) fd_ = ::open(claim.c_str(), O_RDONLY | O_CLOEXEC);  // another user's
    while (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~ClaimLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  ClaimLock(const ClaimLock&) = delete;
  ClaimLock& operator=(const ClaimLock&) = delete;

 private:
  int fd_;
};

}  // namespace

Owner::Owner(fs::path folder, const Surroundings& here, const Slurm& slurm)
    : folder_(std::move(folder)), here_(here), slurm_(slurm) {}

std::string Owner::our_text(const std::string& job) const {
  return core::Json{{"key", here_.key},   {"job", job},        {"cluster", here_.cluster},
                    {"host", here_.host}, {"uid", ::getuid()}, {"since", iso_date(now())}}
             .dump() +
         "\n";
}

bool Owner::is_ours(const std::string& text) const {
  const core::Json owner = core::parse_json(text, (folder_ / "owner").string());
  return owner.value("job", "") == here_.job && owner.value("cluster", "") == here_.cluster;
}

bool Owner::create() const {
  const fs::path aside = core::temporary_path(folder_ / ("owner_" + here_.job));
  core::atomic_write(aside, our_text(here_.job));
  const int failed = ::link(aside.c_str(), (folder_ / "owner").c_str()) == 0 ? 0 : errno;
  fs::remove(aside);
  if (failed != 0 && failed != EEXIST)
    core::errno_error(failed, "{}: cannot be created", (folder_ / "owner").string());
  return failed == 0;
}

void Owner::claim() const {
  fs::create_directories(folder_);
  while (!create()) {
    const std::string text = read_or_empty(folder_ / "owner");
    if (text.empty()) continue;
    if (is_ours(text)) return;
    if (!here_.first() || !here_.take_over) judge(text);
    replace(text);
  }
}

void Owner::judge(const std::string& text) const {
  const core::Json owner = core::parse_json(text, (folder_ / "owner").string());
  const std::string job = owner.value("job", ""), cluster = owner.value("cluster", "");
  Holder holder;
  const Reply reply = slurm_.insist([&]() -> Reply {
    const auto answer = slurm_.holder(job, cluster);
    if (!answer) return {Reply::silence, "squeue -j " + job};
    holder = *answer;
    return {Reply::yes, ""};
  });
  const std::string run = folder_.parent_path().string();
  if (reply.kind == Reply::silence)
    core::fault_error("{}: held by job {}; Slurm does not say whether that job still lives", run, job);
  const auto uid = owner.value("uid", ::getuid());
  if (holder.hidden && uid != ::getuid())  // gone, or PrivateData=jobs
    throw Held(
        fmt::format("{}: claimed by job {} of user {} (since {}, started on {}), which Slurm does not show "
                    "to you: whether "
                    "it still lives only they can say. To take the run over all the same: "
                    "MICRODIT_TAKE_OVER=1 sbatch ...",
                    run, job, uid, owner.value("since", "?"), owner.value("host", "?")));
  if (!holder.holds) return;
  throw Held(fmt::format(
      "{}: job {} holds this run ({}, since {}, started on {}). Two jobs on one run would both pay for the "
      "same steps: "
      "wait for it, or end it with \"scancel {}\" and submit again. To take the run over all the same: "
      "MICRODIT_TAKE_OVER=1 sbatch ...",
      run, job, holder.where, owner.value("since", "?"), owner.value("host", "?"), job));
}

/// Moves the claim with this text away. Under its lock, for what another job has claimed meanwhile must stay;
/// where there are no locks, it goes back.
bool Owner::replace(const std::string& text) const {
  const fs::path owner = folder_ / "owner";
  const ClaimLock lock(owner);
  if (read_or_empty(owner) != text) return false;
  const fs::path away = core::temporary_path(folder_ / ("former_owner_" + here_.job));
  if (::rename(owner.c_str(), away.c_str()) != 0) return false;
  const bool as_judged = read_or_empty(away) == text;
  if (!as_judged && ::link(away.c_str(), owner.c_str()) != 0 && errno != EEXIST)
    core::errno_error(errno, "{}: cannot be put back", owner.string());
  fs::remove(away);
  return as_judged;
}

void Owner::hand_over(const std::string& job) const {
  const std::string text = read_or_empty(folder_ / "owner");
  if (!text.empty() && is_ours(text)) core::atomic_write(folder_ / "owner", our_text(job));
}

void Owner::release() const {
  const std::string text = read_or_empty(folder_ / "owner");
  std::error_code ignored;
  if (!text.empty() && is_ours(text)) fs::remove(folder_ / "owner", ignored);
}

}  // namespace microdit::lives
