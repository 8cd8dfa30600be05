// Shards, several at a time -> one table in one file.
#include "stream/mds_table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>

#include "core/atomic_file.h"
#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/log.h"
#include "stream/mds_checked.h"
#include "stream/mds_shard.h"

namespace microdit::stream {
namespace {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'M', 'D', 'S', 'T', 'A', 'B', 'L', 'E'};
constexpr std::uint32_t kVersion = 1;

struct Head {
  char magic[8];
  std::uint32_t version;
  std::uint32_t has_hashes;
  char index_sha256[64];
  std::uint64_t shards;
  std::uint64_t samples;
};
static_assert(sizeof(Head) == 96);

Head head_of(const MdsIndex& index, bool has_hashes) {
  Head head{};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  head.version = kVersion;
  head.has_hashes = has_hashes;
  std::memcpy(head.index_sha256, index.sha256.data(), sizeof head.index_sha256);
  head.shards = index.shards.size();
  head.samples = static_cast<std::uint64_t>(index.num_samples);
  return head;
}

std::size_t offsets_bytes(const MdsIndex& index) {
  return (static_cast<std::size_t>(index.num_samples) + index.shards.size()) * 4;
}
std::size_t hashes_begin(const MdsIndex& index) {
  return (sizeof(Head) + offsets_bytes(index) + 7) / 8 * 8;
}
std::size_t table_bytes(const MdsIndex& index, bool has_hashes) {
  return hashes_begin(index) + (has_hashes ? static_cast<std::size_t>(index.num_samples) * 8 : 0) + 8;
}

/// Hashes of samples can be promised only where every shard's own are known to be right.
bool states_hashes(const MdsIndex& index) {
  return std::all_of(index.shards.begin(), index.shards.end(),
                     [](const MdsShard& shard) { return !shard.raw.hashes.empty(); });
}

bool lies_there(const fs::path& path, std::uint64_t bytes) {
  std::error_code error;
  return fs::is_regular_file(path, error) && fs::file_size(path, error) == bytes;
}

fs::path unpacked_folder(const MdsIndex& index, const MdsOpening& opening) {
  return opening.kept / fmt::format("mds-{}", index.sha256.substr(0, 16));
}

/// Whether a shard's zstd file is still to be unpacked.
bool is_packed(const MdsIndex& index, const std::vector<fs::path>& files, std::size_t i) {
  return files[i] != index.folder / index.shards[i].raw.name &&
         !lies_there(files[i], index.shards[i].raw.bytes);
}

/// The file with a shard's samples: the folder's own; else where its zstd file is, or will be, unpacked.
fs::path file_of(const MdsIndex& index, const MdsShard& shard, const MdsOpening& opening) {
  fs::path plain = index.folder / shard.raw.name;
  if (!shard.zipped || fs::exists(plain)) return plain;
  if (shard.compression != "zstd" && !shard.compression.starts_with("zstd:"))
    core::user_error("{}: compressed with `{}`; only zstd is read: unpack the files beside it",
                     plain.string(), shard.compression);
  if (opening.kept.empty())
    core::user_error(
        "{}: its files are packed with zstd, and there is no folder of a run to unpack them to; unpack "
        "them beside the packed ones: cd {} && find . -name '*.zstd' -exec zstd -dk --suffix=.zstd {{}} +",
        index.folder.string(), index.folder.string());
  return unpacked_folder(index, opening) / shard.raw.name;
}

/// That the files are there and as large as stated, before anything is allocated by what the index claims.
void check_sizes(const MdsIndex& index, const std::vector<fs::path>& files, const MdsOpening& opening) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    const MdsShard& shard = index.shards[i];
    const bool packed = is_packed(index, files, i);
    const MdsFile& stated = packed ? *shard.zipped : shard.raw;
    const fs::path path = packed ? index.folder / stated.name : files[i];
    if (i % 1000 == 0) opening.look_up();
    if (!fs::exists(path))
      core::user_error("{}: named by index.json and not there; copy it here", path.string());
    if (!lies_there(path, stated.bytes))
      core::user_error(
          "{}: has {} bytes, index.json says {}; the file is damaged or of another folder: copy it here "
          "again",
          path.string(), fs::file_size(path), stated.bytes);
    if (packed && shard.raw.bytes > MdsLimits::kFreeExpansion &&
        shard.raw.bytes / MdsLimits::kExpansion > stated.bytes)
      core::user_error("{}: {} bytes would unpack to {}; more than {} times as much is refused",
                       path.string(), stated.bytes, shard.raw.bytes, MdsLimits::kExpansion);
  }
}

void require_room(const MdsIndex& index, const std::vector<fs::path>& files, const MdsOpening& opening) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < files.size(); ++i)
    if (is_packed(index, files, i)) bytes += index.shards[i].raw.bytes;
  if (bytes == 0) return;
  core::require_space(opening.kept, "data.mds", bytes);
  core::log_info("{}: unpacking {} of zstd files to {}", index.folder.string(), core::bytes_text(bytes),
                 unpacked_folder(index, opening).string());
}

/// Runs work(i) for all i < count on some threads; the error of the lowest i is thrown.
void for_each(std::size_t count, const MdsOpening& opening, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::mutex lock;
  std::size_t failed = count;
  std::exception_ptr error;
  const auto loop = [&](bool first) {
    for (std::size_t i; (i = next++) < count;) {
      try {
        if (first) opening.look_up();
        work(i);
      } catch (...) {
        const std::scoped_lock held(lock);
        if (i < failed) failed = i, error = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::int64_t t = 1; t < opening.threads; ++t) threads.emplace_back(loop, false);
  loop(true);
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

fs::path kept_as(const MdsIndex& index, const MdsOpening& opening, std::string_view end) {
  if (opening.kept.empty()) return {};
  return opening.kept / fmt::format("mds-{}.{}", index.sha256.substr(0, 16), end);
}

/// A line a minute of what takes long.
class Reports {
 public:
  Reports(const MdsIndex& index, std::size_t count) : index_(index), count_(count) {}
  void one_more() {
    const std::scoped_lock held(lock_);
    ++done_;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::minutes(1)) return;
    last_ = now;
    core::log_info("{}: {} of {} files read", index_.folder.string(), done_, count_);
  }

 private:
  const MdsIndex& index_;
  std::size_t count_, done_ = 0;
  std::mutex lock_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// The whole table, its own checksum at the end.
std::vector<std::byte> build(const MdsIndex& index, const std::vector<fs::path>& files,
                             const MdsOpening& opening) {
  check_sizes(index, files, opening);
  const bool has_hashes = opening.verify && states_hashes(index);
  std::vector<std::byte> table(table_bytes(index, has_hashes));
  const Head head = head_of(index, has_hashes);
  std::memcpy(table.data(), &head, sizeof head);
  require_room(index, files, opening);
  if (has_hashes)
    core::log_info("{}: checking the hashes of {} files, once", index.folder.string(), files.size());
  MdsChecked checked(has_hashes ? kept_as(index, opening, "checked") : fs::path());
  Reports reports(index, files.size());
  for_each(files.size(), opening, [&](std::size_t i) {
    const MdsShard& shard = index.shards[i];
    const bool packed = is_packed(index, files, i);
    if (packed) {
      fs::create_directories(files[i].parent_path());
      unpack_mds_shard(index.folder / shard.zipped->name, *shard.zipped, shard.raw, files[i], opening.verify);
    }
    const OpenFile file(files[i], false);
    const std::vector<std::uint32_t> offsets = read_mds_offsets(file, shard, index.columns[shard.columns]);
    std::byte* out = table.data() + sizeof head + (static_cast<std::size_t>(shard.first) + i) * 4;
    std::memcpy(out, offsets.data(), offsets.size() * 4);
    if (opening.verify && !shard.raw.hashes.empty()) {
      const std::vector<std::uint64_t>* before = packed ? nullptr : checked.find(i);
      const bool again = before == nullptr || std::ssize(*before) != shard.samples;
      const std::vector<std::uint64_t> rows = again ? check_mds_shard(file, shard.raw, offsets) : *before;
      if (again) checked.add(i, rows);
      if (has_hashes)
        std::memcpy(table.data() + hashes_begin(index) + static_cast<std::size_t>(shard.first) * 8,
                    rows.data(), rows.size() * 8);
    }
    reports.one_more();
  });
  const std::uint64_t sum = core::xxh3_64(std::span(table).first(table.size() - 8));
  std::memcpy(table.data() + table.size() - 8, &sum, 8);
  return table;
}

}  // namespace

MdsTable::MdsTable(const MdsIndex& index, const MdsOpening& opening) : index_(&index) {
  for (const MdsShard& shard : index.shards) files_.push_back(file_of(index, shard, opening));
  if (opening.kept.empty()) {
    auto table = std::make_shared<std::vector<std::byte>>(build(index, files_, opening));
    adopt(std::shared_ptr<const std::byte>(table, table->data()), table->size());
    return;
  }
  const fs::path path = kept_as(index, opening, "table");
  opening.once([&]() -> std::string {
    bool unpacked = true;
    for (std::size_t i = 0; i < files_.size(); ++i) unpacked = unpacked && !is_packed(index, files_, i);
    if (unpacked && load(path) && (!hashes_.empty() || !opening.verify || !states_hashes(index))) return "";
    fs::create_directories(opening.kept);
    core::remove_stale_temporaries(opening.kept);
    core::atomic_write(path, build(index, files_, opening));
    std::error_code ignored;
    fs::remove(kept_as(index, opening, "checked"), ignored);
    return "";
  });
  if (!load(path))
    core::system_error("{}: was written a moment ago and cannot be read; remove it and start again",
                       path.string());
}

// False: not there, of another index, or damaged; then it is made again.
bool MdsTable::load(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info {};
  const std::size_t size = ::fstat(fd, &info) == 0 ? static_cast<std::size_t>(info.st_size) : 0;
  const bool fits = size == table_bytes(*index_, false) || size == table_bytes(*index_, true);
  void* memory = fits ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  ::close(fd);
  if (memory == MAP_FAILED) return false;
  const std::shared_ptr<const std::byte> held(
      static_cast<const std::byte*>(memory),
      [size](const std::byte* begin) { ::munmap(const_cast<std::byte*>(begin), size); });
  const std::span<const std::byte> bytes(held.get(), size);
  const Head head = head_of(*index_, size == table_bytes(*index_, true));
  std::uint64_t sum = 0;
  std::memcpy(&sum, bytes.data() + size - 8, 8);
  if (std::memcmp(bytes.data(), &head, sizeof head) != 0 || core::xxh3_64(bytes.first(size - 8)) != sum)
    return false;
  adopt(held, size);
  return true;
}

void MdsTable::adopt(std::shared_ptr<const std::byte> memory, std::size_t size) {
  memory_ = std::move(memory);
  offsets_ = {reinterpret_cast<const std::uint32_t*>(memory_.get() + sizeof(Head)),
              offsets_bytes(*index_) / 4};
  hashes_ = {};
  if (size == table_bytes(*index_, true))
    hashes_ = {reinterpret_cast<const std::uint64_t*>(memory_.get() + hashes_begin(*index_)),
               static_cast<std::size_t>(index_->num_samples)};
}

MdsPlace MdsTable::at(std::int64_t sample) const {
  MdsPlace place;
  place.shard = &index_->shard_of(sample);
  place.shard_number = static_cast<std::size_t>(place.shard - index_->shards.data());
  const std::size_t slot = static_cast<std::size_t>(sample) + place.shard_number;
  place.begin = offsets_[slot];
  place.end = offsets_[slot + 1];
  if (!hashes_.empty()) place.hash = hashes_[static_cast<std::size_t>(sample)];
  return place;
}

}  // namespace microdit::stream
