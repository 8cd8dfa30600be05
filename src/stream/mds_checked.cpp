// Entries behind one another; a damaged one ends the file.
#include "stream/mds_checked.h"

#include <array>
#include <cstring>
#include <string>

#include "core/atomic_file.h"
#include "core/hash.h"

namespace microdit::stream {
namespace {

constexpr std::size_t kHead = 24;

}  // namespace

MdsChecked::MdsChecked(const std::filesystem::path& path) {
  if (path.empty()) return;
  std::size_t good = 0;
  if (std::filesystem::exists(path)) {
    const std::string text = core::read_text(path);
    while (text.size() - good >= kHead) {
      std::array<std::uint64_t, 3> head{};
      std::memcpy(head.data(), text.data() + good, kHead);
      const auto [shard, rows, sum] = head;
      if (rows > (text.size() - good - kHead) / 8) break;
      std::vector<std::uint64_t> hashes(rows);
      std::memcpy(hashes.data(), text.data() + good + kHead, rows * 8);
      if (core::xxh3_64(std::as_bytes(std::span(hashes))) != sum) break;
      found_[shard] = std::move(hashes);
      good += kHead + rows * 8;
    }
    if (good < text.size()) std::filesystem::resize_file(path, good);
  }
  file_ = std::make_unique<core::AppendFile>(path);
}

const std::vector<std::uint64_t>* MdsChecked::find(std::size_t shard) const {
  const auto found = found_.find(shard);
  return found == found_.end() ? nullptr : &found->second;
}

void MdsChecked::add(std::size_t shard, std::span<const std::uint64_t> rows) {
  if (!file_) return;
  const std::array<std::uint64_t, 3> head = {shard, rows.size(), core::xxh3_64(std::as_bytes(rows))};
  std::string entry(reinterpret_cast<const char*>(head.data()), kHead);
  entry.append(reinterpret_cast<const char*>(rows.data()), rows.size() * 8);
  const std::scoped_lock held(lock_);
  file_->append(entry);
}

}  // namespace microdit::stream
