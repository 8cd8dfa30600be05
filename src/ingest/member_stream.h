// What a worker sends of a foreign file, taken up by the stage: one member after the other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "core/stop_flag.h"
#include "ingest/archives.h"
#include "ingest/worker_process.h"

namespace microdit::ingest {

/// The file that a worker reads, open. UserError when there is none, InputFault.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// More of one member is nonsense, which only a worker sends that a file has taken over.
struct MemberBounds {
  std::uint64_t name_bytes = 16 * limits::kMemberNameBytes, bytes = limits::kRecordBytes;
};

/// Calls `on_member` for each member until the worker is done. `name` is the file's, for messages. UserError, InputFault, SystemError: the
/// worker's own, or how it ended; `stopped` of the summary when `stop` (may be null) was seen.
ArchiveSummary receive_members(WorkerProcess& worker, const std::string& name, const MemberBounds& bounds,
                               const std::function<void(Member&&)>& on_member, const core::StopFlag* stop);

}  // namespace microdit::ingest
