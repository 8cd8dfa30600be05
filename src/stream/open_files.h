// A bounded set of open files, shared by all sources of a stream. Opening and closing happen outside the lock: a slow metadata
// server holds up only the thread that asks.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

namespace microdit::stream {

class NodeCache;

/// A file of a source: what it is called, and how its copy on this node would be.
struct FileName {
  std::uint64_t id = 0;  ///< OpenFiles::new_ids
  std::filesystem::path path;
  std::string cached_as;  ///< tells the contents apart; empty = never copied
  std::uint64_t bytes = 0;
};

class OpenFile {
 public:
  /// SystemError (FaultError) when it cannot be opened. `random`: the kernel should not read ahead.
  OpenFile(const std::filesystem::path& path, bool random);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  /// Fills all parts from `offset` on; the parts are used up. UserError when the file ends before, SystemError on I/O errors.
  void read(std::uint64_t offset, std::span<iovec> parts) const;
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  /// Fills the parts from the page cache alone; false, with parts of any contents, where that does not hold all of it.
  bool read_cached(std::uint64_t offset, std::span<const iovec> parts) const;
  const std::string& name() const { return name_; }
  /// Asks the kernel to begin reading, or that it need not keep what was read.
  void will_need(std::uint64_t offset, std::uint64_t bytes) const;
  void done_with(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  const std::string name_;
  const int fd_;
  mutable std::atomic<bool> tells_cached_ = true;  ///< the file system knows of reads that do not wait
};

/// Safe to use from several threads.
class OpenFiles {
 public:
  OpenFiles(std::size_t max_open, bool random, std::shared_ptr<NodeCache> cache = nullptr);
  /// The first of `count` ids that nobody else has.
  std::uint64_t new_ids(std::uint64_t count);
  std::shared_ptr<OpenFile> open(const FileName& file);
  /// Opens the file itself again, no copy of it: what was open or copied gave wrong bytes.
  std::shared_ptr<OpenFile> reopen(const FileName& file);

 private:
  std::shared_ptr<OpenFile> keep(std::uint64_t id, std::shared_ptr<OpenFile> file, bool replace);

  const std::size_t max_open_;
  const bool random_;
  const std::shared_ptr<NodeCache> cache_;
  std::mutex lock_;
  using Entry = std::pair<std::uint64_t, std::shared_ptr<OpenFile>>;
  std::list<Entry> recent_;  ///< most recently used first
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> found_;
  std::uint64_t next_id_ = 0;
};

}  // namespace microdit::stream
