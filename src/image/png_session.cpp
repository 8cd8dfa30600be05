// libpng's callbacks: bytes from memory, errors kept as text, warnings dropped.
#include "image/png_session.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>

namespace microdit::image {
namespace {

constexpr png_alloc_size_t kMaxChunkBytes = 8U << 20U;  // of one unpacked ancillary chunk
constexpr png_uint_32 kMaxCachedChunks = 1000;

[[noreturn]] void keep_error(png_structp png, png_const_charp text) {
  auto* session = static_cast<PngSession*>(png_get_error_ptr(png));
  std::snprintf(session->message, sizeof(session->message), "%s", text);
  png_longjmp(png, 1);
}

void drop_warning(png_structp /*png*/, png_const_charp /*text*/) {}

void read_bytes(png_structp png, png_bytep out, png_size_t count) {
  auto* session = static_cast<PngSession*>(png_get_io_ptr(png));
  while (count > 0) {
    if (session->rest.empty()) {
      if (session->more.empty()) png_error(png, "the file is truncated");
      session->rest = session->more.front();
      session->more = session->more.subspan(1);
    }
    const std::size_t part = std::min(count, session->rest.size());
    if (part > 0) std::memcpy(out, session->rest.data(), part);
    session->rest = session->rest.subspan(part);
    out += part;
    count -= part;
  }
}

}  // namespace

PngSession::PngSession(std::span<const std::byte> bytes) : rest(bytes) {
  png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, keep_error, drop_warning);
  if (png != nullptr) info = png_create_info_struct(png);
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    throw std::bad_alloc();
  }
  png_set_read_fn(png, this, read_bytes);
  png_set_chunk_cache_max(png, kMaxCachedChunks);
  png_set_chunk_malloc_max(png, kMaxChunkBytes);
  png_set_option(png, PNG_MAXIMUM_INFLATE_WINDOW,
                 PNG_OPTION_ON);  // some writers understate the window; Pillow reads them
}

}  // namespace microdit::image
