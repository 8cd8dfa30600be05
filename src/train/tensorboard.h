// TensorBoard event files (TFRecord framing, hand-encoded protobuf), readable by stock TensorBoard.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "core/append_file.h"

namespace microdit::train {

class EventFile {
 public:
  /// Opens a new file in `folder` (TensorBoard merges the files of one folder), which begins at `first_step`: readers
  /// drop what earlier lives wrote of later steps (SessionLog START).
  EventFile(const std::filesystem::path& folder, std::int64_t first_step);
  /// One that replaces nothing.
  explicit EventFile(const std::filesystem::path& folder);
  void scalar(const std::string& tag, std::int64_t step, float value);
  void picture(const std::string& tag, std::int64_t step, std::int64_t height, std::int64_t width,
               std::span<const std::byte> png);

 private:
  void record(const std::string& event);
  core::AppendFile file_;
};

/// CRC-32C of the TFRecord format, masked. ("123456789" has the plain CRC e3069283.)
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace microdit::train
