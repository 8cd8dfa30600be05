// What the tests of tables share: a folder, sources of bytes, the message of an error.
#pragma once

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/scratch_folder.h"
#include "tables/byte_source.h"

namespace microdit::tables {

using core::message_of;
using core::ScratchFolder;

/// The bytes, at most `piece` at a time.
inline ByteSource bytes_of(std::string text, std::size_t piece = 1 << 20) {
  auto at = std::make_shared<std::size_t>(0);
  return [text = std::move(text), piece, at](std::span<std::byte> out) {
    const std::size_t bytes = std::min({out.size(), piece, text.size() - *at});
    std::memcpy(out.data(), text.data() + *at, bytes);
    *at += bytes;
    return bytes;
  };
}

/// `begin`, then `filler` until `bytes` in all, then `end`: endless things that nobody has to hold.
inline ByteSource long_bytes(std::string begin, char filler, std::uint64_t bytes, std::string end = "") {
  auto left = std::make_shared<std::uint64_t>(bytes);
  auto first = std::make_shared<ByteSource>(bytes_of(std::move(begin)));
  auto last = std::make_shared<ByteSource>(bytes_of(std::move(end)));
  return [=](std::span<std::byte> out) -> std::size_t {
    if (const std::size_t got = (*first)(out); got > 0) return got;
    if (*left == 0) return (*last)(out);
    const std::size_t got = std::min<std::uint64_t>(out.size(), *left);
    std::memset(out.data(), filler, got);
    *left -= got;
    return got;
  };
}

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace microdit::tables
