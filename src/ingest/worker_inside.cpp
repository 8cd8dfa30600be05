// Limits before any foreign byte is read; blocking reads and writes of whole messages; errors become words.
#include "ingest/worker_inside.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "core/error.h"
#include "ingest/limits.h"
#include "ingest/worker_messages.h"
#include "ingest/worker_process.h"

namespace microdit::ingest {
namespace {

/// Whatever the stage had open, communicators and devices too, is not for here.
void close_inherited() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (!folder) return;
  std::vector<int> open;
  while (const dirent* entry = ::readdir(folder)) {
    const int fd = std::atoi(entry->d_name);
    if (fd > kWorkerFile && fd != ::dirfd(folder)) open.push_back(fd);
  }
  ::closedir(folder);
  for (const int fd : open) ::close(fd);
}

void limit(__rlimit_resource resource, rlim_t value) {
  const rlimit both{value, value};
  if (::setrlimit(resource, &both) != 0) std::_Exit(3);
}

void send_message(MemberHeader header, std::string_view name, std::string_view skip,
                  std::span<const std::byte> bytes) {
  header.name_bytes = static_cast<std::uint32_t>(name.size());
  header.skip_bytes = static_cast<std::uint32_t>(skip.size());
  header.bytes = bytes.size();
  write_all(&header, sizeof header);
  write_all(name.data(), name.size());
  write_all(skip.data(), skip.size());
  write_all(bytes.data(), bytes.size());
}

}  // namespace

void limit_cpu(std::uint64_t seconds) {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto spent = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1;
  const rlimit both{spent + seconds, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_CPU, &both) != 0) std::_Exit(3);
}

void limit_all(std::uint64_t memory) {
  close_inherited();
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_AS, memory);
  limit(RLIMIT_NOFILE, limits::kWorkerFiles);
  limit(RLIMIT_FSIZE, 0);
  ::signal(SIGXFSZ, SIG_IGN);  // what a library tells a log is lost, and costs nothing else
}

void take_utf8_locale() {
  for (const char* locale : {"C.UTF-8", "C.utf8", "en_US.UTF-8"})
    if (std::setlocale(LC_ALL, locale)) return;
  std::fputs(
      "ingest_worker: this system has no UTF-8 locale (C.UTF-8, en_US.UTF-8): names in zips that are not "
      "plain ASCII are damaged.name\n",
      stderr);
}

bool read_all(void* to, std::size_t size) {
  auto* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = ::recv(kWorkerSocket, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void write_all(const void* from, std::size_t size) {
  const auto* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t sent = ::send(kWorkerSocket, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) std::_Exit(0);  // nobody listens any more
    at += sent;
    size -= static_cast<std::size_t>(sent);
  }
}

void send_member(std::string_view name, std::string_view skip, std::span<const std::byte> bytes, bool more,
                 std::int64_t offset) {
  send_message({.more = more, .offset = offset}, name, skip, bytes);
}

std::uint64_t limit_file_cpu() {
  struct stat status {};
  ::fstat(kWorkerFile, &status);
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  limit_cpu(limits::kArchiveSecondsPerGiB * (bytes / limits::kGiB + 1));
  return bytes;
}

int answer(const std::string& name, const std::function<ArchiveSummary()>& work) {
  using Kind = MemberHeader::Kind;
  try {
    const ArchiveSummary summary = work();
    send_message({.kind = Kind::done, .members = summary.members, .passed_over = summary.passed_over},
                 summary.example, "", {});
  } catch (const core::UserError& error) {
    send_message({.kind = Kind::user_error}, error.what(), "", {});
  } catch (const core::FaultError& error) {
    send_message({.kind = Kind::fault}, error.what(), "", {});
  } catch (const core::SystemError& error) {
    send_message({.kind = Kind::system_error}, error.what(), "", {});
  } catch (const std::bad_alloc&) {
    send_message({.kind = Kind::user_error}, name + ": reading it needs more memory than its worker may have",
                 "", {});
  }
  return 0;
}

}  // namespace microdit::ingest
