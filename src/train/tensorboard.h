// TensorBoard event files (TFRecord framing, hand-encoded protobuf), readable by stock TensorBoard.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>

namespace microdit::train {

class EventFile {
 public:
  /// Opens a new file in `folder` (TensorBoard merges the files of one folder). `first_step`: part of the
  /// name, so that lives of one run do not collide.
  EventFile(const std::filesystem::path& folder, std::int64_t first_step);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  void scalar(const std::string& tag, std::int64_t step, float value);
  void picture(const std::string& tag, std::int64_t step, std::int64_t height, std::int64_t width,
               std::span<const std::byte> png);
  void flush();

 private:
  void record(const std::string& event);
  std::FILE* file_ = nullptr;
};

/// CRC-32C of the TFRecord format, masked. ("123456789" has the plain CRC e3069283.)
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace microdit::train
