// A log that only grows and whose failure must not end a job: what cannot be written now is written with the next.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace microdit::core {

class AppendFile {
 public:
  /// Opens or creates. SystemError or FaultError when it cannot.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Writes `bytes` behind what is there, in order and whole. When the disk refuses, it warns once until it works
  /// again and keeps up to 64 MiB for the next call; what would go beyond is given up, with a warning.
  void append(std::string_view bytes);
  /// Makes what was written durable; a failure only warns.
  void sync();

 private:
  bool flush();

  std::filesystem::path path_;
  int fd_ = -1;
  std::string waiting_;
  bool warned_ = false;
};

}  // namespace microdit::core
