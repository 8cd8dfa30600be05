// Archives through libarchive, one format at a time, with our own checks of names, types and sizes.
#include "ingest/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <span>

#include "core/error.h"
#include "core/utf8.h"
#include "ingest/archive_kind.h"
#include "ingest/gzip_stream.h"
#include "ingest/member_name.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kBlock = 1 << 18;
constexpr std::size_t kTarBlock = 512;

struct CloseArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchivePtr = std::unique_ptr<archive, CloseArchive>;

/// The file could not be read, or what was read is no whole archive.
[[noreturn]] void damaged(const std::string& file, archive* a, std::string_view member = "") {
  if (core::is_fault(archive_errno(a))) core::errno_error(archive_errno(a), "{}: cannot be read", file);
  const char* text = archive_error_string(a);
  const std::string at = member.empty() ? "" : fmt::format("member '{}': ", member);
  refuse_damaged(file, fmt::format("{}{}", at, text ? text : "unknown error"));
}

/// libarchive's callback. An exception cannot cross the library, so the stream's is kept aside.
struct GzipSource {
  GzipStream stream;
  std::exception_ptr error{};
  static la_ssize_t read(archive* reader, void* self, const void** block) {
    auto& source = *static_cast<GzipSource*>(self);
    try {
      const auto bytes = source.stream.next();
      *block = bytes.data();
      return static_cast<la_ssize_t>(bytes.size());
    } catch (...) {
      source.error = std::current_exception();
      archive_set_error(reader, -1, "the stream in it is damaged");
      return -1;
    }
  }
};

class Reader {
 public:
  Reader(int file, const std::string& name, const ArchiveRules& rules,
         const std::function<void(Member&&)>& on_member)
      : file_(file), name_(name), rules_(rules), on_member_(on_member) {
    struct stat status {};
    if (::fstat(file_, &status) != 0) core::errno_error(errno, "{}: cannot be read", name_);
    size_ = static_cast<std::uint64_t>(status.st_size);
    allowed_ = limits::kFreeExpansion + (rules.kind == "tar" ? 1 : rules.expansion) * size_;
  }

  ArchiveSummary run() {
    check_kind(file_, name_, rules_.kind);
    if (rules_.kind == "gz") return read_gz();
    std::int64_t broken = 0;
    for (std::int64_t first = 0; first >= 0; ++broken) {
      if (broken > limits::kReopenings)
        refuse_damaged(name_, fmt::format("more than {} broken members", limits::kReopenings));
      first = read_from(first);
    }
    return summary_;
  }

 private:
  /// The one member of a file that is compressed as it is, called after it.
  ArchiveSummary read_gz() {
    const std::string_view file = std::string_view(name_).substr(name_.rfind('/') + 1);
    Member member{.name = std::string(file.substr(0, file.size() - (file.ends_with(".gz") ? 3 : 0))),
                  .bytes = {},
                  .skip = {}};
    summary_.members = 1;
    if (!is_wanted(member.name)) {
      summary_ = {.members = 1, .passed_over = 1, .example = member.name};
      return summary_;
    }
    GzipStream stream(file_, name_, allowed_);
    std::uint64_t before = 0;
    for (auto bytes = stream.next(); !bytes.empty(); bytes = stream.next()) {
      if (before + member.bytes.size() + bytes.size() > rules_.member_bytes) {
        member.skip = "unsupported.oversize";
        member.bytes = {};
        break;
      }
      member.bytes.insert(member.bytes.end(), bytes.begin(), bytes.end());
      if (rules_.pieces && member.bytes.size() >= limits::kPieceBytes) before += send_piece(member);
    }
    on_member_(std::move(member));
    return summary_;
  }

  [[noreturn]] void fail(std::string_view member = "") {
    if (stream_ && stream_->error) std::rethrow_exception(stream_->error);
    damaged(name_, archive_.get(), member);
  }

  void open() {
    archive_.reset(archive_read_new());
    archive* a = archive_.get();
    if (::lseek(file_, 0, SEEK_SET) != 0) core::errno_error(errno, "{}: cannot be read", name_);
    if (rules_.kind == "zip") {
      archive_read_support_format_zip(a);
    } else {
      archive_read_support_format_tar(a);
      archive_read_set_format_option(a, "tar", "read_concatenated_archives", "1");
    }
    if (rules_.kind == "tgz") {
      stream_.reset(new GzipSource{.stream = {file_, name_, allowed_}});
      if (archive_read_open(a, stream_.get(), nullptr, GzipSource::read, nullptr) != ARCHIVE_OK) fail();
    } else if (archive_read_open_fd(a, file_, kBlock) != ARCHIVE_OK) {
      fail();
    }
  }

  /// Reads on from the `first`-th member. -1 at the end, else the member to go on with after one that broke the reader.
  std::int64_t read_from(std::int64_t first) {
    open();
    for (std::int64_t index = 0;; ++index) {
      archive_entry* entry = nullptr;
      const int status = archive_read_next_header(archive_.get(), &entry);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) fail();
      if (index >= first && !read_entry(entry)) return index + 1;
    }
    if (rules_.kind != "zip") check_tar_end();
    return -1;
  }

  /// False when the reader is of no more use and has to be opened again.
  bool read_entry(archive_entry* entry) {
    const char* raw = archive_entry_pathname_utf8(entry);
    if (!raw) raw = archive_entry_pathname(entry);
    const std::string_view name = raw ? raw : "";
    const auto safe = safe_name(name);
    Member member{.name = safe ? *safe : printable(name), .bytes = {}, .skip = safe ? "" : "damaged.name"};
    const auto type = archive_entry_filetype(entry);
    const bool link = archive_entry_hardlink(entry) || archive_entry_symlink(entry);
    if ((type == AE_IFDIR && !link) || (safe && is_passed_over(*safe))) return true;
    ++summary_.members;
    if (!is_wanted(safe ? *safe : slashed(name))) {
      if (summary_.passed_over++ == 0) summary_.example = member.name;
      return true;
    }
    if (member.skip.empty() && link) member.skip = "unsupported.link";
    if (member.skip.empty() && type != AE_IFREG) member.skip = "unsupported.special";
    if (member.skip.empty() && archive_entry_is_encrypted(entry)) member.skip = "unsupported.encrypted";
    if (member.skip.empty() && archive_entry_size_is_set(entry) &&
        static_cast<std::uint64_t>(archive_entry_size(entry)) > rules_.member_bytes)
      member.skip = "unsupported.oversize";
    const std::int64_t begin = rules_.offsets ? archive_filter_bytes(archive_.get(), 0) : -1;
    const bool going = !member.skip.empty() || read_bytes(member);
    if (!member.skip.empty()) member.bytes = {};
    if (rules_.offsets && lies_at(begin, member.bytes)) member.offset = begin;
    on_member_(std::move(member));
    return going;
  }

  bool is_wanted(std::string_view name) const {
    return rules_.wanted.empty() || name_parts(name, rules_.wanted);
  }

  /// The member's bytes, or its `skip`. False when the archive has to be opened again to get past it.
  bool read_bytes(Member& member) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    std::uint64_t before = 0;  // bytes of the pieces that are on their way
    for (;;) {
      if (rules_.pieces && member.bytes.size() >= limits::kPieceBytes) before += send_piece(member);
      const int status = archive_read_data_block(archive_.get(), &block, &size, &offset);
      if (status == ARCHIVE_EOF) return true;
      if (status == ARCHIVE_WARN) return member.skip = "damaged.crc", true;
      if (status != ARCHIVE_OK) return broken_member(member, status);
      // A sparse member says where a block lies; what lies before it is bytes, too.
      const std::uint64_t end = static_cast<std::uint64_t>(offset) + size;
      if (end < before + member.bytes.size() || end > rules_.member_bytes)
        return member.skip = "unsupported.oversize", true;
      count(end - before - member.bytes.size());
      if (rules_.pieces && end - before > 2 * limits::kPieceBytes)  // a hole in a sparse member
        return member.skip = "unsupported.oversize", true;
      member.bytes.resize(static_cast<std::size_t>(offset) - before);
      const auto* data = static_cast<const std::byte*>(block);
      member.bytes.insert(member.bytes.end(), data, data + size);
    }
  }

  std::uint64_t send_piece(Member& member) {
    Member piece = member;
    piece.more = true;
    member.bytes.clear();
    const std::uint64_t bytes = piece.bytes.size();
    on_member_(std::move(piece));
    return bytes;
  }

  bool broken_member(Member& member, int status) {
    const char* text = archive_error_string(archive_.get());
    const std::string_view why = text ? text : "";
    const bool method = why.find("nsupported") != std::string_view::npos;
    if (core::is_fault(archive_errno(archive_.get()))) fail(member.name);
    member.skip =
        why.find("ncrypt") != std::string_view::npos || why.find("assphrase") != std::string_view::npos
            ? "unsupported.encrypted"
        : method ? "unsupported.compression"
                 : "damaged.member";
    if (status == ARCHIVE_FAILED) return true;
    if (rules_.kind != "zip") fail(member.name);  // what follows cannot be found
    return false;
  }

  void count(std::uint64_t bytes) {
    total_ += bytes;
    if (total_ > allowed_) refuse_bomb(name_, allowed_);
  }

  bool lies_at(std::int64_t begin, const std::vector<std::byte>& bytes) const {
    if (begin < 0 || rules_.kind == "tgz" || bytes.empty()) return false;
    std::vector<std::byte> there(bytes.size());
    return read_at(begin, there) && there == bytes;
  }

  /// False where the file ends before.
  bool read_at(std::int64_t begin, std::span<std::byte> out) const {
    const ssize_t got = ::pread(file_, out.data(), out.size(), begin);
    if (got < 0) core::errno_error(errno, "{}: cannot be read", name_);
    return got == std::ssize(out);
  }

  /// A tar ends with zero blocks. Without them it was cut between two members, which libarchive does not report.
  void check_tar_end() const {
    bool whole = false;
    if (stream_) {
      whole = stream_->stream.ends_in_zeros();
    } else {
      std::array<std::byte, kTarBlock> block{};
      whole = size_ >= block.size() && read_at(static_cast<std::int64_t>(size_ - block.size()), block) &&
              std::ranges::all_of(block, [](std::byte b) { return b == std::byte{0}; });
    }
    if (!whole) refuse_damaged(name_, "its end mark is missing");
  }

  int file_;
  const std::string& name_;
  const ArchiveRules& rules_;
  const std::function<void(Member&&)>& on_member_;
  std::uint64_t size_ = 0, allowed_ = 0, total_ = 0;
  ArchiveSummary summary_;
  std::unique_ptr<GzipSource> stream_;
  ArchivePtr archive_;
};

}  // namespace

ArchiveSummary read_archive(int file, const std::string& name, const ArchiveRules& rules,
                            const std::function<void(Member&&)>& on_member) {
  return Reader(file, name, rules, on_member).run();
}

}  // namespace microdit::ingest
