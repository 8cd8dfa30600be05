// One worker: pictures until the socket closes, or one archive.
#include "ingest/worker_serve.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "image/decode.h"
#include "image/resize.h"
#include "ingest/archive_reader.h"
#include "ingest/limits.h"
#include "ingest/worker_inside.h"
#include "ingest/worker_messages.h"
#include "ingest/worker_process.h"

namespace microdit::ingest {
namespace {

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

int serve_archive(int argc, char** argv) {
  if (argc < 8) return 3;
  const ArchiveRules rules{.kind = argv[4],
                           .wanted = {argv + 8, argv + argc},
                           .member_bytes = std::strtoull(argv[5], nullptr, 10),
                           .expansion = std::strtoull(argv[6], nullptr, 10),
                           .offsets = argv[7] == std::string_view("1"),
                           .pieces = argv[7] == std::string_view("pieces")};
  limit_file_cpu();
  return answer(argv[3], [&] {
    return read_archive(kWorkerFile, argv[3], rules, [](Member&& member) {
      send_member(member.name, member.skip, member.bytes, member.more, member.offset);
    });
  });
}

}  // namespace

int serve(int argc, char** argv) {
  take_utf8_locale();
  limit_all(limits::kWorkerMemory);
  if (argc < 3 || argv[1] != worker_protocol()) return kOtherProtocol;
  const std::string_view work = argv[2];
  if (work == "pictures") return serve_pictures();
  if (work == "archive") return serve_archive(argc, argv);
  return 3;
}

}  // namespace microdit::ingest
