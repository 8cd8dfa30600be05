// Foreign archives, read member by member in a worker process: nothing is extracted, nothing unsafe gets through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/stop_flag.h"
#include "ingest/limits.h"

namespace microdit::ingest {

struct ArchiveRules {
  std::string kind = "tar";           ///< tar | tgz | zip
  std::vector<std::string> wanted{};  ///< extensions (see name_parts) whose bytes are kept; empty = all
  std::uint64_t member_bytes = limits::kRecordBytes;  ///< a larger member is skipped as unsupported.oversize
  std::uint64_t expansion = limits::kExpansion;       ///< unpacked : file, beyond 64 MiB: more is a bomb
  bool offsets = false;                               ///< fill Member::offset
  bool pieces = false;  ///< a member comes in pieces of about limits::kPieceBytes
};

struct Member {
  std::string name;  ///< relative, '/'-separated, without "." and ".." components
  std::vector<std::byte> bytes;
  std::string skip;  ///< why there are no bytes: damaged.* or unsupported.*; "" = they are whole
  std::int64_t offset =
      -1;  ///< where the bytes lie in the archive file as they are; -1 = compressed, or not asked for
  std::uint32_t file = 0;  ///< for whoever reads several files: the index of this one
  bool more = false;       ///< pieces: this is not the last one
  std::string path{};  ///< of a loose file: its path in the source, which patterns are about; "" = the name
  const std::string& patterned() const { return path.empty() ? name : path; }
};

/// How far a reading came.
struct ArchiveSummary {
  bool stopped = false;
  std::int64_t members = 0;      ///< regular files with a name
  std::int64_t passed_over = 0;  ///< of them, with an extension nobody wants
  std::string example{};         ///< the first of these
};

/// Calls `on_member` for each wanted file of a tar, tgz or zip, in archive order; several archives one behind the other
/// in one file are read on. Folders, hidden files (._x, .DS_Store) and __MACOSX/ are passed over. A member that cannot be
/// used comes with a reason and without bytes: damaged.crc, damaged.member, damaged.name (absolute, "..", no name),
/// unsupported.link, unsupported.special, unsupported.oversize, unsupported.encrypted, unsupported.compression.
/// Looks at `stop` (may be null) several times a second. UserError (file, remedy): truncated or damaged archive, another
/// format than `kind` (which one, when it can be told), a decompression bomb, or a reader that died of it. InputFault: it cannot be read, or its
/// reader was killed from outside.
ArchiveSummary for_each_member(const std::filesystem::path& archive, const ArchiveRules& rules,
                               const std::function<void(Member&&)>& on_member,
                               const core::StopFlag* stop = nullptr);

/// Lower-case, what follows the first dot of the last component: "seg.jpg" of "d.x/1.Seg.JPG"; "" = none.
std::string extension_of(std::string_view member_name);

/// A member's name as an entry reads it.
struct NameParts {
  std::string_view stem;  ///< up to the first dot of the last component
  std::string_view
      key;  ///< up to the extension; longer than the stem where that has dots ("photo.000" of "photo.000.jpg")
  std::string extension;  ///< lower-case
  bool dotted() const { return key.size() > stem.size(); }
};
/// The extension is the longest dotted end of the last component that is among `wanted`; nothing when none is.
std::optional<NameParts> name_parts(std::string_view member_name, const std::vector<std::string>& wanted);

}  // namespace microdit::ingest
