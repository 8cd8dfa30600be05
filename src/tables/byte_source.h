// Bytes of a table that come one behind the other: of a file, of a member of an archive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/stop_flag.h"
#include "tables/value.h"

namespace microdit::tables {

/// Fills the beginning of what it is given and says how much; 0 at the end.
using ByteSource = std::function<std::size_t(std::span<std::byte>)>;

/// What a reader gives every row to: its cells, in the order of the columns that were asked for.
using RowSink = std::function<void(std::span<const Value>)>;

/// What a reader is asked for. `origin` names the file in messages.
struct RowRequest {
  std::string origin{};
  std::vector<std::string> columns{};
  /// Told of a JSON line that is no JSON, of a row of CSV of another width, of a row of Parquet with a text that is not UTF-8, and why; empty: that is an error.
  std::function<void(const std::string& why)> damaged{};
};

/// A ByteSource byte by byte.
class ByteReader {
 public:
  static constexpr int kEnd = -1;
  ByteReader(ByteSource source, const core::StopFlag& stop) : source_(std::move(source)), stop_(stop) {}

  /// The next byte, or kEnd; get() also goes on to the one behind it. core::Stopped.
  int peek() { return at_ < filled_ || fill() ? static_cast<unsigned char>(buffer_[at_]) : kEnd; }
  int get() {
    const int byte = peek();
    at_ += byte != kEnd;
    return byte;
  }
  /// The bytes at hand, at least one unless the source has ended; skip(n) goes beyond n of them.
  std::string_view at_hand() {
    if (at_ == filled_) fill();
    return {buffer_.get() + at_, filled_ - at_};
  }
  void skip(std::size_t bytes) { at_ += bytes; }
  std::uint64_t offset() const { return before_ + at_; }

 private:
  bool fill() {
    if (stop_.requested()) throw core::Stopped();
    before_ += filled_;
    if (!buffer_) buffer_ = std::make_unique_for_overwrite<char[]>(kBytes);
    filled_ = 0;
    // At the beginning all of a mark (skip_mark): a source may give a byte at a time.
    for (std::size_t more = 1; more > 0 && (filled_ == 0 || (before_ == 0 && filled_ < 4)); filled_ += more)
      more = source_(std::as_writable_bytes(std::span(buffer_.get(), kBytes).subspan(filled_)));
    at_ = 0;
    return filled_ > 0;
  }
  static constexpr std::size_t kBytes = 64 << 10;
  ByteSource source_;
  const core::StopFlag& stop_;
  std::unique_ptr<char[]> buffer_;
  std::size_t at_ = 0, filled_ = 0;
  std::uint64_t before_ = 0;
};

/// Goes beyond a mark of UTF-8 at the beginning. UserError, which names `origin`, where one of UTF-16 or UTF-32 stands.
void skip_mark(ByteReader& in, std::string_view origin);

}  // namespace microdit::tables
