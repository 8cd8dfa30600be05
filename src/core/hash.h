// Checksums: xxh3 for integrity of samples and tensors, SHA-256 for identity of files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/stop_flag.h"

namespace microdit::core {

std::uint64_t xxh3_64(std::span<const std::byte> bytes);
/// 16 lower-case hex digits.
std::string hex(std::uint64_t value);
/// What hex() wrote; nothing of any other text.
std::optional<std::uint64_t> from_hex(std::string_view text);

/// Streaming XXH3-64.
class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  void update(std::span<const std::byte> bytes);
  std::uint64_t digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Streaming SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void update(std::span<const std::byte> bytes);
  /// 64 lower-case hex digits; call once.
  std::string hex_digest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256(std::span<const std::byte> bytes);
/// Of an input file: errors are input_error's (InputFault where a device failed).
std::string sha256_file(const std::filesystem::path& path);
/// The same; nothing when `stop` was seen.
std::optional<std::string> sha256_file(const std::filesystem::path& path, const StopFlag& stop);

}  // namespace microdit::core
