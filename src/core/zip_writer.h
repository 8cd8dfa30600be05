// Files of records: what torch.save and numpy's savez make. Stored, never compressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "core/atomic_file.h"

namespace microdit::core {

/// Written aside and renamed; ZIP64 where sizes need it; no times, so that equal records give equal bytes. SystemError when
/// writing fails.
class ZipWriter {
 public:
  explicit ZipWriter(const std::filesystem::path& path) : out_(path) {}
  /// One record; its data begin at a multiple of 64 bytes, as torch.save has it (for mapping).
  void add(const std::string& name, std::span<const std::byte> bytes);
  void publish();

 private:
  void write(const std::string& text);

  Aside out_;
  std::string directory_;
  std::uint64_t at_ = 0, records_ = 0;
};

}  // namespace microdit::core
