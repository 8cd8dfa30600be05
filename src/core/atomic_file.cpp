// Write aside, fsync, rename, fsync the folder; every failure names the path and removes what was written aside.
#include "core/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <random>
#include <regex>
#include <utility>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/hash.h"

namespace microdit::core {
namespace {

namespace fs = std::filesystem;

/// Closes on scope exit; a writer calls close() itself, because close may report a late write error.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

[[noreturn]] void fail(const fs::path& path, const char* what, int error) {
  errno_error(error, "{}: {}", path.string(), what);
}

/// Fails after removing `aside`.
[[noreturn]] void discard(const fs::path& aside, const fs::path& path, const char* what, int error) {
  std::error_code ignored;
  fs::remove_all(aside, ignored);
  fail(path, what, error);
}

/// Tells hosts apart, and containers on one host: processes of equal mark see each other's pids.
const std::string& host_mark() {
  static const std::string mark = [] {
    std::string all = host_name() + boot_id();
    std::array<char, 256> text{};
    const ssize_t length = ::readlink("/proc/self/ns/pid", text.data(), text.size());
    if (length > 0) all.append(text.data(), static_cast<std::size_t>(length));
    return fmt::format("{:08x}", static_cast<std::uint32_t>(xxh3_64(std::as_bytes(std::span(all)))));
  }();
  return mark;
}

/// Killed, but nobody has asked for its end yet: where no init does so, that may last for ever.
bool is_dead(pid_t pid) {
  Descriptor file(::open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> text{};
  const ssize_t length = file.get() < 0 ? 0 : ::read(file.get(), text.data(), text.size());
  const std::string_view stat(text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  const std::size_t name_end = stat.rfind(')');  // the name itself may hold anything
  if (name_end == std::string_view::npos || name_end + 2 >= stat.size()) return false;
  return stat[name_end + 2] == 'Z' || stat[name_end + 2] == 'X';
}

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

}  // namespace

std::string generation() {
  static const std::string name = [] {
    std::random_device entropy;
    return fmt::format("j{}r{}h{}p{}x{:08x}", variable("SLURM_JOB_ID", "0"),
                       variable("SLURM_RESTART_COUNT", "0"), host_mark(), ::getpid(), entropy());
  }();
  return name;
}

namespace {
/// Names that temporary_path gives.
const std::regex& form_of_ours() {
  static const std::regex form(R"(\..*\.j(\d+)r(\d+)h([0-9a-f]{8})p(\d+)x[0-9a-f]+(x[0-9a-f]+)?\.tmp)");
  return form;
}
}  // namespace

bool is_abandoned(const fs::path& file) {
  std::smatch found;
  const std::string name = file.filename().string();
  if (!std::regex_match(name, found, form_of_ours())) return true;  // nobody of ours
  if (found[3] == host_mark()) {
    const auto pid = static_cast<pid_t>(std::stol(found[4]));
    return (::kill(pid, 0) != 0 && errno == ESRCH) || is_dead(pid);
  }
  const std::string job = variable("SLURM_JOB_ID", "0");
  if (job != "0" && found[1] == job)
    return std::stol(found[2]) < std::stol(variable("SLURM_RESTART_COUNT", "0"));
  std::error_code error;
  const auto age = fs::file_time_type::clock::now() - fs::last_write_time(file, error);
  return !error && age > std::chrono::minutes(15);
}

fs::path temporary_path(const fs::path& path) {
  return path.parent_path() / fmt::format(".{}.{}.tmp", path.filename().string(), generation());
}

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote == 0) errno = EIO;  // nothing was taken, and no reason given
    if (wrote <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return true;
}

void publish(const fs::path& aside, const fs::path& path) {
  {
    Descriptor written(::open(aside.c_str(), O_RDONLY | O_CLOEXEC));
    if (written.get() < 0) discard(aside, path, "cannot reopen what was written", errno);
    if (::fsync(written.get()) != 0) discard(aside, path, "cannot sync to disk", errno);
  }
  if (::rename(aside.c_str(), path.c_str()) != 0) discard(aside, path, "cannot rename into place", errno);
  sync_folder(folder_of(path));
}

void atomic_write(const fs::path& path, std::span<const std::span<const std::byte>> pieces) {
  const fs::path aside = temporary_path(path);
  Descriptor file(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));  // less the umask
  if (file.get() < 0) fail(path, "cannot create a file beside it", errno);
  for (std::span<const std::byte> piece : pieces) {
    if (!write_all(file.get(), piece)) discard(aside, path, "cannot write", errno);
  }
  if (::fsync(file.get()) != 0) discard(aside, path, "cannot sync to disk", errno);
  if (!file.close()) discard(aside, path, "cannot close", errno);
  publish(aside, path);
}

void atomic_write(const fs::path& path, std::span<const std::byte> bytes) {
  const std::array<std::span<const std::byte>, 1> pieces{bytes};
  atomic_write(path, std::span<const std::span<const std::byte>>(pieces));
}

void atomic_write(const fs::path& path, std::string_view text) {
  atomic_write(path, std::as_bytes(std::span(text.data(), text.size())));
}

Aside::Aside(const fs::path& to) : to_(to), aside_(temporary_path(to)) {
  fd_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd_ < 0) errno_error(errno, "{}: cannot be written", aside_.string());
}

Aside::~Aside() {
  if (fd_ >= 0) ::close(fd_);
  std::error_code ignored;
  if (!published_) fs::remove(aside_, ignored);
}

void Aside::write(std::span<const std::byte> bytes) {
  if (!write_all(fd_, bytes)) errno_error(errno, "{}: cannot be written", to_.string());
}

void Aside::publish() {
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) errno_error(errno, "{}: cannot be written", to_.string());
  core::publish(aside_, to_);
  published_ = true;
}

void remove_stale_temporaries(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error == std::errc::no_such_file_or_directory) return;
  if (error) fail(folder, "cannot list", error.value());
  std::vector<fs::path> stale;
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.') && name.ends_with(".tmp") && is_abandoned(entry.path()))
      stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) {
    fs::remove_all(path, error);  // another task may have been faster: then there is nothing to remove
    if (error && error != std::errc::no_such_file_or_directory) fail(path, "cannot remove", error.value());
  }
}

void remove_stale_temporaries_of(const fs::path& file) {
  const std::string begin = fmt::format(".{}.j", file.filename().string());
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(file), error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(begin) && std::regex_match(name, form_of_ours()) && is_abandoned(entry.path()))
      fs::remove_all(entry.path(), error);
  }
}

void sync_folder(const fs::path& folder) {
  Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0) fail(folder, "cannot open the folder", errno);
  // Some network file systems cannot sync a folder and say so with EINVAL; the rename is all they offer.
  if (::fsync(opened.get()) != 0 && errno != EINVAL) fail(folder, "cannot sync the folder", errno);
}

std::string read_text(const fs::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) {
      user_error("{}: cannot open: {}", path.string(), std::strerror(errno));
    }
    fail(path, "cannot open", errno);
  }
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) fail(path, "cannot stat", errno);
  if (S_ISDIR(about.st_mode)) user_error("{}: is a folder, a file is needed", path.string());
  std::string text;
  std::size_t filled = 0;
  text.resize(static_cast<std::size_t>(std::max<off_t>(about.st_size, 0)) + 1);
  while (true) {
    const ssize_t got = ::read(file.get(), text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, "cannot read", errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    if (filled == text.size()) text.resize(text.size() * 2);  // it grew, or it is a pipe
  }
  text.resize(filled);
  return text;
}

}  // namespace microdit::core
