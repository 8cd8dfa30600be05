// A file that is read at any place. Never mapped: one that is cut while open is an error, no signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace microdit::core {

class InputFile {
 public:
  /// UserError when it is missing or no regular file, FaultError when the device fails; both name the file.
  explicit InputFile(const std::filesystem::path& path);
  /// A file that is open already, which it closes in the end; `name` is what messages call it.
  InputFile(int open_file, std::filesystem::path name);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }  ///< bytes, when it was opened
  /// Fills `out` from byte `offset` on. SystemError when the file ends before.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;
  std::string read_string(std::uint64_t offset, std::uint64_t size) const;

 private:
  void look();
  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace microdit::core
