// One libpng read over bytes in memory; its errors become a message and a longjmp to the caller's setjmp.
#pragma once

#include <png.h>

#include <cstddef>
#include <span>

namespace microdit::image {

struct PngSession {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::byte> rest{};                   ///< not read yet
  std::span<const std::span<const std::byte>> more{};  ///< after `rest`
  char message[96] = "";                               ///< of the last error

  /// Throws std::bad_alloc when libpng has no memory.
  explicit PngSession(std::span<const std::byte> bytes);
  ~PngSession() { png_destroy_read_struct(&png, &info, nullptr); }
  PngSession(const PngSession&) = delete;
  PngSession& operator=(const PngSession&) = delete;
};

}  // namespace microdit::image
