// A tar file (POSIX ustar) whose bytes are a function of its members alone: no times, owners or hosts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "core/atomic_file.h"

namespace microdit::ingest {

class TarFile {
 public:
  /// Written aside; nothing is visible, and nothing stays, without publish().
  explicit TarFile(const std::filesystem::path& path) : file_(path) {}

  /// Names of up to 100 bytes.
  void add(const std::string& name, std::span<const std::byte> bytes);
  void publish();

 private:
  core::Aside file_;
};

}  // namespace microdit::ingest
