// A tar file (POSIX ustar) whose bytes are a function of its members alone: no times, owners or hosts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace microdit::ingest {

class TarFile {
 public:
  /// Written aside; nothing is visible, and nothing stays, without publish().
  explicit TarFile(std::filesystem::path path);
  ~TarFile();
  TarFile(const TarFile&) = delete;
  TarFile& operator=(const TarFile&) = delete;

  /// Names of up to 100 bytes.
  void add(const std::string& name, std::span<const std::byte> bytes);
  void publish();

 private:
  void write(std::span<const std::byte> bytes);
  std::filesystem::path path_, aside_;
  int fd_ = -1;
};

}  // namespace microdit::ingest
