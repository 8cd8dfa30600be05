// Archives through libarchive, one format at a time, with our own checks of names, types and sizes.
#include "ingest/archives.h"

#include <archive.h>
#include <archive_entry.h>

#include <fstream>
#include <memory>
#include <string_view>

#include "core/error.h"

namespace microdit::ingest {
namespace {

constexpr std::size_t kBlock = 1 << 18;
constexpr std::uint64_t kFreeExpansion = 64u << 20;

struct CloseArchive {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchivePtr = std::unique_ptr<archive, CloseArchive>;

[[noreturn]] void damaged(const std::filesystem::path& file, std::string_view why) {
  core::user_error("{}: the archive is truncated or damaged ({}): remove the file and download it again",
                   file.string(), why);
}

std::string reason_of(archive* a) {
  const char* text = archive_error_string(a);
  return text ? text : "unknown error";
}

ArchivePtr open_archive(const std::filesystem::path& file, const std::string& kind) {
  ArchivePtr a(archive_read_new());
  if (kind == "tgz") archive_read_support_filter_gzip(a.get());
  kind == "zip" ? archive_read_support_format_zip(a.get()) : archive_read_support_format_tar(a.get());
  if (std::filesystem::file_size(file) == 0) damaged(file, "it is empty");
  if (archive_read_open_filename(a.get(), file.c_str(), kBlock) != ARCHIVE_OK)
    damaged(file, reason_of(a.get()));
  return a;
}

/// The member's name as a safe relative path, "./" removed; UserError for names that would leave a folder.
std::string safe_name(const std::filesystem::path& file, archive_entry* entry) {
  const char* raw = archive_entry_pathname_utf8(entry);
  if (!raw) raw = archive_entry_pathname(entry);
  const std::string_view name = raw ? raw : "";
  const auto refuse = [&](std::string_view why) {
    core::user_error("{}: member '{}' {}: the archive is hostile or broken; take it from another source",
                     file.string(), name, why);
  };
  if (name.empty()) refuse("has no name");
  if (name[0] == '/' || name[0] == '\\') refuse("has an absolute name");
  std::string safe;
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find_first_of("/\\", begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part == "..") refuse("has a '..' in its name");
    if (!part.empty() && part != ".") safe.append(safe.empty() ? "" : "/").append(part);
    begin = end + 1;
  }
  return safe;
}

/// True for a regular file, false for a folder; UserError for everything else.
bool is_file(const std::filesystem::path& file, archive_entry* entry, const std::string& name) {
  if (archive_entry_hardlink(entry) || archive_entry_symlink(entry)) {
    core::user_error("{}: member '{}' is a link: links are refused", file.string(), name);
  }
  const auto type = archive_entry_filetype(entry);
  if (type == AE_IFREG) return true;
  if (type == AE_IFDIR) return false;
  core::user_error("{}: member '{}' is a device or another special file: refused", file.string(), name);
}

class Expansion {
 public:
  Expansion(const std::filesystem::path& file, std::uint64_t ratio)
      : file_(file), allowed_(kFreeExpansion + ratio * std::filesystem::file_size(file)) {}
  void add(std::uint64_t bytes) {
    total_ += bytes;
    if (total_ > allowed_) {
      core::user_error("{}: expands to more than {} bytes: refused as a decompression bomb", file_.string(),
                       allowed_);
    }
  }

 private:
  const std::filesystem::path& file_;
  std::uint64_t allowed_;
  std::uint64_t total_ = 0;
};

/// Reads the member's bytes; past the limit they are only counted.
void read_member(archive* a, const std::filesystem::path& file, const ArchiveLimits& limits,
                 Expansion& expansion, Member& member) {
  const void* block = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  for (;;) {
    const int status = archive_read_data_block(a, &block, &size, &offset);
    if (status == ARCHIVE_EOF) return;
    if (status != ARCHIVE_OK) damaged(file, fmt::format("member '{}': {}", member.name, reason_of(a)));
    expansion.add(size);
    // A sparse member says where a block lies; a hole would be a bomb of zeros.
    member.oversize |= static_cast<std::uint64_t>(offset) + size > limits.member_bytes;
    if (member.oversize) {
      member.bytes = {};
      continue;
    }
    member.bytes.resize(static_cast<std::size_t>(offset));
    const auto* data = static_cast<const std::byte*>(block);
    member.bytes.insert(member.bytes.end(), data, data + size);
  }
}

/// A tar ends with zero blocks. Without them it was cut between two members, which libarchive does not
/// report.
void check_tar_end(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  in.seekg(-512, std::ios::end);
  char block[512];
  if (!in.read(block, sizeof block)) damaged(file, "shorter than one block");
  if (std::string_view(block, sizeof block).find_first_not_of('\0') != std::string_view::npos) {
    damaged(file, "its end mark is missing");
  }
}

}  // namespace

void for_each_member(const std::filesystem::path& file, const std::string& kind, const ArchiveLimits& limits,
                     const std::function<void(Member&&)>& on_member) {
  std::error_code missing;
  if (!std::filesystem::is_regular_file(file, missing)) {
    core::user_error("{}: no such archive: run download again", file.string());
  }
  const ArchivePtr a = open_archive(file, kind);
  Expansion expansion(file, kind == "tar" ? 1 : limits.expansion);
  for (;;) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(a.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) damaged(file, reason_of(a.get()));
    Member member;
    member.name = safe_name(file, entry);
    if (!is_file(file, entry, member.name)) continue;
    read_member(a.get(), file, limits, expansion, member);
    on_member(std::move(member));
  }
  if (kind == "tar") check_tar_end(file);
}

}  // namespace microdit::ingest
