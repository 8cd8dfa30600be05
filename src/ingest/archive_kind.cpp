// Magic numbers of what people call an archive.
#include "ingest/archive_kind.h"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/error.h"

namespace microdit::ingest {
namespace {

using namespace std::string_view_literals;

struct Magic {
  std::size_t at;
  std::string_view bytes;
  std::string_view kind;
};
constexpr std::array kMagics = {Magic{257, "ustar"sv, "tar"sv},
                                Magic{0, "\x1f\x8b"sv, "gzip"sv},
                                Magic{0, "PK\x03\x04"sv, "zip"sv},
                                Magic{0, "PK\x05\x06"sv, "zip"sv},
                                Magic{0, "PK\x07\x08"sv, "zip"sv},
                                Magic{0, "BZh"sv, "bzip2"sv},
                                Magic{0, "\xfd\x37zXZ\0"sv, "xz"sv},
                                Magic{0, "\x28\xb5\x2f\xfd"sv, "zstd"sv},
                                Magic{0, "7z\xbc\xaf\x27\x1c"sv, "7z"sv},
                                Magic{0, "Rar!\x1a\x07"sv, "rar"sv},
                                Magic{0, "version https://git-lfs"sv, "git_lfs"sv},
                                Magic{0, "\x89HDF\r\n\x1a\n"sv, "hdf5"sv},
                                Magic{0, "PAR1"sv, "parquet"sv},
                                Magic{0, "PARE"sv, "parquet"sv}};

bool is_html(std::string_view bytes) {
  const std::size_t begin = bytes.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (begin == std::string_view::npos) return false;
  std::string start(bytes.substr(begin, 14));
  for (char& c : start) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<?xml");
}

/// The words behind "FILE: ".
std::string mismatch(std::string_view found, const std::string& kind) {
  if (found == "gzip") return "is gzip: set `archive: tgz` in the entry";
  if (found == "tar" || found == "zip") return fmt::format("is {0}: set `archive: {0}` in the entry", found);
  if (found == "html")
    return "is a web page, not an archive: the address needs a sign-in, or is wrong; remove the file";
  if (found == "git_lfs") {
    return "is a Git LFS pointer, not the file itself: take the address that serves the content; remove the "
           "file";
  }
  return fmt::format("is {}, not {}: this format is not read; repack it as tar", found, kind);
}

}  // namespace

std::string_view kind_of(std::string_view first_bytes) {
  for (const Magic& magic : kMagics) {
    if (first_bytes.size() >= magic.at + magic.bytes.size() &&
        first_bytes.substr(magic.at, magic.bytes.size()) == magic.bytes)
      return magic.kind;
  }
  return is_html(first_bytes) ? "html" : "";
}

void check_kind(int file, const std::string& name, const std::string& kind) {
  std::array<char, 512> block{};
  const ssize_t got = ::pread(file, block.data(), block.size(), 0);
  if (got < 0) core::errno_error(errno, "{}: cannot be read", name);
  if (got == 0) refuse_damaged(name, "it is empty");
  const std::string_view found = kind_of({block.data(), static_cast<std::size_t>(got)});
  const std::string_view expected = kind == "tgz" || kind == "gz" ? "gzip" : std::string_view(kind);
  if (!found.empty() && found != expected) core::user_error("{}: {}", name, mismatch(found, kind));
  if (found.empty() && (kind == "tgz" || kind == "gz")) refuse_damaged(name, "it is not gzip");
}

void refuse_damaged(const std::string& file, std::string_view why) {
  core::user_error("{}: the archive is truncated or damaged ({})", file, why);
}

}  // namespace microdit::ingest
