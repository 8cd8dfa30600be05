// preadv over sorted requests.
#include "stream/row_reader.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <tuple>

#include "core/hash.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kMaxTogether = 256;                  // rows; with as many gaps far below IOV_MAX
constexpr std::chrono::milliseconds kBeforeSecondTry{20};  // a server that has just failed over

std::uint64_t end_of(const RowRequest& request) {
  return request.offset + request.bytes;
}

bool is_good(const RowRequest& request) {
  return !request.hash ||
         core::xxh3_64(std::span<const std::byte>(request.out, request.bytes)) == *request.hash;
}

/// How many of the sorted requests, from the first on, one call may serve.
std::size_t together(std::span<const RowRequest> requests, std::uint64_t gap) {
  std::size_t count = 1;
  for (; count < std::min(requests.size(), kMaxTogether); ++count) {
    const RowRequest &before = requests[count - 1], &next = requests[count];
    const bool same = next.offset == before.offset && next.bytes == before.bytes;
    if (next.file->id != before.file->id || (!same && next.offset < end_of(before)) ||
        (!same && next.offset - end_of(before) > gap))
      break;
  }
  return count;
}

}  // namespace

// What lies between two rows goes into memory that nobody looks at. With `cached_only` nothing is settled where the page
// cache lacks a byte.
void RowReader::read_together(std::span<RowRequest> requests, bool cached_only) const {
  thread_local std::vector<std::byte> between;
  between.resize(rules_.gap_bytes);
  std::vector<iovec> parts;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (i > 0 && requests[i].offset == requests[i - 1].offset) continue;
    if (i > 0 && requests[i].offset > end_of(requests[i - 1]))
      parts.push_back({between.data(), requests[i].offset - end_of(requests[i - 1])});
    parts.push_back({requests[i].out, requests[i].bytes});
  }
  bool read = false;
  try {
    const auto file = files_->open(*requests[0].file);
    if (cached_only) {
      if (!file->read_cached(requests[0].offset, parts)) return;
    } else {
      file->read(requests[0].offset, parts);
    }
    read = true;
    if (!rules_.keep_pages) file->done_with(requests[0].offset, end_of(requests.back()) - requests[0].offset);
  } catch (const std::runtime_error&) {
    if (cached_only) return;
    std::this_thread::sleep_for(kBeforeSecondTry);
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    RowRequest& request = requests[i];
    request.read = true;
    if (read && i > 0 && request.offset == requests[i - 1].offset)
      std::memcpy(request.out, requests[i - 1].out, request.bytes);
    if (!read || !is_good(request)) read_again(request);
  }
}

void RowReader::read_again(RowRequest& request) const {
  try {
    const auto file = files_->reopen(*request.file);
    file->read(request.offset, std::span(request.out, request.bytes));
    if (!is_good(request)) throw BadRow(file->name());
  } catch (const std::runtime_error&) {
    request.bad = std::current_exception();
  }
}

// Reading over gaps saves calls to a disk, and costs copies of what is in memory.
void RowReader::read(std::vector<RowRequest>& requests) const {
  std::sort(requests.begin(), requests.end(), [](const RowRequest& a, const RowRequest& b) {
    return std::make_tuple(a.file->id, a.offset) < std::make_tuple(b.file->id, b.offset);
  });
  for (std::span<RowRequest> left = requests; !left.empty();) {
    const std::size_t count = together(left, 0);
    read_together(left.first(count), /*cached_only=*/true);
    left = left.subspan(count);
  }
  const auto rest =
      std::stable_partition(requests.begin(), requests.end(), [](const RowRequest& r) { return r.read; });
  std::vector<std::span<RowRequest>> calls;
  for (std::span<RowRequest> left(rest, requests.end()); !left.empty();) {
    const std::size_t count = together(left, rules_.gap_bytes);
    calls.push_back(left.first(count));
    left = left.subspan(count);
  }
  if (rules_.read_ahead && calls.size() > 1) {
    for (const std::span<RowRequest> call : calls) {
      try {
        files_->open(*call[0].file)->will_need(call[0].offset, end_of(call.back()) - call[0].offset);
      } catch (const std::runtime_error&) {  // the read itself will say so
      }
    }
  }
  for (const std::span<RowRequest> call : calls) read_together(call, /*cached_only=*/false);
}

}  // namespace microdit::stream
