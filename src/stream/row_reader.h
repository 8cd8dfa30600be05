// Rows of many files into memory: neighbours in one call, each row checked, what is bad tried again.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "core/error.h"
#include "stream/open_files.h"

namespace microdit::stream {

/// One row that is wanted, and where it goes.
struct RowRequest {
  const FileName* file = nullptr;
  std::uint64_t offset = 0;
  std::size_t bytes = 0;
  std::byte* out = nullptr;
  const std::uint64_t* hash = nullptr;  ///< xxh3-64 that the row must have; null = not checked
  std::size_t wish = 0;                 ///< the caller's
  std::exception_ptr bad;               ///< out
  bool read = false;                    ///< out: nothing more is to be done, good or bad
};

/// A row's bytes are not what its hash says.
class BadRow : public core::UserError {
 public:
  using core::UserError::UserError;
};

struct ReadRules {
  std::uint64_t gap_bytes =
      256 << 10;           ///< rows so near to one another are read in one call, over what lies between
  bool read_ahead = true;  ///< tell the kernel of all places before the first is read
  bool keep_pages = true;  ///< false: let the kernel forget what was read
};

/// Safe to use from several threads.
class RowReader {
 public:
  RowReader(std::shared_ptr<OpenFiles> files, ReadRules rules) : files_(std::move(files)), rules_(rules) {}
  /// What the page cache holds is copied, row by row; the rest is read in few calls, sorted by file and place. None is in the way
  /// of another; `requests` change their order.
  void read(std::vector<RowRequest>& requests) const;

 private:
  void read_together(std::span<RowRequest> requests, bool cached_only) const;
  void read_again(RowRequest& request) const;

  std::shared_ptr<OpenFiles> files_;
  ReadRules rules_;
};

}  // namespace microdit::stream
