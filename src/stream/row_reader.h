// Rows of many files into memory: a bounded set of open files, neighbouring rows in one call, each row checked.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "stream/source_index.h"

namespace microdit::stream {

/// One row that is wanted, and where it goes.
struct RowRequest {
  const ShardIndex* shard = nullptr;
  const RowTable* table = nullptr;
  std::int64_t row = 0;
  std::int64_t sample_row = 0;  ///< row of the sample it is for, to name it when the bytes are wrong
  std::byte* out = nullptr;
};

/// Safe to use from several threads.
class RowReader {
 public:
  /// `random`: tell the kernel not to read ahead.
  RowReader(std::size_t max_open, bool random) : max_open_(max_open), random_(random) {}
  /// Sorts the requests by file and place and reads them. UserError (file, sample) when a row does not match
  /// its checksum or lies beyond the end; SystemError on I/O errors.
  void read(std::vector<RowRequest>& requests);

 private:
  class OpenFile;
  std::shared_ptr<OpenFile> open(const ShardIndex& shard);

  std::size_t max_open_;
  bool random_;
  std::mutex lock_;
  using Entry = std::pair<const ShardIndex*, std::shared_ptr<OpenFile>>;
  std::list<Entry> recent_;  ///< most recently used first
  std::unordered_map<const ShardIndex*, std::list<Entry>::iterator> found_;
};

}  // namespace microdit::stream
