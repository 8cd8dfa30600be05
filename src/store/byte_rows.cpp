// Offsets are checked once, when a shard is opened; bytes elsewhere each time they are read.
#include "store/byte_rows.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "core/disk.h"
#include "core/error.h"
#include "core/hash.h"
#include "store/manifest_text.h"

namespace microdit::store {

namespace fs = std::filesystem;

class ByteRows::OpenFile {
 public:
  explicit OpenFile(const fs::path& path)
      : path(path),
        bytes_(core::input_bytes(path).value_or(0)),
        fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0 && errno == ENOENT)
      core::user_error("{}: is gone, and samples refer to it: run download again", path.string());
    if (fd_ < 0) core::input_error(errno, "{}: cannot be opened", path.string());
  }
  ~OpenFile() { ::close(fd_); }
  OpenFile(const OpenFile&) = delete;
  /// Takes memory only for bytes that the file has. `shard`: who says that they are there.
  std::vector<std::byte> read(std::uint64_t offset, std::uint64_t count, const fs::path& shard) const {
    if (offset > bytes_ || count > bytes_ - offset) too_short(shard);
    std::vector<std::byte> bytes(count);
    for (std::span<std::byte> out(bytes); !out.empty();) {
      const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) core::input_error(errno, "{}: cannot be read", path.string());
      if (got == 0) too_short(shard);
      out = out.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return bytes;
  }
  const fs::path path;

 private:
  [[noreturn]] void too_short(const fs::path& shard) const {
    core::user_error("{}: is shorter than {}, made from it, says: run download and clean again",
                     path.string(), shard.string());
  }
  std::uint64_t bytes_;
  int fd_;
};

void ByteRows::broken(const std::string& what) const {
  core::user_error("{}: {}; make the shard again", shard_.path().string(), what);
}

ByteRows::ByteRows(const ShardReader& shard, const std::string& name) : shard_(shard), name_(name) {
  if (shard.has(name)) {
    offsets_ = shard.read_as<std::int64_t>(name + "_offsets");
    if (offsets_.empty() || offsets_.front() != 0 || !std::ranges::is_sorted(offsets_) ||
        offsets_.back() != shard.column(name).rows())
      broken(fmt::format("`{}_offsets` does not fit its column", name));
    size_ = std::ssize(offsets_) - 1;
    return;
  }
  if (shard.column(name + "_file").dtype == core::DType::u16) {  // of a folder made before they were wider
    const auto narrow = shard.read_as<std::uint16_t>(name + "_file");
    file_.assign(narrow.begin(), narrow.end());
  } else {
    file_ = shard.read_as<std::uint32_t>(name + "_file");
  }
  offset_ = shard.read_as<std::uint64_t>(name + "_offset");
  length_ = shard.read_as<std::uint64_t>(name + "_length");
  hash_ = shard.read_as<std::uint64_t>(row_hash_name(name));
  size_ = std::ssize(file_);
  const core::Json& attributes = shard.attributes();
  if (!attributes.contains(name + "_files") || !attributes.contains(name + "_folder") ||
      !attributes[name + "_folder"].is_string())
    broken(fmt::format("neither holds `{}` nor says where it lies", name));
  const std::string folder = attributes[name + "_folder"].get<std::string>();
  constexpr std::string_view kRaw = "../../raw/";
  if (!folder.starts_with(kRaw) || !is_plain_name(folder.substr(kRaw.size())))
    broken(fmt::format("`{}_folder` is '{}'", name, folder));
  for (const core::Json& file : attributes[name + "_files"]) {
    if (!file.is_string() || !is_plain_name(file.get<std::string>()))
      broken(fmt::format("`{}_files` holds {}, no plain name", name, file.dump()));
    files_.push_back((shard.path().parent_path() / folder / file.get<std::string>()).lexically_normal());
  }
  const auto fits = [&](const auto& column) { return std::ssize(column) == size_; };
  if (!fits(offset_) || !fits(length_) || !fits(hash_) ||
      std::ranges::any_of(file_, [&](std::uint32_t file) { return file >= files_.size(); }))
    broken(fmt::format("the columns that say where `{}` lies do not fit one another", name));
}

std::int64_t ByteRows::length(std::int64_t row) const {
  const auto at = static_cast<std::size_t>(row);
  if (!files_.empty()) return static_cast<std::int64_t>(length_.at(at));
  return offsets_.at(at + 1) - offsets_.at(at);
}

std::shared_ptr<ByteRows::OpenFile> ByteRows::open(std::uint32_t file) const {
  const std::scoped_lock lock(lock_);
  if (!last_ || last_->path != files_[file]) last_ = std::make_shared<OpenFile>(files_[file]);
  return last_;
}

std::vector<std::byte> ByteRows::read(std::int64_t row) const {
  const auto at = static_cast<std::size_t>(row);
  const std::int64_t bytes = length(row);
  if (bytes < 0 || bytes > std::numeric_limits<std::int32_t>::max())
    broken(fmt::format("row {} of `{}` has {} bytes", row, name_, static_cast<std::uint64_t>(bytes)));
  if (files_.empty()) {
    std::vector<std::byte> out(static_cast<std::size_t>(bytes));
    shard_.copy_rows(name_, offsets_[at], bytes, out);
    return out;
  }
  const std::shared_ptr<OpenFile> file = open(file_[at]);
  std::vector<std::byte> out = file->read(offset_[at], length_[at], shard_.path());
  if (core::xxh3_64(out) != hash_[at])
    core::user_error("{}: has changed since {} was made from it (bytes {} to {})", file->path.string(),
                     shard_.path().string(), offset_[at], offset_[at] + length_[at]);
  return out;
}

}  // namespace microdit::store
