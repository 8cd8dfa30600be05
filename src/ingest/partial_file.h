// A file that grows aside until it is whole: its bytes, their hash while they are written, the version they are of.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/hash.h"
#include "core/stop_flag.h"
#include "ingest/file_version.h"

namespace microdit::ingest {

/// SystemError when fewer bytes than kFreeFraction of the disk and than kFreeBytes are left at `folder`; UserError when only after
/// `more` bytes: others may be smaller.
void require_free_space(const std::filesystem::path& folder, std::uint64_t more);

/// Looks at a file's first bytes; says why they cannot be what is wanted ("" = nothing to say).
using HeadCheck = std::function<std::string(std::span<const std::byte> head)>;

/// After a crash of the machine a file may be as long as it was and lack pages: of what lies there, whoever opens it next goes on with
/// what a mark beside it says to be on disk. That is all of it where this object ended; of a process that was killed, all but the last
/// 64 MiB, or minute. While it lives, no other process can open the same file so; where the file system has no locks, the bytes are
/// read again before they count.
class PartialFile {
 public:
  /// `what`, a line: which file its bytes are of, beside the version that the server says (two files of one size may have one tag).
  /// Nothing when another process holds it. SystemError when it cannot be made.
  static std::optional<PartialFile> open(const std::filesystem::path& path, HeadCheck check_head,
                                         std::string what = {});
  PartialFile(PartialFile&& other) noexcept;
  PartialFile& operator=(PartialFile&&) = delete;
  PartialFile(const PartialFile&) = delete;
  ~PartialFile();

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t bytes() const { return begun_ ? begun_->head.size() : bytes_; }
  /// Of the file that these bytes are of; without a validator they cannot be continued.
  FileVersion version() const;

  /// From here on another version of the file, of `announced` bytes (-1 = not known). What is here goes when the first bytes are seen
  /// to be what is wanted: a page that says "back in an hour" costs nothing.
  void begin(const FileVersion& version, std::int64_t announced);
  /// Back to what was here, where no such bytes came since begin().
  void take_back() { begun_.reset(); }
  /// SystemError when the disk is full or fails; UserError when the head is not what is wanted (nothing stays then).
  void append(std::span<const std::byte> bytes);
  /// The bytes so far cannot be continued.
  void forget_version();
  /// UserError when the first bytes are not what is wanted; append() asks when enough are here, a short file's end has
  /// to.
  void require_head();
  /// SHA-256 of the file; call once, when it is whole. What was here when this object was made is read only now, with what
  /// came behind it: while its server is away, nobody reads it. Nothing when stopped.
  std::optional<std::string> sha256(const core::StopFlag& stop);
  /// Removes it and what belongs to it.
  void discard();
  /// It is whole: gets its name. SystemError as core::publish.
  void publish(const std::filesystem::path& final);

 private:
  PartialFile(std::filesystem::path path, int fd, bool locked, HeadCheck check_head, std::string what);
  std::filesystem::path tag_path() const;
  std::string mark_head() const;  ///< what stands before the length and the version in tag_path()
  void take_up();
  void replace();
  void keep();
  void write(std::span<const std::byte> bytes);

  /// Another version, until enough of it is here.
  struct Begun {
    FileVersion version;
    std::vector<std::byte> head{};
  };

  std::filesystem::path path_;
  int fd_;
  bool locked_, head_is_good_ = false;
  bool own_ = false;            ///< nobody else holds, published or removed it
  std::uint64_t replaced_ = 0;  ///< most bytes in whose place this life began anew
  std::uint64_t bytes_ = 0, hashed_ = 0, written_ = 0, kept_ = 0;
  std::chrono::steady_clock::time_point kept_at_ = std::chrono::steady_clock::now();
  FileVersion version_{};  ///< of these bytes; without a validator where they cannot be continued
  std::unique_ptr<core::Sha256> hash_ = std::make_unique<core::Sha256>();
  HeadCheck check_head_;
  std::string what_;
  std::optional<Begun> begun_;
};

}  // namespace microdit::ingest
