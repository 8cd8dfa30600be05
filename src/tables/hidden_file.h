// A file that nobody sees until it is published: written from its beginning to its end, read back at any place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "core/stop_flag.h"

namespace microdit::tables {

/// Beside `to`, under core's temporary_path; removed when it is not published. All of it throws SystemError (FaultError of a
/// device) when the disk refuses, and core::Stopped when the flag is seen between two pieces of what is written or read.
class HiddenFile {
 public:
  enum class Use {
    scratch,  ///< read back and removed
    output    ///< synced bit by bit, so that the last sync does not outlast a stop
  };
  HiddenFile(std::filesystem::path to, Use use, const core::StopFlag& stop);
  ~HiddenFile();
  HiddenFile(const HiddenFile&) = delete;

  std::uint64_t size() const { return size_; }
  void append(std::string_view bytes);
  void read_at(std::uint64_t offset, std::span<char> out) const;
  /// Synced and renamed to what the constructor was given.
  void publish();

 private:
  std::filesystem::path to_, aside_;
  Use use_;
  const core::StopFlag& stop_;
  int fd_ = -1;
  std::uint64_t size_ = 0, unsynced_ = 0;
};

}  // namespace microdit::tables
