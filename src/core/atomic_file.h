// The one commit routine of every output: written aside, synced, renamed, folder synced.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace microdit::core {

/// Which life of which job this process belongs to: "j<job>r<restart>h<host>p<pid>x<random>"; goes into temporary
/// names only, never into anything published.
std::string generation();

/// Whether nobody writes the temporary `file` any more: its process is gone from this host, or it belongs to an earlier
/// life of this job, or (of another host and job) it has not changed for a quarter of an hour.
bool is_abandoned(const std::filesystem::path& file);

/// ".<name>.<generation>.tmp" in the folder of `path`: hidden, and never mistaken for a finished output.
std::filesystem::path temporary_path(const std::filesystem::path& path);

/// Writes all bytes, in as many calls as that takes; false, with errno, when one fails.
bool write_all(int fd, std::span<const std::byte> bytes);

/// Syncs `aside`, renames it to `path`, syncs the folder. SystemError on failure (`aside` is removed).
void publish(const std::filesystem::path& aside, const std::filesystem::path& path);

/// Writes bytes to temporary_path(path) and publishes. The folder must exist.
void atomic_write(const std::filesystem::path& path, std::span<const std::byte> bytes);
void atomic_write(const std::filesystem::path& path, std::string_view text);
/// The same for a file whose bytes lie in several places; they are written one after another.
void atomic_write(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);

/// A file that is written bit by bit: aside, and published at the end; nothing stays when it is not. SystemError on failure.
class Aside {
 public:
  explicit Aside(const std::filesystem::path& to);
  ~Aside();
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  void write(std::span<const std::byte> bytes);
  void publish();

 private:
  std::filesystem::path to_, aside_;
  int fd_ = -1;
  bool published_ = false;
};

/// Removes abandoned temporaries (".*.tmp", files and folders) in `folder`. A missing folder has none.
void remove_stale_temporaries(const std::filesystem::path& folder);
/// Those alone that killed jobs left of `file`: its folder may be anybody's.
void remove_stale_temporaries_of(const std::filesystem::path& file);

void sync_folder(const std::filesystem::path& folder);
/// The whole file. UserError when there is no such readable file, SystemError when reading fails.
std::string read_text(const std::filesystem::path& path);

}  // namespace microdit::core
