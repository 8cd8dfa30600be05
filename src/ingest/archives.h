// Foreign archives, read member by member in place: nothing is extracted, nothing unsafe gets through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace microdit::ingest {

struct ArchiveLimits {
  std::uint64_t member_bytes =
      256u << 20;                 ///< a larger member is reported as oversize, its bytes are not kept
  std::uint64_t expansion = 100;  ///< uncompressed : file, beyond 64 MiB: more is a bomb
};

struct Member {
  std::string name;  ///< relative, '/'-separated, without "." and ".." components
  std::vector<std::byte> bytes;
  bool oversize = false;
};

/// Calls `on_member` for each regular file of a tar, tgz or zip, in archive order. Folders are passed over.
/// UserError (file, member, remedy): truncated or damaged archive, another format, absolute or ".." names,
/// links, devices, a decompression bomb.
void for_each_member(const std::filesystem::path& archive, const std::string& kind,
                     const ArchiveLimits& limits, const std::function<void(Member&&)>& on_member);

}  // namespace microdit::ingest
