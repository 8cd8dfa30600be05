// One worker: pictures until the socket closes, or one archive.
#include "ingest/worker_serve.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "core/error.h"
#include "image/decode.h"
#include "image/resize.h"
#include "ingest/archive_reader.h"
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

/// From now on, this many seconds more of CPU; the limit is the process's own, so it can be moved.
void limit_cpu(std::uint64_t seconds) {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto spent = static_cast<rlim_t>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1;
  const rlimit both{spent + seconds, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_CPU, &both) != 0) std::_Exit(3);
}

void limit_all() {
  close_inherited();
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_AS, limits::kWorkerMemory);
  limit(RLIMIT_NOFILE, limits::kWorkerFiles);
  limit(RLIMIT_FSIZE, 0);
  // Names in archives; libarchive converts them through the locale.
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

template <std::size_t n>
void put(std::array<char, n>& to, std::string_view text) {
  to = {};
  std::memcpy(to.data(), text.data(), std::min(text.size(), n - 1));
}

std::string_view reason_of(image::BadImage::Why why) {
  switch (why) {
    case image::BadImage::Why::no_header:
      return "damaged.header";
    case image::BadImage::Why::unsupported:
      return "unsupported.format";
    case image::BadImage::Why::too_large:
      return "unsupported.too_large";
    default:
      return "damaged.picture";
  }
}

/// The file that the stage and this worker both map; it grows.
class SharedBytes {
 public:
  std::byte* at_least(std::uint64_t bytes) {
    if (bytes > mapped_) {
      if (data_) ::munmap(data_, mapped_);
      data_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, kWorkerFile, 0);
      if (data_ == MAP_FAILED) std::_Exit(4);
      mapped_ = bytes;
    }
    return static_cast<std::byte*>(data_);
  }

 private:
  void* data_ = nullptr;
  std::uint64_t mapped_ = 0;
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void make_squares(const PictureRequest& request, const image::Image& picture, std::byte* out,
                  PictureReply& reply) {
  const Clock::time_point start = Clock::now();
  for (std::size_t i = 0; i < static_cast<std::size_t>(request.num_sizes); ++i) {
    const std::int64_t size = request.sizes[i];
    reply.made[i] = request.enlarge || size <= std::min(picture.width, picture.height);
    if (!reply.made[i]) continue;
    const image::Image square = image::resize_and_center_crop(picture, size);
    std::memcpy(out, square.pixels.data(), square.pixels.size());
    out += square.pixels.size();
  }
  reply.resize_s = seconds_since(start);
}

/// The reason, or null.
const char* left_out(const PictureRequest& request, std::span<const std::byte> bytes) {
  if (!request.drop_alpha && !request.drop_palette && !request.drop_deep) return nullptr;
  const image::PixelKind kind = image::pixel_kind(bytes);
  if (request.drop_alpha && kind == image::PixelKind::alpha) return "filtered.alpha";
  if (request.drop_palette && kind == image::PixelKind::palette) return "filtered.palette";
  if (request.drop_deep && kind == image::PixelKind::deep) return "filtered.deep";
  return nullptr;
}

void serve_picture(const PictureRequest& request, std::byte* shared, PictureReply& reply) {
  const std::span<const std::byte> bytes(shared, request.bytes);
  const Clock::time_point start = Clock::now();
  try {
    const image::ImageInfo info = image::probe_image(bytes);
    reply.width = info.width;
    reply.height = info.height;
    if (std::min(info.width, info.height) < request.min_side) return put(reply.reason, "filtered.too_small");
    if (request.drop_several_frames && image::has_several_frames(bytes))
      return put(reply.reason, "filtered.several_frames");
    if (const char* left = left_out(request, bytes)) return put(reply.reason, left);
    bool damaged_inside = false;
    const image::Image picture = image::decode(bytes, request.rules, &damaged_inside);
    reply.decode_s = seconds_since(start);
    reply.width = picture.width;  // of a picture that was turned, its sides change over
    reply.height = picture.height;
    if (damaged_inside && request.drop_damaged_inside) return put(reply.reason, "damaged.inside");
    make_squares(request, picture, shared + request.out, reply);
  } catch (const image::BadImage& bad) {
    put(reply.reason, reason_of(bad.why));
    put(reply.detail, bad.what());
  } catch (const std::bad_alloc&) {
    put(reply.reason, "unsupported.memory");
    put(reply.detail, "decoding it needs more memory than a worker may have");
  }
}

int serve_pictures() {
  SharedBytes shared;
  PictureRequest request;
  while (read_all(&request, sizeof request)) {
    limit_cpu(static_cast<std::uint64_t>(request.cpu_seconds));
    PictureReply reply;
    serve_picture(request, shared.at_least(request.shared_bytes), reply);
    write_all(&reply, sizeof reply);
  }
  return 0;
}

void send_member(MemberHeader header, std::string_view name, std::string_view skip,
                 std::span<const std::byte> bytes) {
  header.name_bytes = static_cast<std::uint32_t>(name.size());
  header.skip_bytes = static_cast<std::uint32_t>(skip.size());
  header.bytes = bytes.size();
  write_all(&header, sizeof header);
  write_all(name.data(), name.size());
  write_all(skip.data(), skip.size());
  write_all(bytes.data(), bytes.size());
}

int serve_archive(int argc, char** argv) {
  if (argc < 8) return 3;
  ArchiveRules rules{.kind = argv[4],
                     .wanted = {argv + 8, argv + argc},
                     .member_bytes = std::strtoull(argv[5], nullptr, 10),
                     .expansion = std::strtoull(argv[6], nullptr, 10),
                     .offsets = argv[7] == std::string_view("1"),
                     .pieces = argv[7] == std::string_view("pieces")};
  struct stat status {};
  ::fstat(kWorkerFile, &status);
  const std::uint64_t gibibytes = static_cast<std::uint64_t>(status.st_size) / limits::kGiB + 1;
  limit_cpu(limits::kArchiveSecondsPerGiB * gibibytes);
  using Kind = MemberHeader::Kind;
  try {
    const ArchiveSummary summary = read_archive(kWorkerFile, argv[3], rules, [](Member&& member) {
      send_member({.more = member.more, .offset = member.offset}, member.name, member.skip, member.bytes);
    });
    send_member({.kind = Kind::done, .members = summary.members, .passed_over = summary.passed_over},
                summary.example, "", {});
  } catch (const core::UserError& error) {
    send_member({.kind = Kind::user_error}, error.what(), "", {});
  } catch (const core::FaultError& error) {
    send_member({.kind = Kind::fault}, error.what(), "", {});
  } catch (const core::SystemError& error) {
    send_member({.kind = Kind::system_error}, error.what(), "", {});
  }
  return 0;
}

}  // namespace

int serve(int argc, char** argv) {
  limit_all();
  if (argc < 3 || argv[1] != worker_protocol()) return kOtherProtocol;
  const std::string_view work = argv[2];
  if (work == "pictures") return serve_pictures();
  if (work == "archive") return serve_archive(argc, argv);
  return 3;
}

}  // namespace microdit::ingest
